"""The wire under attack and on bad links: what was tried, what went wrong, and what that proves.

The suite's tests in larger numbers. Timings are this machine's.
"""

from __future__ import annotations

import functools
import time
from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from paretopipe_runtime.errors import ParetoPipeError
from tests import namespaces
from tests.campaigns.conftest import Findings
from tests.effort import proved
from tests.namespaces import BLACKHOLE, LOSS, RESET, damaged, slow
from tests.runtime.cluster import Cluster
from tests.runtime.test_pipeline import no_stage_left, wait_until
from tests.wire import corpus, test_cuts, test_flood, test_live_faults
from tests.wire import test_faults as faults
from tests.wire import test_parsing as parsing
from tests.wire import test_strangers as strangers
from tests.wire.conftest import Live
from tests.wire.conftest import live as live
from tests.wire.test_faults import Outcome, transfer

SEED = 7
PARSED, CONVERSATIONS, PEERS = 5_000_000, 40_000, 20
TRANSFERS, RUNS = 5, 5
MIB = 2**20

needs_namespace = namespaces.needed("ip", "tc", "nft")


@pytest.fixture
def alone(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Live]:
    """Agents in a network namespace, and an impatient orchestrator."""
    test_live_faults.give_up_early(monkeypatch)
    folder = tmp_path_factory.mktemp("alone")
    with namespaces.own_network(), Cluster.running(folder) as cluster:
        yield Live.of(cluster)


@pytest.mark.timeout(3600)
def test_damaged_headers_and_hellos(findings: Findings) -> None:
    found = parsing.parse(SEED, PARSED)
    findings.add(f"Headers (70 %), HELLOs (25 %) and preambles (5 %), damaged; seed {SEED}")
    findings.add(
        proved("anything but a typed refusal or a good value", len(found.findings), PARSED)
    )
    findings.add(f"  {_counted(found.outcomes)}")
    most = parsing.most_allocated(SEED, 20_000)
    findings.add(f"  most bytes allocated by one of 20,000: {_counted(Counter(most))}")
    kept = corpus.cases("header", "preamble", "hello", "message", "agent", "keyed agent")
    findings.add(f"  {len(kept)} hostile inputs are kept in tests/corpus and tried first")
    assert found.findings == []
    assert max(most.values()) < parsing.MOST_ALLOCATED


@pytest.mark.timeout(3600)
def test_damaged_conversations(live: Live, findings: Findings) -> None:
    findings.add(f"\nConversations with a live agent, damaged; seed {SEED}")
    for line in strangers.campaign(live, SEED, CONVERSATIONS):
        findings.add(line)


@pytest.mark.timeout(600)
def test_cuts_anywhere(live: Live, findings: Findings) -> None:
    findings.add("\nCut at every byte of a header and 64 points of a payload, by FIN and by RST")
    for line in (*test_cuts.hearing(), *test_cuts.saying(), *test_cuts.served(live)):
        findings.add(line)


@pytest.mark.timeout(600)
def test_floods(live: Live, findings: Findings) -> None:
    findings.add("\nStrangers that say a byte a second")
    findings.add(test_flood.borne(live))
    for origin in (test_flood.ELSEWHERE, test_flood.HERE):
        for again in (False, True):
            findings.add(test_flood.through(live, origin, again, PEERS))


