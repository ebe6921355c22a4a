"""Figures of a run, its stages and hops, and of a split, one row each, in the table's order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

#: Part of a record with one value of the figure.
Of = Literal["run", "stage", "hop", "split"]
#: Form in a record: ``first``, ``last`` and ``median`` reduce a list; ``signed`` may be negative;
#: ``rate`` is `sustained_img_s` of a saturated phase.
Kind = Literal[
    "text", "first", "last", "flag", "number", "signed", "median", "signed median", "rate"
]
#: In a record's host: nobody could tell whether it was throttled, and the run counts all the same.
NOT_WATCHED = "not watched"
#: The same of heat: its kernel tells of low voltage only.
VOLTAGE_ALONE = "the kernel, of voltage alone"
#: Rounding in tables.
Digits = Literal["range", "significant", "whole"]


@dataclass(frozen=True)
class Figure:
    """A figure of a run, stage or hop, found at `path` in its record or, if `on_host`, its host's.

    `of_worker`: copied from the worker's report. `of_chain`: told of three hosts and more, where it
    tells the hops apart. With a `heading`: a column of the table of splits,
    in `shown_unit`, multiplied by `shown`.
    """

    of: Of
    name: str
    label: str = ""
    unit: str = ""
    kind: Kind = "number"
    path: tuple[str, ...] = ()
    on_host: bool = False
    of_worker: bool = False
    of_chain: bool = False
    heading: str = ""
    digits: Digits = "significant"
    in_unit: str = ""
    shown: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", self.path or (self.name,))

    @property
    def is_text(self) -> bool:
        return self.kind in ("text", "first", "last")

    @property
    def shown_unit(self) -> str:
        return self.in_unit or self.unit


def _mib(name: str, label: str = "", of_worker: bool = False, heading: str = "") -> Figure:
    shown = Figure("stage", name, label, "B", of_worker=of_worker, heading=heading)
    return replace(shown, digits="whole", in_unit="MiB", shown=2.0**-20)


FIGURES = (
    Figure(
        *("run", "latency_s", "latency", "s", "signed", ("latency", "median_s")),
        heading="Latency",
        digits="range",
    ),
    Figure(
        *("run", "throughput_img_s", "throughput", "images/s", "rate", ("throughput",)),
        heading="Throughput",
        digits="range",
    ),
    Figure(
        *("run", "throughput_with_filling_img_s", "throughput with filling", "images/s"),
        path=("throughput", "img_s"),
        heading="With filling",
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
        *("hop", "receive_s", "time to arrive", "s", "median", ("receive_s", "latency")),
        of_chain=True,
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
    Figure("split", "accuracy", "accuracy", "%"),  # by lines of its own, see `contract.accuracy`
    Figure("stage", "gpu_others"),  # processes seen on the GPU beside it
    Figure("stage", "gpu_copy_in_s", unit="s", kind="median", path=("gpu_copy_in_s", "latency")),
    Figure("stage", "gpu_copy_out_s", unit="s", kind="median", path=("gpu_copy_out_s", "latency")),
)
_BY_NAME = {figure.name: figure for figure in FIGURES}
#: Names copied from a worker's report into its stage's record.
REPORTED = tuple(figure.name for figure in FIGURES if figure.of_worker)


def pace_s(completion_s: Sequence[float], window: int) -> float:
    """Return the seconds between completions of a full pipeline.

    They repeat with the window: evenly, if it covers the delay, in groups otherwise. So they are
    taken a whole number of windows apart, in all such pairs. Filling and emptying the pipeline,
    which differ by split, do not count.

    Raises
    ------
    ValueError
        Unless completions increase.
    """
    lag = (len(completion_s) - 1) // window * window or len(completion_s) - 1
    if not lag:
        return completion_s[0]
    pairs = list(zip(completion_s, completion_s[lag:], strict=False))
    apart_s = sum(after - before for before, after in pairs)
    if not apart_s > 0:
        raise ValueError("completion_s does not increase")
    return apart_s / (lag * len(pairs))


def sustained_img_s(throughput: Mapping[str, Any]) -> float:
    """Return a record's images per second of a full pipeline, for older records from completions.

    Raises
    ------
    KeyError, TypeError, ValueError
        For a malformed part.
    """
    if "sustained_img_s" in throughput:
        return float(throughput["sustained_img_s"])
    done = throughput["completion_s"]
    images = throughput["img_s"] * done[-1] / len(done)  # of a batch
    return float(images / pace_s(done, throughput["window"]))


def named(name: str) -> Figure:
    return _BY_NAME[name]


def of(part: Of, stages: int = 3) -> tuple[Figure, ...]:
    """Return the figures of a part, without those of a chain for fewer stages."""
    return tuple(one for one in FIGURES if one.of == part and (stages > 2 or not one.of_chain))
