"""F1: the parsers answer damaged headers, preambles and HELLOs with a typed refusal."""

from __future__ import annotations

import random
import time
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice

import pytest

from paretopipe_runtime.wire import frames, handshake
from paretopipe_runtime.wire.frames import Header
from tests.effort import proved, trials, upper_bound
from tests.wire import corpus, mutate

SEED = 20261124
TRIALS = trials(50_000, 1_000_000)
MOST_ALLOCATED = 1024 * 1024
#: Percent of the inputs.
SHARES = {"header": 70, "preamble": 5, "hello": 25}


@pytest.mark.parametrize(
    "case", corpus.cases("header", "preamble", "hello", "message"), ids=lambda case: case.name
)
def test_what_was_found_before_is_still_refused(case: corpus.Case) -> None:
    assert corpus.outcome(case.target, case.data)[0] == case.expect, case.why


def test_damaged_inputs(capsys: pytest.CaptureFixture[str]) -> None:
    began = time.process_time()
    found = parse(SEED, TRIALS)
    with capsys.disabled():
        print(f"\nseed {SEED}, {time.process_time() - began:.0f} s of processor time")
        print(proved("headers, preambles and HELLOs", len(found.findings), TRIALS))
    assert found.findings[:3] == []
    assert found.trials.total() == TRIALS
    for target in SHARES:  # damage reached every check, and some was harmless
        assert found.outcomes[f"{target} accepted"] > 0
    assert {"header E_HEADER", "header E_SIZE", "hello E_AUTH"} < set(found.outcomes)


def test_a_refusal_allocates_little() -> None:
    most = most_allocated(SEED, trials(500, 3000))
    assert max(most.values()) < MOST_ALLOCATED, most
    assert min(most.values()) > 0


def test_the_bound_is_the_exact_one() -> None:
    assert upper_bound(0, 240) == pytest.approx(0.0124, abs=5e-5)
    assert upper_bound(0, 3000) == pytest.approx(0.0010, abs=5e-5)
    assert upper_bound(1, 100) == pytest.approx(0.0466, abs=5e-5)
    assert upper_bound(5, 5) == 1


@dataclass
class Parsed:
    trials: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    findings: list[tuple[str, bytes, str]] = field(default_factory=list)

    def note(self, target: str, data: bytes) -> None:
        self.trials[target] += 1
        try:
            code, seen = corpus.outcome(target, data)
        except Exception as error:
            self.findings.append((target, data, f"{type(error).__name__} escaped: {error}"))
            return
        self.outcomes[f"{target} {code or 'accepted'}"] += 1
        wrong = None if code else _CHECKS[target](data, seen)
        if wrong:
            self.findings.append((target, data, wrong))


def inputs(target: str, seed: int) -> Iterator[bytes]:
    """Yield damaged inputs forever; every second header has a valid checksum."""
    chance = random.Random(f"{target} {seed}")
    good = {"header": mutate.good_headers(), "hello": [mutate.good_hello()]}
    start = mutate.good_preamble()
    repair = False
    while True:
        if target == "header":
            data = mutate.header(chance, good["header"])
            repair = not repair
            yield mutate.repaired(data) if repair and len(data) == frames.HEADER_SIZE else data
        elif target == "hello":
            yield mutate.text(chance, good["hello"][0])
        else:
            damaged = bytearray(start)
            for _ in range(1 + chance.getrandbits(1)):
                damaged[chance.randrange(len(damaged))] = chance.getrandbits(8)
            yield bytes(damaged)


def parse(seed: int, trials: int) -> Parsed:
    found = Parsed()
    for target, share in SHARES.items():
        for data in islice(inputs(target, seed), trials * share // 100):
            found.note(target, data)
    return found


def most_allocated(seed: int, trials: int) -> dict[str, int]:
    most = dict.fromkeys(SHARES, 0)
    tracemalloc.start()
    try:
        for target in SHARES:
            for data in islice(inputs(target, seed), trials):
                tracemalloc.reset_peak()
                before = tracemalloc.get_traced_memory()[0]
                corpus.outcome(target, data)
                most[target] = max(most[target], tracemalloc.get_traced_memory()[1] - before)
    finally:
        tracemalloc.stop()
    return most


def _check_header(data: bytes, seen: object) -> str | None:
    assert isinstance(seen, Header)
    if frames.encode(seen) != data:
        return "accepted, and means other bytes"
    if seen.payload_nbytes > frames.MAX_PAYLOAD or seen.seq >= frames.MAX_FRAMES:
        return "accepted over a limit"
    return None


def _check_preamble(_data: bytes, seen: object) -> str | None:
    return (
        None if isinstance(seen, int) and seen <= handshake.MAX_HELLO else "accepted over a limit"
    )


def _check_hello(_data: bytes, seen: object) -> str | None:
    def depth(value: object) -> int:
        inner = value.values() if isinstance(value, dict) else value
        return 1 + max(map(depth, inner), default=0) if isinstance(value, dict | list) else 0  # type: ignore[call-overload]

    if not isinstance(seen, dict) or depth(seen) > handshake.HELLO_DEPTH:
        return "accepted too deep, or no object"
    return None


_CHECKS: dict[str, Callable[[bytes, object], str | None]] = {
    "header": _check_header,
    "preamble": _check_preamble,
    "hello": _check_hello,
}
