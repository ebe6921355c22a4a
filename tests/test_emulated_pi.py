"""What `make arm` asks for, and what it says where it cannot go on. Nothing is fetched here."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.campaigns import emulated_pi
from tests.campaigns.emulated_pi import Environment, NotMade, environments, make


def test_a_release_comes_with_the_nodes_pins(tmp_path: Path) -> None:
    on_a_pi, *too_new = environments(tmp_path)
    assert {"torch==2.9.1", "torchvision==0.24.1"} <= set(on_a_pi.requirements)
    assert {"torch==2.4.0", "torchvision==0.19.0"} <= set(too_new[0].requirements)
    runtime = (emulated_pi.ROOT / "requirements/runtime.txt").read_text().split()
    others = {pin for pin in runtime if not pin.startswith("torch")}
    assert others
    for environment in (on_a_pi, *too_new):
        assert others <= set(environment.requirements)
        assert len(environment.requirements) == len(set(environment.requirements))


def test_other_pins_make_it_anew(tmp_path: Path) -> None:
    environment = Environment("2.9.1", tmp_path)
    assert not environment.is_made
    environment.home.mkdir()
    kept = environment.home / "requirements.txt"
    kept.write_text("\n".join(environment.requirements) + "\n")
    assert environment.is_made
    kept.write_text(kept.read_text().replace("torch==2.9.1", "torch==2.9.0"))
    assert not environment.is_made


def test_no_network_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    apt = tmp_path / "bin" / "apt-get"
    apt.parent.mkdir()
    apt.write_text("#!/bin/sh\necho 'W: waited' >&2\necho 'E: Unable to fetch' >&2\nexit 100\n")
    apt.chmod(0o755)
    (apt.parent / emulated_pi.QEMU).symlink_to(apt)
    monkeypatch.setenv("PATH", f"{apt.parent}:/usr/bin:/bin")
    with pytest.raises(NotMade) as raised:
        make(tmp_path / "arm")
    assert str(raised.value) == (
        "asking apt for arm64 packages failed: E: Unable to fetch — is there a network? the same "
        "command goes on"
    )
    assert not (tmp_path / "arm/system").exists()


def test_no_emulator_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NotMade, match="qemu-aarch64-static is missing: apt-get install qemu-user"):
        make(tmp_path / "arm")
