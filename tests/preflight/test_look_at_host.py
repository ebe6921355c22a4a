"""Looks at a host: every fact from where it is, and nothing that would not be there."""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from paretopipe_runtime import try_torch
from paretopipe_runtime.worker.usage import throttling
from tests import as_ansible, namespaces
from tests.made.raspberry import SOCS, Raspberry
from tests.preflight import real
from tests.preflight.good import FACTS
from tests.preflight.real import LOOK, file, machine, network, program, torch_package

PI_CPUINFO = """\
processor\t: 0
BogoMIPS\t: 108.00
Features\t: fp asimd evtstrm crc32 cpuid
CPU part\t: 0xd08

processor\t: 1
Features\t: fp asimd evtstrm crc32 cpuid

Model\t\t: Raspberry Pi 4 Model B Rev 1.4
"""


def module(check_mode: bool = False, **arguments: object) -> dict[str, object]:
    """Run the module as Ansible does."""
    given = {"python": sys.executable, "home": "/nonexistent", "state_dir": "/var", **arguments}
    done = subprocess.run(
        [sys.executable, "-c", as_ansible.program(LOOK)],
        input=json.dumps({"ANSIBLE_MODULE_ARGS": {**given, "_ansible_check_mode": check_mode}}),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    result: dict[str, object] = json.loads(done.stdout)
    return result


def test_one_call_tells_everything_and_changes_nothing() -> None:
    result = module(address="127.0.0.1", interface="lo", ssh_client="127.0.0.1")
    facts = result["facts"]
    assert isinstance(facts, dict)
    login = {"login_s", "clock_offset_s", "clock_slack_s"}
    assert set(facts) == set(FACTS) - login, "the good host of the tests and the module differ"
    assert result["changed"] is False
    if shutil.which("ip"):
        assert (facts["experiment"], facts["shaped"], facts["ssh"]) == ("lo", "lo", "lo")
    assert facts["torch"] is None
    assert facts["netem"] is None
    assert facts["python"]["version"].startswith("3.")


def test_nothing_is_tried_in_check_mode() -> None:
    facts = module(check_mode=True, netem="egress")["facts"]
    assert isinstance(facts, dict)
    assert facts["netem"] == {"works": None, "lacks": None, "said": "not tried in check mode"}


def test_it_asks_for_no_newer_python_than_ansible_does() -> None:
    for path in (LOOK, *LOOK.parents[1].glob("module_utils/*.py")):
        ast.parse(path.read_text(), feature_version=(3, 8))


def test_a_pi_s_processor_is_read(tmp_path: Path) -> None:
    file(tmp_path, "proc/cpuinfo", PI_CPUINFO)
    file(tmp_path, "proc/device-tree/model", "Raspberry Pi 4 Model B Rev 1.4\0")
    seen = machine().processor(str(tmp_path))
    assert seen["cpu"] == "Raspberry Pi 4 Model B Rev 1.4"
    assert seen["cpu_features"] == ["fp", "asimd", "evtstrm", "crc32", "cpuid"]


def test_a_pc_s_processor_is_read(tmp_path: Path) -> None:
    file(tmp_path, "proc/cpuinfo", "processor\t: 0\nmodel name\t: Some CPU @ 2 GHz\nflags\t: a b\n")
    seen = machine().processor(str(tmp_path))
    assert (seen["cpu"], seen["cpu_features"]) == ("Some CPU @ 2 GHz", None)


@pytest.mark.parametrize(
    ("limit", "path", "total"),
    [
        ("max", "sys/fs/cgroup/memory.max", 4000),
        ("1024000", "sys/fs/cgroup/memory.max", 1000),
        ("9223372036854771712", "sys/fs/cgroup/memory/memory.limit_in_bytes", 4000),
        ("2048000", "sys/fs/cgroup/memory/memory.limit_in_bytes", 2000),
    ],
)
def test_a_container_s_memory_is_its_limit(
    tmp_path: Path, limit: str, path: str, total: int
) -> None:
    file(tmp_path, "proc/meminfo", "MemTotal:  4000 kB\nMemFree: 9 kB\nMemAvailable:  3000 kB\n")
    file(tmp_path, path, f"{limit}\n")
    seen = machine().memory(str(tmp_path))
    assert seen == {"total_bytes": total * 1024, "available_bytes": 3000 * 1024}


def test_free_disk_is_that_of_the_nearest_folder_there_is(tmp_path: Path) -> None:
    seen = machine().disk(str(tmp_path / "not" / "yet"))
    assert seen["path"] == str(tmp_path / "not" / "yet")
    assert seen["device"] == tmp_path.stat().st_dev
    assert seen["free_bytes"] > 0


def test_files_that_are_there_are_counted(tmp_path: Path) -> None:
    file(tmp_path, "weights/a", "12345")
    file(tmp_path, "weights/below/b", "678")
    assert machine().size_of(str(tmp_path / "weights")) == 8
    assert machine().size_of(str(tmp_path / "none")) == 0


def test_a_torch_that_was_tried_is_tried_again_only_when_asked(tmp_path: Path) -> None:
    torch_package(tmp_path, "2.9.1+cpu", "0.24.1", "raise ImportError('tried')")
    seen = machine().torch(str(tmp_path), False)
    assert (seen["torch"], seen["convolution"]["status"]) == ("2.9.1+cpu", 1)
    (tmp_path / "venv/.tried-torch-2.9.1").touch()
    assert machine().torch(str(tmp_path), False)["convolution"] == {
        "status": 0,
        "said": "",
        "now": False,
    }
    assert machine().torch(str(tmp_path), True)["convolution"]["said"] == "ImportError: tried"


@pytest.mark.parametrize("what", ["noise", "burn_in"])
def test_what_takes_seconds_is_measured_where_asked_for_and_installed(
    tmp_path: Path, what: str
) -> None:
    assert machine().measured(str(tmp_path), what, 1) == {}
    module = f"paretopipe_runtime.worker.{what}"
    assert importlib.util.find_spec(module)
    said = f"test \"$*\" = '-IB -m {module} 1' && echo '{{\"seconds\": 1}}'"
    program(tmp_path / "venv/bin/python", said)
    assert machine().measured(str(tmp_path), what, 1) == {"seconds": 1}
    assert machine().measured(str(tmp_path), what, 0) is None


def test_the_convolution_is_the_one_that_provisioning_tries() -> None:
    assert machine().CONVOLUTION == try_torch.CONVOLUTION


def test_the_mark_is_the_one_that_provisioning_leaves() -> None:
    names = (LOOK.parents[2] / "runtime/vars/main.yml").read_text()
    assert (
        '__runtime_tried: "{{ __runtime_venv }}/.tried-torch-{{ __runtime_wanted.torch }}"' in names
    )


@pytest.mark.parametrize("model", SOCS)
def test_a_pi_is_read_as_its_kernel_shows_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str
) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    root, pi = str(tmp_path), Raspberry(tmp_path, model, swap="/dev/zram0 partition 2097148 0 100")
    pi.hold_back(5)
    pi.poll()
    told = {"bits": 0x50005, "since_boot": None, "watched": "all"}
    assert machine().throttling(root) == told
    assert machine().processor(root)["cpu"] == f"Raspberry Pi {model}"
    assert machine().controllers(root) == ["cpuset", "cpu", "io", "pids"]
    assert machine().swap(root) == ["/dev/zram0"]
    assert machine().governors(root) == ["ondemand"]
    next(tmp_path.glob(machine().GET_THROTTLED)).unlink()
    assert machine().throttling(root) == {**told, "bits": 1, "watched": "voltage"}
    (tmp_path / "sys/class/hwmon/hwmon1/in0_lcrit_alarm").write_text("nonsense")
    assert machine().throttling(root) == real.NOTHING


