"""Codecs: hostile payloads, what they cost a prediction, and how long they take.

`pytest tests/campaigns/test_codecs.py -s`, on one thread: half an hour.
"""

from __future__ import annotations

import json
import math
import subprocess
from collections import Counter
from pathlib import Path
from statistics import median

import pytest
import torch

from paretopipe_runtime.contract.codecs import CODECS
from paretopipe_runtime.contract.models import MODEL_NAMES
from paretopipe_runtime.finetune.datasets import DIGITS, open_dataset
from tests.campaigns import codec_accuracy as accuracy
from tests.campaigns import codec_speed as speed
from tests.campaigns.codec_accuracy import LOSSY, VIT
from tests.campaigns.conftest import Findings
from tests.campaigns.emulated_pi import ON_A_PI, Environment
from tests.effort import proved
from tests.runtime import payloads

SEED = 7
DECODED, RECEIVED = 100_000, 3_000
WARM_UP = 2_000
GROWN_MIB = 4.0
EMULATED = Environment(ON_A_PI["torch"])

pytestmark = pytest.mark.timeout(3600)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def peak_mib() -> float:
    """Return this process's peak resident memory since it was last reset."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


@pytest.mark.parametrize("codec", LOSSY)
def test_hostile_payloads(findings: Findings, codec: str) -> None:
    payloads.decoded(SEED - 1, codec, WARM_UP)
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak
    before = peak_mib()
    alone = payloads.decoded(SEED, codec, DECODED)
    grown = peak_mib() - before
    behind = payloads.received(SEED, codec, RECEIVED)
    wrong = _wrong(alone, payloads.REFUSED), _wrong(behind, payloads.ON_THE_WIRE)
    findings.add(proved(f"{codec}: other than a typed refusal or the tensor", wrong[0], DECODED))
    findings.add(f"  {_counted(alone)}; peak memory grew by {grown:.1f} MiB; seed {SEED}")
    findings.add(proved(f"{codec}: the same, received over a socket", wrong[1], RECEIVED))
    findings.add(f"  {_counted(behind)}")
    assert wrong == (0, 0)
    assert grown < GROWN_MIB
    assert {"read", "E_SIZE"} <= {*alone}


def _wrong(found: Counter[str], allowed: set[str]) -> int:
    return sum(count for end, count in found.items() if end not in {"read", *allowed})


def _counted(found: Counter[str]) -> str:
    return ", ".join(f"{count:,} {end}" for end, count in found.most_common())


@pytest.mark.parametrize("name", accuracy.EPOCHS)
def test_what_codecs_cost_trained_networks(findings: Findings, tmp_path: Path, name: str) -> None:
    dataset = open_dataset(DIGITS, accuracy.IMAGE_PX, tmp_path)
    network = accuracy.trained(name, dataset, tmp_path)
    images, labels = accuracy.held_out(dataset)
    with torch.inference_mode():
        right = float((network(images.clone()).argmax(1) == labels).float().mean())
    epochs = " and ".join(f"{count} epochs at {px} px" for px, count in accuracy.EPOCHS[name])
    findings.add(
        f"\n{name}, trained on {len(dataset.train):,} digits ({epochs}): top-1 {100 * right:.1f} % "
        f"of {len(labels)} held-out ones at {accuracy.IMAGE_PX} px"
    )
    head = "".join(f" | {f'{codec}: rms':>9}   logits   same  top-1" for codec in LOSSY)
    findings.add(f"{'cut':<4}{'tensor':<10}{head}" + " | outliers" * (name == VIT))
    largest = dict.fromkeys(LOSSY, 0.0)
    for cut in accuracy.cuts(network, images, labels):
        cells = "".join(
            f" | {cost.rms:9.1e} {cost.max_rel_err:8.1e} {100 * cost.agreement:6.1f} "
            f"{100 * cost.top1:6.1f}"
            for cost in cut.costs.values()
        )
        if name == VIT:
            within, worst, between = accuracy.outliers(cut.tensor)
            cells += f" | {within:.0f} ({worst:.0f}), {between:.1f}"
        findings.add(f"P{cut.number:<3}{'×'.join(map(str, cut.tensor.shape[1:])):<10}{cells}")
        largest = {codec: max(largest[codec], cut.costs[codec].max_rel_err) for codec in LOSSY}
    assert all(error <= CODECS[codec].tolerance for codec, error in largest.items())


def test_tolerances_are_twice_the_largest_errors(findings: Findings, tmp_path: Path) -> None:
    findings.add("\nLargest relative error of logits over all cuts, random weights, five inputs")
    largest = dict.fromkeys(LOSSY, 0.0)
    for model in MODEL_NAMES:
        network, images = accuracy.with_random_weights(model, tmp_path)
        worst = {codec: (0.0, 0) for codec in LOSSY}
        for cut in accuracy.cuts(network, images):
            for codec, cost in cut.costs.items():
                worst[codec] = max(worst[codec], (cost.max_rel_err, cut.number))
        told = ", ".join(f"{codec} {error:.4f} (P{at})" for codec, (error, at) in worst.items())
        findings.add(f"{model:<12} {images.shape[-1]} px: {told}")
        largest = {codec: max(largest[codec], worst[codec][0]) for codec in LOSSY}
    for codec, error in largest.items():
        allowed = CODECS[codec].tolerance
        findings.add(f"{codec}: tolerance {allowed:g}, {allowed / error:.1f} times the largest")
    assert all(1.5 < CODECS[codec].tolerance / error < 4 for codec, error in largest.items())


def test_speed(findings: Findings) -> None:
    findings.add("\nMilliseconds per float32 MB on one thread, median (least to most) of 7 rounds,")
    findings.add("and as many times one copy of the tensor")
    for shape, times in speed.seconds().items():
        megabytes = 4 * math.prod(json.loads(shape)) / 1e6
        copy = median(times[speed.COPY])
        findings.add(f"MobileNetV2's {shape}, {megabytes:.1f} MB")
        for what, seen in times.items():
            least, middle, most = (1e3 * of(seen) / megabytes for of in (min, median, max))
            findings.add(
                f"  {what:<12} {middle:6.3f} ({least:.3f} to {most:.3f}) ms/MB, "
                f"{median(seen) / copy:5.1f} times"
            )


def test_speed_on_an_emulated_pi(findings: Findings) -> None:
    findings.add("\nThe same on an emulated Cortex-A72: times one copy, no milliseconds")
    if not EMULATED.is_made:
        findings.add("  not measured here: `make arm` makes the emulator, then run this again")
        pytest.skip("the emulated processor is not there: `make arm` makes it")
    done = subprocess.run(
        [EMULATED.python, speed.__file__], capture_output=True, text=True, check=True
    )
    seen = json.loads(done.stdout)
    for shape, times in seen["seconds"].items():
        copy = median(times.pop(speed.COPY))
        ratios = ", ".join(f"{what} {median(took) / copy:.1f}" for what, took in times.items())
        findings.add(f"  {shape}: {ratios}")
    findings.add(
        "  QEMU computes each vector instruction in a function of its own, so arithmetic costs"
    )
    findings.add("  more beside a copy than on a Pi: these are no predictions for one.")
    same = seen["digest"] == speed.digest()
    findings.add(
        f"  Written and read back: the bits are {'the same' if same else 'OTHERS'} on both"
    )
    assert same
