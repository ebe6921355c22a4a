"""A host that was held back while it measured is found out, by the bits that were live then."""

from __future__ import annotations

import itertools
import secrets
import socket
import stat
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from paretopipe_runtime.orchestrator.forecast import prepare_cells
from paretopipe_runtime.orchestrator.record import throttled
from paretopipe_runtime.worker.usage import throttling
from paretopipe_runtime.worker.usage.throttling import Source, Throttling
from tests.runtime.cluster import ADDRESSES, Cluster
from tests.runtime.test_pipeline import runs, sweep


def fake_vcgencmd(folder: Path, bits: str) -> Path:
    """Write a `vcgencmd` that prints what the file `bits` beside it says; return that file."""
    folder.mkdir(exist_ok=True)
    program = folder / "vcgencmd"
    program.write_text(f"#!/bin/sh\necho throttled=$(cat {folder}/bits)\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    (folder / "bits").write_text(bits)
    return folder / "bits"


def pi(folder: Path, bits: str, *drivers: str, soc: str = "soc") -> Path:
    """Write what a Pi's kernel shows below /sys; return the file with the bits."""
    for number, driver in enumerate(drivers):
        name = folder / f"class/hwmon/hwmon{number}/name"
        name.parent.mkdir(parents=True)
        name.write_text(f"{driver}\n")
    path = folder / f"devices/platform/{soc}/{soc}:firmware/get_throttled"
    path.parent.mkdir(parents=True)
    path.write_text(bits)
    return path


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
        assert throttled({"pi1": asked}) is (live != 0), hex(bits)
        renewed = sampled(bits, bits, recent=True)
        assert throttled({"pi1": renewed}) is (bits != 0), hex(bits)


def test_a_sticky_bit_that_appears_between_two_samples_is_of_this_run() -> None:
    assert sampled(0x10000, 0x50000, 0x50000, recent=False)["throttled_live"] == "0x4"
    assert sampled(0x40000, 0x0, 0x40000, recent=False)["throttled_live"] == "0x4"


@pytest.mark.parametrize("soc", ["soc", "soc@107c000000"])
@pytest.mark.parametrize(
    ("said", "bits"), [("50005", 0x50005), ("0\n", 0), ("nonsense", None), ("", None)]
)
def test_the_kernel_s_file_is_read_while_its_driver_renews_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, said: str, bits: int | None, soc: str
) -> None:
    monkeypatch.setattr(throttling, "SYS", tmp_path)
    monkeypatch.setenv("PATH", "/nonexistent")
    path = pi(tmp_path, said, "cpu_thermal", "rpi_volt", soc=soc)
    source = throttling.find()
    assert source is not None
    assert (source.name, source.read(), source.recent) == ("the kernel", bits, True)
    path.write_text("1")
    assert source.read() == 1


def test_a_file_that_nobody_renews_is_not_believed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(throttling, "SYS", tmp_path)
    monkeypatch.setenv("PATH", "/nonexistent")
    pi(tmp_path, "0", "cpu_thermal")
    assert throttling.find() is None


def test_vcgencmd_is_asked_where_the_kernel_does_not_tell(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fake_vcgencmd(tmp_path, "0x80008")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    source = throttling.find()
    assert source is not None
    assert (source.name, source.read(), source.recent) == ("vcgencmd", 0x80008, False)
    (tmp_path / "vcgencmd").write_text("#!/bin/sh\necho VCHI initialization failed; exit 255\n")
    assert source.read() is None
    assert throttling.find() is None


@pytest.fixture
def bits(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    made = fake_vcgencmd(tmp_path / "bin", "0x50000")
    monkeypatch.setenv("PATH", f"{made.parent}:/usr/bin:/bin")
    return made


@pytest.fixture
def pis(bits: Path, tmp_path: Path) -> Iterator[Cluster]:
    """Agents that find the fake `vcgencmd`."""
    assert bits.exists()
    key = secrets.token_bytes(32)
    (tmp_path / "key").write_text(key.hex())
    with socket.create_server((ADDRESSES["pi1"], 0)) as probe:
        port = probe.getsockname()[1]
    made = Cluster(tmp_path, key, port)
    for name in ADDRESSES:
        made.start(name)
    yield made
    for name in list(made.agents):
        made.stop(name)


def test_a_run_on_a_throttled_host_is_kept_and_does_not_count(
    pis: Cluster, bits: Path, tmp_path: Path
) -> None:
    plan = pis.plan(splits=[[3]], repeats=1)
    prepare_cells([plan], pis.state_dir, pis.keys, lambda _: None)
    bits.write_text("0x50005")
    assert sweep(pis, tmp_path, plan).returncode == 1
    bits.write_text("0x50000")  # what happened before is no fault of this run
    assert sweep(pis, tmp_path, plan).returncode == 0
    *refused, counted = runs(tmp_path)
    assert refused
    assert {row["status"] for row in refused} == {"invalid:throttled"}
    for host in refused[0]["hosts"].values():
        assert (host["throttled"], host["throttled_live"]) == ("0x50005", "0x5")
        assert host["throttled_samples"] >= 2
        assert host["throttle_watch"] == "vcgencmd"
    assert counted["status"] == "ok"
    assert {host["throttled"] for host in counted["hosts"].values()} == {"0x50000"}
    assert {host["throttled_live"] for host in counted["hosts"].values()} == {"0x0"}
