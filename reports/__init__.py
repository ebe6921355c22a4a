"""Records of measured runs in, self-contained HTML files out.

``data`` gathers records into cells, ``statistics`` judges them, ``prediction`` estimates, ``page``
writes, ``latex`` too. Each imports only those before it; of the runtime only ``contract``,
``judging`` and ``prediction``, never torch. A new objective is a row of ``objectives``. The runtime
decides which runs are valid.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


def load(sweep: str | Path) -> pd.DataFrame:
    """Return a sweep's attempts for notebooks, a row each: the table of ``runs.csv``.

    Parameters
    ----------
    sweep
        Folder of its records: ``experiments/results/vgg16``.

    Returns
    -------
    pandas.DataFrame
        ``counted`` marks the valid runs that the report uses, ``excluded`` says why others are
        not. Names end in their unit: ``latency_s``, ``throughput_img_s``, ``hop1_bytes_per_batch``.
        docs/notebook.md has the columns.

    Raises
    ------
    reports.errors.ReportError
        For no folder, nothing readable, or records of a newer version.
    """
    # Imported late: __main__ has to prepare numpy first.
    from reports.data.records import read
    from reports.data.tidy import tidy

    return tidy(read(Path(sweep)).runs)
