"""A live agent survives damaged conversations."""

from __future__ import annotations

import json
import secrets
import time

import pytest

from paretopipe_runtime.version import version
from tests.effort import proved, trials
from tests.wire import corpus, strangers
from tests.wire.conftest import Live

SEED = 20261124
TRIALS = trials(1_000, 20_000)
GROWTH_BYTES = 4 * 1024 * 1024
NEXT_S = 1.0
SLACK_S = 4.0  # for a busy machine


@pytest.mark.parametrize("case", corpus.cases("agent", "keyed agent"), ids=lambda case: case.name)
def test_what_was_found_before_is_still_refused(live: Live, case: corpus.Case) -> None:
    if case.target == "agent":
        ending = strangers.say(live, case.data)
    else:
        text, _, said = case.data.partition(b"\n")
        hello = {**json.loads(text), "version": version(), "nonce": secrets.token_hex(32)}
        ending = strangers.prove(live, live.cluster.key, json.dumps(hello).encode(), said)
    # Unread bytes make the kernel reset the connection, which may overtake the answer.
    overtaken = (case.why, ending) == ("more than announced", "closed")
    assert ending == case.expect or overtaken, case.why
    assert live.session() < NEXT_S + SLACK_S
    assert strangers.unexplained(live.cluster.log("pi1")) == []


@pytest.mark.timeout(300)
def test_damaged_conversations(live: Live, capsys: pytest.CaptureFixture[str]) -> None:
    outcome = campaign(live, SEED, TRIALS)
    with capsys.disabled():
        print(f"\nseed {SEED}", *outcome, sep="\n")


def campaign(live: Live, seed: int, trials: int) -> list[str]:
    live.run()
    strangers.talk(live, seed + 1, 300)  # warms up one-time allocations
    before = strangers.Held.settled(live)
    log_before = strangers.log_size(live)
    began, cpu = time.monotonic(), time.process_time()
    met = strangers.talk(live, seed, trials)
    took = time.monotonic() - began
    next_s = live.session()
    after = strangers.Held.settled(live, before)
    run_s, _ = live.run()
    lines = live.cluster.log("pi1")[log_before:].splitlines()
    own = [line for line in lines if not line.startswith("pi1: ")]  # stages log with other prefixes
    told = [
        proved("conversations with a live agent", len(met.findings), trials),
        f"  {took:.0f} s ({time.process_time() - cpu:.0f} s of processor time on this side); "
        + ", ".join(f"{count} {kind}" for kind, count in met.kinds.most_common()),
        "  " + ", ".join(f"{count} {ending}" for ending, count in met.endings.most_common()),
        f"  the next session took {next_s:.3f} s, the next run {run_s:.2f} s; descriptors "
        f"{before.descriptors} to {after.descriptors}, threads {before.threads} to "
        f"{after.threads}, memory {(after.rss_bytes - before.rss_bytes) / 2**20:+.1f} MiB, "
        f"{len(own)} lines of the agent's log",
    ]
    print(*told, sep="\n")
    assert met.findings[:3] == []
    assert next_s < NEXT_S + SLACK_S
    assert after.no_more_than(before)
    assert after.stages == 0
    assert after.rss_bytes - before.rss_bytes < GROWTH_BYTES
    assert strangers.unexplained(live.cluster.log("pi1")) == []
    assert len(own) < 100 + 2 * took
    return told
