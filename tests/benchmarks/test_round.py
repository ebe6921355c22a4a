"""A transport's round: what is done in which order, and what counts as the stream's."""

from __future__ import annotations

import pytest

from benchmarks import transport
from benchmarks.node import Form

FORM = Form("ours", "tuned", 4096, pings=2, streams=3)
TOLD = 7.0


class Busy:
    """An end that takes a second of the processor for a tensor, and a tenth for a word."""

    cipher = None

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.did: list[str] = []
        self.told: list[float] = []
        self._spent = 0.0
        monkeypatch.setattr("benchmarks.transport.time.process_time", lambda: self._spent)

    def move(self) -> None:
        self._do("move", 1.0)

    def send_ack(self) -> None:
        self._do("ack", 0.1)

    def await_ack(self) -> None:
        self._do("ack", 0.1)

    def tell(self, seconds: float) -> None:
        self._do("tell", 0.1)
        self.told.append(seconds)

    def hear(self) -> float:
        self._do("hear", 0.1)
        return TOLD

    def _do(self, what: str, takes_s: float) -> None:
        self.did.append(what)
        self._spent += takes_s


def test_the_sender_counts_the_stream_and_hears_of_the_other_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    end = Busy(monkeypatch)
    times = transport.send_round(end, FORM)
    assert end.did == [*2 * ["move", "ack"], *3 * ["move"], "ack", "hear"]
    assert times["processor_s"] == pytest.approx([3.1, TOLD])
    assert len(times["one_way_s"]) == FORM.pings


def test_the_receiver_tells_of_the_stream_when_it_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    end = Busy(monkeypatch)
    transport.receive_round(end, FORM)
    assert end.did == [*2 * ["move", "ack"], *3 * ["move"], "ack", "tell"]
    assert end.told == pytest.approx([3.1])
