"""What is measured of a run, of each of its stages and of each hop: one row a figure.

The order is that of the table of splits. A worker's figure that its report names like its row goes
into the record and the report by being a row here; see `REPORTED`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

#: Of what a figure is there is one a run.
Of = Literal["run", "stage", "hop"]
#: What a record has of it: a text, a list of which an end or the median counts, a flag, a number.
#: A ``signed`` one can be below zero.
Kind = Literal["text", "first", "last", "flag", "number", "signed", "median", "signed median"]
#: How much of a shown figure's digits a table shows.
Digits = Literal["range", "significant", "whole"]


@dataclass(frozen=True)
class Figure:
    """A figure: its column's name, what it is in words, and where a record has it.

    `path` leads to it in the record of its run, stage or hop, or with `on_host` in what the stage's
    host says; by default it is the name. `of_worker`: the worker's report names it alike, and the
    record copies it. With a `heading` it is a column of the table of splits, in `shown_unit`, times
    `shown`.
    """

    of: Of
    name: str
    label: str = ""
    unit: str = ""
    kind: Kind = "number"
    path: tuple[str, ...] = ()
    on_host: bool = False
    of_worker: bool = False
    heading: str = ""
    digits: Digits = "significant"
    in_unit: str = ""
    shown: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", self.path or (self.name,))

    @property
    def is_text(self) -> bool:
        """Whether it is no number."""
        return self.kind in ("text", "first", "last")

    @property
    def shown_unit(self) -> str:
        """The unit that people see it in."""
        return self.in_unit or self.unit


def _mib(name: str, label: str = "", of_worker: bool = False, heading: str = "") -> Figure:
    """Return a figure of a stage that is in bytes, and shown in MiB."""
    shown = Figure("stage", name, label, "B", of_worker=of_worker, heading=heading)
    return replace(shown, digits="whole", in_unit="MiB", shown=2.0**-20)


FIGURES = (
    Figure(
        *("run", "latency_s", "latency", "s", "signed", ("latency", "median_s")),
        heading="Latency",
        digits="range",
    ),
    Figure(
        *("run", "throughput_img_s", "throughput", "images/s", "signed", ("throughput", "img_s")),
        heading="Throughput",
        digits="range",
    ),
    Figure(
        *("run", "throughput_steady_img_s", "throughput between completions", "images/s"),
        path=("throughput", "steady_img_s"),
        heading="Between completions",
    ),
    Figure("stage", "host", kind="text"),
    Figure("stage", "device", kind="text", of_worker=True),
    Figure("stage", "first_block", kind="first", path=("block_names",)),
    Figure("stage", "last_block", kind="last", path=("block_names",)),
    Figure(
        *("stage", "compute_s", "compute time", "s", "median", ("compute_s", "latency")),
        heading="compute",
    ),
    Figure(
        *("run", "network_s", "time on the network", "s", "signed median"),
        path=("network_s", "latency"),
        heading="Network",
    ),
    Figure("run", "wall_s", unit="s"),
    Figure("run", "max_rel_err", path=("proof", "max_rel_err")),
    Figure("run", "tolerance", path=("proof", "tolerance")),
    Figure("run", "argmax_equal", kind="flag", path=("proof", "argmax_equal")),
    Figure("run", "rtt_ms", unit="ms", path=("network", "measured", "rtt_ms")),
    Figure("run", "rate_mbit", unit="Mbit/s", path=("network", "measured", "rate_mbit")),
    Figure("run", "weights_digest", kind="text", path=("proof", "weights_digest")),
    Figure("run", "input_digest", kind="text", path=("proof", "input_digest")),
    *(Figure("hop", name, kind="text") for name in ("from", "to", "via", "cipher")),
    Figure(
        *("hop", "bytes_per_batch", "sent per batch", "B"),
        heading="Sent per batch",
        in_unit="MB",
        shown=1e-6,
    ),
    Figure(
        *("stage", "cpu_percent", "processor load", "%"),
        of_worker=True,
        heading="CPU",
        digits="whole",
    ),
    Figure("stage", "gpu_percent", unit="%"),
    Figure("stage", "host_cpu_percent", unit="%", path=("cpu_percent",), on_host=True),
    Figure("stage", "host_memory_percent", unit="%", path=("memory_percent",), on_host=True),
    Figure("stage", "load_s", unit="s"),
    Figure("stage", "parameters"),
    _mib("partition_bytes"),
    _mib("baseline_rss_bytes", of_worker=True),
    _mib("peak_rss_bytes", "peak memory", of_worker=True, heading="peak memory"),
    Figure("stage", "allocator", kind="text"),
    _mib("gpu_used_bytes"),
    Figure("stage", "gpu_others"),  # processes seen on the GPU beside it
    Figure("stage", "gpu_copy_in_s", unit="s", kind="median", path=("gpu_copy_in_s", "latency")),
    Figure("stage", "gpu_copy_out_s", unit="s", kind="median", path=("gpu_copy_out_s", "latency")),
)
_BY_NAME = {figure.name: figure for figure in FIGURES}
#: What the record of a stage copies of its worker's report.
REPORTED = tuple(figure.name for figure in FIGURES if figure.of_worker)


def named(name: str) -> Figure:
    """Return the figure of this name."""
    return _BY_NAME[name]


def of(part: Of) -> tuple[Figure, ...]:
    """Return the figures of a run, of a stage or of a hop."""
    return tuple(figure for figure in FIGURES if figure.of == part)
