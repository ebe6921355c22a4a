"""A host that was held back while it measured is found out, by the bits that were live then."""

from __future__ import annotations

import itertools
import stat
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from paretopipe_runtime import environment
from paretopipe_runtime.contract.measures import VOLTAGE_ALONE
from paretopipe_runtime.orchestrator.disturbed import disturbances
from paretopipe_runtime.worker.usage import throttling
from paretopipe_runtime.worker.usage.throttling import Source, Throttling
from tests.made.raspberry import LIVE_VOLTAGE, SOCS, Raspberry


def fake_vcgencmd(folder: Path, bits: str) -> Path:
    """Write a `vcgencmd` that prints what the file `bits` beside it says; return that file."""
    folder.mkdir(exist_ok=True)
    program = folder / "vcgencmd"
    program.write_text(f"#!/bin/sh\necho throttled=$(cat {folder}/bits)\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    (folder / "bits").write_text(bits)
    return folder / "bits"


def sampled(*bits: int, recent: bool) -> dict[str, Any]:
    """Sample these bits: the first at the start, the last at the end."""
    told = iter(bits)
    sampling = Throttling(Source("the kernel", lambda: next(told), recent), every_s=60)
    sampling.start()
    for _ in bits[2:]:
        sampling._sample()
    return sampling.stop()


def test_a_host_that_tells_nothing_has_no_thread_and_is_not_watched() -> None:
    before = threading.active_count()
    sampling = Throttling(None)
    sampling.start()
    assert threading.active_count() == before
    nothing = {"throttled": None, "throttled_live": None, "throttled_samples": 0}
    assert sampling.stop() == {"throttle_watch": "not watched", **nothing}


def test_what_was_live_in_the_middle_is_kept() -> None:
    before = threading.active_count()
    seen = itertools.chain([0x50000, 0x50001, 0x50004], itertools.repeat(0x50000))
    sampling = Throttling(Source("vcgencmd", lambda: next(seen)), every_s=0.01)
    sampling.start()
    time.sleep(0.3)
    said = sampling.stop()
    assert (said["throttled"], said["throttled_live"]) == ("0x50000", "0x5")
    assert said["throttle_watch"] == "vcgencmd"
    assert int(said["throttled_samples"] or 0) > 4
    assert threading.active_count() == before


def test_it_looks_at_least_twice_a_second() -> None:
    assert throttling.EVERY_S <= 0.5


def test_which_bits_make_a_run_invalid() -> None:
    """The live ones, and sticky ones of the last seconds: not those of any time since it booted."""
    for live, sticky in itertools.product(range(16), range(16)):
        bits = sticky << 16 | live
        asked = sampled(bits, bits, recent=False)
        assert bool(disturbances({"pi1": asked})["throttled"]) is (live != 0), hex(bits)
        renewed = sampled(bits, bits, recent=True)
        assert bool(disturbances({"pi1": renewed})["throttled"]) is (bits != 0), hex(bits)


def test_a_sticky_bit_that_appears_between_two_samples_is_of_this_run() -> None:
    assert sampled(0x10000, 0x50000, 0x50000, recent=False)["throttled_live"] == "0x4"
    assert sampled(0x40000, 0x0, 0x40000, recent=False)["throttled_live"] == "0x4"


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The root of a host's files, without a vcgencmd."""
    monkeypatch.setattr(environment, "ROOT", tmp_path)
    monkeypatch.setenv("PATH", "/nonexistent")
    return tmp_path


@pytest.mark.parametrize("model", SOCS)
def test_the_kernel_s_file_is_read_while_its_driver_renews_it(here: Path, model: str) -> None:
    pi = Raspberry(here, model)
    source = throttling.source()
    assert source is not None
    assert (source.name, source.read(), source.recent) == ("the kernel", 0, True)
    pi.hold_back(5)
    assert source.read() == 0
    pi.poll()
    assert source.read() == 0x50005
    pi.hold_back(0)
    pi.poll()
    assert source.read() == 0x50000, "it began to clear at the poll before"
    pi.poll()
    assert source.read() == 0
    (file,) = here.glob(throttling.GET_THROTTLED)
    for nonsense in ("nonsense", "", b"\xe9"):
        pi.write(str(file.relative_to(here)), nonsense)
        assert source.read() is None


def test_a_file_that_nobody_renews_is_not_believed(here: Path) -> None:
    Raspberry(here, driver=False)
    assert throttling.source() is None


@pytest.mark.parametrize("model", SOCS)
def test_a_kernel_with_the_alarm_alone_tells_of_voltage(here: Path, model: str) -> None:
    pi = Raspberry(here, model, get_throttled=False)
    source = throttling.source()
    assert source is not None
    assert (source.name, source.read()) == (VOLTAGE_ALONE, 0)
    pi.hold_back(LIVE_VOLTAGE)
    pi.hold_back(0)
    pi.poll()
    assert source.read() == 1


def test_vcgencmd_is_asked_where_the_kernel_does_not_tell(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Raspberry(here, get_throttled=False)
    fake_vcgencmd(here, "0x80008")
    monkeypatch.setenv("PATH", f"{here}:/usr/bin:/bin")
    source = throttling.source()
    assert source is not None
    assert (source.name, source.read(), source.recent) == ("vcgencmd", 0x80008, False)
    (here / "vcgencmd").write_text("#!/bin/sh\necho VCHI initialization failed; exit 255\n")
    assert source.read() is None
    told = throttling.source()
    assert told is not None
    assert told.name == VOLTAGE_ALONE
