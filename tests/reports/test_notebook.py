"""The ten lines of docs/notebook.md, as they stand there."""

from __future__ import annotations

import re
from pathlib import Path

import matplotlib as mpl
import pandas as pd
import pytest

import reports

ROOT = Path(__file__).parents[2]


def test_the_ten_lines_draw_a_front(
    sweep: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (ROOT / "docs/notebook.md").read_text()
    [code] = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert sum(map(bool, code.splitlines())) == 10
    monkeypatch.chdir(tmp_path)
    with mpl.rc_context({"backend": "agg"}):
        exec(code.replace("experiments/results/demo", str(sweep)))
    assert (tmp_path / "front.pdf").read_bytes().startswith(b"%PDF-")
    assert re.search(r"pi_to_pi\s+baseline\s+P\d+ ", capsys.readouterr().out)


def test_the_table_is_that_of_the_report(sweep: Path, table: str, tmp_path: Path) -> None:
    (tmp_path / "runs.csv").write_text(table)
    written = pd.read_csv(tmp_path / "runs.csv")
    loaded = reports.load(str(sweep))
    assert [*loaded] == [*written]
    assert len(loaded) == len(written)
    assert loaded["latency_s"].tolist() == pytest.approx(written["latency_s"].tolist(), nan_ok=True)
    described = re.findall(
        r"`(\w+)`", (ROOT / "docs/notebook.md").read_text().partition("| --- |")[2]
    )
    assert {*described} - {"end_point", "split", "sentinel"} <= {*loaded}
