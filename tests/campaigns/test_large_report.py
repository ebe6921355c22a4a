"""A hundred thousand runs give their report within 20 seconds and 1 GB.

Synthetic records of realistic length: six models, two pairings, two networks. The report runs
alone.
"""

from __future__ import annotations

import json
import random
import resource
import subprocess
import sys
import time
import zlib
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from paretopipe_runtime.contract.lines import Record
from tests.campaigns.conftest import Findings
from tests.reports import synthetic_sweep as synthetic

ROOT = Path(__file__).parents[2]
RUNS = 100_000
MODELS = ("mobilenetv2", "resnet18", "inceptionv3", "resnet50", "alexnet", "vgg16")
CELLS = len(MODELS) * len(synthetic.PAIRINGS) * len(synthetic.NETWORKS)
LIMIT_S, LIMIT_BYTES = 20.0, 1e9
DATA_ONLY = """
import sys
from pathlib import Path
from reports.data.cells import build
from reports.data.records import read
from reports.data.tidy import csv, tidy
records = read(Path(sys.argv[1]))
frame = tidy(records.runs)
assert build(records.plans, records.runs, frame)
csv(frame)
"""


@dataclass(frozen=True)
class Spent:
    seconds: float
    cpu_s: float  # of all its processes
    peak_bytes: int


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, findings: Findings) -> Path:
    place, runs = tmp_path_factory.mktemp("large"), 0
    for model in MODELS:
        synthetic.write_cell(place, [*synthetic.profile(random.Random(2), model)])
        for pairing in synthetic.PAIRINGS:
            for scenario in synthetic.NETWORKS:
                runs += write_cell(place, model, pairing, scenario)
    for workers in synthetic.PAIRINGS.values():
        synthetic.write_cell(place, [*synthetic.link(random.Random(3), workers)])
    size = sum(path.stat().st_size for path in place.iterdir())
    findings.add(f"{runs:,} runs in {CELLS} cells, {size / 1e6:,.0f} MB of records")
    assert runs >= RUNS
    return place


@pytest.mark.timeout(900)
def test_reading_and_judging_which_runs_count(folder: Path, findings: Findings) -> None:
    spent = run([sys.executable, "-c", DATA_ONLY, str(folder)])
    findings.add(said("records to cells and CSV", spent))
    assert spent.seconds < LIMIT_S
    assert spent.peak_bytes < LIMIT_BYTES


@pytest.mark.timeout(900)
def test_the_whole_report(folder: Path, tmp_path: Path, findings: Findings) -> None:
    spent = run([sys.executable, "-m", "reports", str(folder), "--out", str(tmp_path / "out")])
    pages = sorted((tmp_path / "out").glob("*.html"))
    largest = max(path.stat().st_size for path in pages)
    findings.add(said(f"{len(pages)} pages, the largest of {largest / 1e3:,.0f} kB", spent))
    assert len(pages) == len(MODELS) + 1
    assert spent.seconds < LIMIT_S
    assert spent.peak_bytes < LIMIT_BYTES


def said(what: str, spent: Spent) -> str:
    return (
        f"{what:<44} {spent.seconds:5.1f} s (allowed {LIMIT_S:.0f}), {spent.cpu_s:5.1f} s of "
        f"processor time, "
        f"{spent.peak_bytes / 1e6:5,.0f} MB (allowed {LIMIT_BYTES / 1e6:,.0f})"
    )


def run(command: list[str]) -> Spent:
    began, peak, before = time.perf_counter(), 0, _children_cpu_s()
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            peak = max(peak, held(process.pid))
            time.sleep(0.1)
    assert process.returncode == 0
    return Spent(time.perf_counter() - began, _children_cpu_s() - before, peak)


def _children_cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def held(pid: int) -> int:
    """Return the memory of a process and its children, shared pages once."""
    try:
        whole = psutil.Process(pid)
        return sum(each.memory_full_info().pss for each in (whole, *whole.children(recursive=True)))
    except psutil.Error:  # a process has just ended
        return 0


def write_cell(folder: Path, model: str, pairing: str, scenario: str) -> int:
    """Write a cell as the runtime does; return its number of runs."""
    a_round = len(synthetic.Blocks.of(model).names) - 1 + 4  # with end points and sentinels
    lines = synthetic.cell(
        random.Random(1),
        pairing,
        synthetic.PAIRINGS[pairing],
        scenario,
        repeats=-(-RUNS // CELLS // a_round),
        model=model,
        allocators=("tuned", "tuned"),
        end_points=True,
        sentinels=True,
        again=[2],
    )
    count = 0
    with (folder / f"{model}.socket.{pairing}.{scenario}.jsonl").open("wb") as file:
        for line in lines:
            count += line["kind"] == "run"
            file.write(sealed(as_long_as_real(line)))
    return count


def as_long_as_real(line: Record) -> Record:
    """Add every batch's times, unused by the report."""
    if line["kind"] == "run":
        source = random.Random(0)
        others = {
            "warmup": synthetic.jitter(source, 1.0, 2),
            "throughput": synthetic.jitter(source, 1.0, 16),
        }
        line["throughput"]["completion_s"] = synthetic.jitter(source, 1.0, 16)
        for key, parts in (("compute_s", "stages"), ("receive_s", "hops")):
            for part in line[parts]:
                if key in part:
                    part[key] |= others
    return line


def sealed(record: Record) -> bytes:
    return canonical({**record, "crc32": f"{zlib.crc32(canonical(record)):08x}"}) + b"\n"


def canonical(value: object) -> bytes:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.encode()