def test_text_that_is_no_utf_8_is_read(tmp_path: Path) -> None:
    Raspberry(tmp_path).write("proc/device-tree/model", "Café Pi\0".encode("latin-1"))
    assert machine().processor(str(tmp_path))["cpu"] == "Caf\ufffd Pi"
    assert machine().run("printf", r"\344") == (0, "\ufffd")


def test_the_agent_s_watch_is_looked_for_where_the_agent_looks() -> None:
    for name in ("GET_THROTTLED", "HWMON", "DRIVER", "ALARM"):
        assert getattr(machine(), name) == getattr(throttling, name)


def test_a_vcgencmd_that_fails_tells_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(tmp_path / "vcgencmd", "echo VCHI initialization failed", "exit 255")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert machine().throttling(str(tmp_path)) == real.NOTHING


def test_a_program_that_hangs_is_given_up(tmp_path: Path) -> None:
    status, said = machine().run(str(program(tmp_path / "hangs", "exec sleep 20")), timeout_s=0.2)
    assert (status, said) == (124, f"{tmp_path}/hangs took longer than 0 s")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (
            "echo oops",
            "`ip -j address show` prints no JSON: Expecting value: line 1 column 1 (char 0)",
        ),
        (
            "echo 'Option \"-j\" is unknown' >&2; exit 255",
            '`ip -j address show` fails: Option "-j"',
        ),
        ("exit 3", "`ip -j address show` fails: exit status 3"),
    ],
)
def test_what_iproute2_says_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, said: str
) -> None:
    program(tmp_path / "ip", line)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    seen = network().network("192.0.2.11", "eth0", "", ["192.0.2.12"])
    assert seen["unseen"].startswith(said)
    assert seen["ways"]["192.0.2.12"]["said"].startswith(
        said.replace("address show", "route get 192.0.2.12")
    )