@needs_namespace
@pytest.mark.timeout(3600)
def test_transfers_over_bad_links(findings: Findings) -> None:
    findings.add("\nOne tensor over a link in a network namespace, both ends with a deadline")

    def tell(what: str, deadline_s: float, one: Callable[[int], Outcome]) -> None:
        seen = [one(seed) for seed in range(TRANSFERS)]
        wrong = sum(not faults_in_time(outcome, deadline_s) for outcome in seen)
        ends = Counter(f"{outcome.sender}/{outcome.receiver}" for outcome in seen)
        slowest = max(max(outcome.sender_s, outcome.receiver_s) for outcome in seen)
        findings.add(proved(what, wrong, TRANSFERS))
        findings.add(
            f"  sender/receiver: {_counted(ends)}; the slowest after {slowest:.1f} s, deadline "
            f"{deadline_s:.1f} s"
        )
        assert not wrong

    with namespaces.own_network():
        for percent in (5, 30):
            with damaged(LOSS.format(percent)):
                tell(f"4 MiB, {percent} % lost", 30, lambda seed: transfer(4 * MIB, seed, 30))
        with slow("20mbit"):
            for what, rule, for_s, deadline_s in (
                ("8 MiB, reset after 0.5 s", RESET, None, 5.0),
                ("8 MiB, silent from 0.5 s on", BLACKHOLE, None, 4.0),
                ("8 MiB, silent for 1.5 s", BLACKHOLE, 1.5, 30.0),
            ):
                fault = functools.partial(damaged, rule)
                tell(
                    what,
                    deadline_s,
                    functools.partial(
                        _broken, deadline_s=deadline_s, fault=fault, after_s=0.5, for_s=for_s
                    ),
                )
        with slow("5mbit"):
            deadline_s = 5 + 2 * 2 * MIB * 8e-6 / 5
            tell("2 MiB at 5 Mbit/s", deadline_s, lambda seed: transfer(2 * MIB, seed, deadline_s))
    frozen = [faults.frozen(sent, MIB, 3) for sent in (40, 96, 96 + 700_000) for _ in range(5)]
    wrong = sum(code != "E_STALL" or took > 5 for code, took in frozen)
    findings.add(proved("a peer is stopped (SIGSTOP), deadline 3 s", wrong, len(frozen)))
    findings.add(f"  E_STALL after at most {max(took for _, took in frozen):.2f} s")
    assert not wrong


def faults_in_time(outcome: Outcome, deadline_s: float) -> bool:
    slowest = max(outcome.sender_s, outcome.receiver_s)
    return {outcome.sender, outcome.receiver} <= {"equal", *faults.TYPED} and (
        slowest < deadline_s + 2
    )


def _broken(seed: int, *, deadline_s: float, **fault: object) -> Outcome:
    return transfer(8 * MIB, seed, deadline_s, **fault)  # type: ignore[arg-type]


@needs_namespace
@pytest.mark.timeout(3600)
def test_runs_over_bad_links(alone: Live, findings: Findings) -> None:
    findings.add(
        "\nWhole runs (two agents, two stages), their outputs compared with the unsplit model's"
    )
    for percent in (5, 30):
        codes: Counter[str] = Counter()
        slowest = 0.0
        for _ in range(RUNS):
            began = time.monotonic()
            with damaged(LOSS.format(percent)):
                codes[_run(alone)] += 1
            slowest = max(slowest, time.monotonic() - began)
            wait_until(lambda: no_stage_left(alone.cluster), 60)
        findings.add(proved(f"a run, {percent} % lost: right, or a typed error", 0, RUNS))
        findings.add(f"  {_counted(codes)}; the slowest took {slowest:.1f} s")
    for what, fault in (
        ("the link is reset", functools.partial(damaged, RESET)),
        ("the link goes silent", functools.partial(damaged, BLACKHOLE)),
        *(
            (
                f"the stage on {node} is stopped",
                functools.partial(test_live_faults.stage_stopped, alone, node),
            )
            for node in ("pi1", "pi2")
        ),
    ):
        seen = []
        for _ in range(RUNS):
            seen.append(test_live_faults.broken(alone, fault))
            wait_until(lambda: no_stage_left(alone.cluster), 60)
        allowed_s = test_live_faults.DEADLINE_S + 2 + test_live_faults.ASKED_S
        late = sum(code == "ok" or took > allowed_s for code, took in seen)
        findings.add(proved(f"in the middle of a run {what}", late, RUNS))
        findings.add(
            f"  {_counted(Counter(code for code, _ in seen))} after at most "
            f"{max(took for _, took in seen):.1f} s, deadline {test_live_faults.DEADLINE_S:.0f} s "
            f"and {test_live_faults.ASKED_S:.0f} s to ask the workers what is left"
        )
        assert not late
    alone.run()


def _run(live: Live) -> str:
    try:
        live.run()
    except ParetoPipeError as error:
        return error.code
    return "right"


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in counts.most_common())