def fake_kernel(folder: Path, knows: str) -> None:
    """Put a `tc` and an `ip` on the path that know these words, and keep what they are asked."""
    words = '"Error: Specified qdisc kind is unknown."'
    for name in ("tc", "ip"):
        program(
            folder / name,
            f'echo "{name} $*" >> {folder}/asked',
            # As every kernel: the default priomap has three bands.
            'case "$*" in *"prio bands 2") echo "Error: Invalid argument." >&2; exit 2;; esac',
            f'case "$*" in {knows}) exit 0;; esac',
            f"echo {words} >&2; exit 2",
        )


@namespaces.needed()
@pytest.mark.parametrize(
    ("knows", "shared", "symmetric", "lacks"),
    [
        ("*netem*", False, False, None),
        ("nothing", False, False, "sch_netem"),
        ("*netem*", True, False, "sch_prio"),
        ("*netem*|*prio*", True, False, "cls_u32"),
        ("*netem*|*prio*|*u32*|*ifb*", True, False, None),
        ("*netem*", False, True, "ifb"),
        ("*netem*|*ifb*", False, True, "sch_ingress"),
        ("*netem*|*ifb|*ingress*", False, True, "cls_u32"),
        ("*netem*|*ifb|*ingress*|*flowid*", False, True, "act_mirred"),
        ("*", True, True, None),
    ],
)
def test_the_part_of_the_kernel_that_lacks_is_named(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    knows: str,
    shared: bool,
    symmetric: bool,
    lacks: str | None,
) -> None:
    fake_kernel(tmp_path, knows)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    seen = network().netem(shared, symmetric)
    assert (seen["works"], seen["lacks"]) == (lacks is None, lacks)


@namespaces.needed()
def test_it_is_told_apart_from_a_program_that_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(tmp_path / "tc", "exec no-such-program")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    seen = network().netem(False, False)
    assert (seen["works"], seen["lacks"]) == (None, None)
    assert "not found" in seen["said"]


def test_what_is_tried_is_what_the_netem_role_needs() -> None:
    path = LOOK.parents[2] / "netem/module_utils/netem_layout.py"
    if not path.exists():
        pytest.skip("this netem role builds no more than netem itself")
    needed = set(re.findall(r'"((?:sch|cls|act)_\w+|ifb)"', path.read_text()))
    shown = Path(str(network().__file__)).read_text()
    tried = set(re.findall(r'\("((?:sch|cls|act)_\w+|ifb)"', shown))
    assert tried == needed


@namespaces.needed("ip", "tc")
def test_nothing_is_left_of_the_attempt() -> None:
    def shown() -> str:
        asked = [["tc", "qdisc", "show"], ["ip", "netns", "list"]]
        return "".join(
            subprocess.run(words, capture_output=True, text=True, check=True).stdout
            for words in asked
        )

    before = shown()
    assert network().netem(False, False)["works"] in (True, False)
    assert shown() == before
