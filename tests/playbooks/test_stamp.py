"""The stamp covers every fact that provisioning would change."""

from __future__ import annotations

import importlib
import json
import os
import re
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from tests.playbooks import units

ROOT = Path(__file__).resolve().parents[2]
ROLE = {
    "runtime_source": str(ROOT),
    "__runtime_wanted": {"torch": "2.13.0"},
}
WORKER = {"worker_address": "127.0.0.1", "worker_peers": ["127.0.0.1"]}
HOME, CONFIG, STATE = "/opt/paretopipe", "/etc/paretopipe", "/var/lib/paretopipe"
UNITS = "/etc/systemd/system"
PACKAGES = f"{HOME}/venv/lib/python3.11/site-packages"


@pytest.fixture(scope="module")
def action(plugin: Callable[[str], ModuleType]) -> ModuleType:
    return plugin("roles/runtime/action_plugins/stamp_host.py")


@pytest.fixture(scope="module")
def look(action: ModuleType) -> ModuleType:
    module: ModuleType = action.look
    return module


@pytest.fixture(scope="module")
def inputs(action: ModuleType) -> ModuleType:
    assert action
    return importlib.import_module("roles.runtime.provisioning.inputs")


def below(root: Path, value: Any) -> Any:
    if isinstance(value, dict):
        return {below(root, key): below(root, each) for key, each in value.items()}
    if isinstance(value, list):
        return [below(root, each) for each in value]
    return f"{root}{value}" if isinstance(value, str) and value.startswith("/") else value


def laid(**variables: Any) -> dict[str, Any]:
    """Return both roles' facts of a worker."""
    told: dict[str, Any] = {}
    for role, known in (("runtime", ROLE), ("worker", WORKER)):
        for key, value in units.value(role, f"__{role}_laid", **known, **variables).items():
            told[key] = (
                {**told.get(key, {}), **value}
                if isinstance(value, dict)
                else [*told.get(key, []), *value]
                if isinstance(value, list)
                else value
            )
    return told


def of_wheel(digest: str) -> str:
    """Return what pip notes of a wheel that it was given."""
    return json.dumps({"url": "file:///a.whl", "archive_info": {"hash": f"sha256={digest}"}})


class Host:
    """A host of files in a folder, with programs that print the files beside them."""

    def __init__(self, root: Path, port: int, told: dict[str, Any]) -> None:
        self.root = root
        self.told = {**below(root, told), "port": ["127.0.0.1", port], "inputs": {"a": "1"}}
        self.told |= {"stamp": f"{root}{CONFIG}/stamp.json", "full": False, "dry": False}
        for folder in self.told["folders"]:
            Path(folder).mkdir(parents=True, exist_ok=True)
        for path in self.told["files"]:
            self.write(path, f"of {path}")
        values = {
            "/etc/shadow": "root:*:1\nparetopipe:!:1\n",
            "/proc/cpuinfo": "flags : fpu aes sse\n",
            "/proc/sys/net/ipv4/tcp_slow_start_after_idle": "0\n",
            "/proc/sys/net/ipv4/ip_local_port_range": "32768\t60999\n",
            **dict.fromkeys(("/usr/sbin/nft", "/usr/sbin/needrestart"), ""),
            f"{HOME}/venv/pyvenv.cfg": "home = /usr/bin\n",
            f"{HOME}/venv/bin/python": "",
            f"{PACKAGES}/torch-2.13.0.dist-info/METADATA": "Name: torch\n",
            f"{PACKAGES}/my_models-1.dist-info/direct_url.json": of_wheel("1"),
            f"{PACKAGES}/paretopipe_runtime/cli.py": "1\n",
            f"{PACKAGES}/paretopipe_runtime/finetune/digits.safetensors": "1\n",
        }
        for path, text in values.items():
            self.write(f"{root}{path}", text)
        self.says(
            "dpkg-query",
            "".join(f"{name} installed\n" for name in self.told["packages"]),
        )
        self.says("getent", f"paretopipe:x:999:999::{STATE}:/usr/sbin/nologin\n")
        self.unit_says()
        self.says("nft", "table inet filter\n")

    def write(self, path: str, text: str) -> None:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text(text)

    def says(self, program: str, text: str) -> None:
        path = self.root / "bin" / program
        self.write(f"{path}.said", text)
        self.write(str(path), f"#!/bin/sh\nexec cat '{path}.said'\n")
        path.chmod(0o755)

    def unit_says(self, name: str = "", **changed: str) -> None:
        """Have systemctl show the running agent, with changes."""
        usual = {
            "paretopipe-worker.service": ("active", "enabled", "no"),
            "paretopipe-governor.service": ("inactive", "", "no"),
        }
        keys = ("ActiveState", "UnitFileState", "NeedDaemonReload")
        shown = [
            {"Id": unit, **dict(zip(keys, said, strict=True)), **(changed if unit == name else {})}
            for unit, said in usual.items()
        ]
        blocks = ["".join(f"{key}={value}\n" for key, value in one.items()) for one in shown]
        self.says("systemctl", "\n".join(blocks))

    def path(self, name: str) -> Path:
        return Path(f"{self.root}{name}")


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


@pytest.fixture
def host(tmp_path: Path, listener: socket.socket, monkeypatch: pytest.MonkeyPatch) -> Host:
    made = Host(tmp_path / "host", listener.getsockname()[1], laid(runtime_wheelhouse="wheels"))
    made.write(f"{made.told['wheels']}/torch.whl", "a wheel")
    monkeypatch.setenv("PATH", f"{made.root}/bin:{os.environ['PATH']}")
    return made


@pytest.fixture
def ask(look: ModuleType, host: Host) -> Callable[..., list[str]]:
    """Return a function that lists differences."""

    def asked(**changed: Any) -> list[str]:
        found = look.answer({"keep": False, **host.told, **changed})["differs"]
        return [name.replace(str(host.root), "") for name in found]

    return asked


def changes(path: str) -> dict[str, Callable[[Host], None]]:
    def linked(host: Host) -> None:
        host.path(path).rename(host.path(f"{path}.moved"))
        host.path(path).symlink_to(host.path(f"{path}.moved"))

    return {
        f"{path} is gone": lambda host: host.path(path).unlink(),
        f"{path} says something else": lambda host: host.path(path).write_text("x"),
        f"{path} has another mode": lambda host: host.path(path).chmod(0o604),
        f"{path} has another owner": lambda host: os.chown(host.path(path), 12345, -1),
        f"{path} has another group": lambda host: os.chown(host.path(path), -1, 12345),
        f"{path} is a link": linked,
    }


def folder_changes(path: str) -> dict[str, Callable[[Host], None]]:
    return {
        f"{path} is gone": lambda host: host.path(path).rename(host.path(f"{path}.moved")),
        f"{path} is closed": lambda host: host.path(path).chmod(0o700),
        f"{path} has another owner": lambda host: os.chown(host.path(path), 12345, -1),
    }


SLOW_START = "/proc/sys/net/ipv4/tcp_slow_start_after_idle"
PORT_RANGE = "/proc/sys/net/ipv4/ip_local_port_range"
WORKER_UNIT, GOVERNOR_UNIT = "paretopipe-worker.service", "paretopipe-governor.service"
VENV = f"{HOME}/venv"
RUNTIME = f"{PACKAGES}/paretopipe_runtime"


def write(path: str, text: str) -> Callable[[Host], None]:
    return lambda host: host.write(str(host.path(path)), text)


#: By the name of the fact: everything that may happen to it.
HAPPENINGS: dict[str, dict[str, Callable[[Host], None]]] = {
    **{
        f"package {name}": {
            f"{name} is removed": lambda host, name=name: host.says(
                "dpkg-query",
                "".join(
                    f"{each} {'config-files' if each == name else 'installed'}\n"
                    for each in host.told["packages"]
                ),
            )
        }
        for name in units.value("runtime", "runtime_packages", **ROLE)
    },
    "user paretopipe": {
        "the user is gone": lambda host: host.says("getent", ""),
        "the user has a shell": lambda host: host.says(
            "getent", f"paretopipe:x:999:999::{STATE}:/bin/sh\n"
        ),
        "the user has another home": lambda host: host.says(
            "getent", "paretopipe:x:999:999::/home/paretopipe:/usr/sbin/nologin\n"
        ),
    },
    "password of paretopipe": {
        "the user has a password": write("/etc/shadow", "paretopipe:$y$j9T$x$y:1\n")
    },
    **{path: folder_changes(path) for path in (HOME, CONFIG, STATE, f"{STATE}/sweeps")},
    **{
        path: changes(path)
        for path in (
            *(f"{CONFIG}/{name}" for name in ("key", "orchestrator_keys")),
            *(f"{CONFIG}/{name}" for name in ("certificate.pem", "authority.pem")),
            *(f"{CONFIG}/openssl.cnf", f"{VENV}/bin/paretopipe", f"{VENV}/.tried-torch-2.13.0"),
            *(f"{UNITS}/{WORKER_UNIT}", f"{UNITS}/{GOVERNOR_UNIT}"),
            *("/etc/sysctl.d/60-paretopipe.conf", "/etc/needrestart/conf.d/paretopipe.conf"),
        )
    },
    f"interpreter of {VENV}": {
        "Python was upgraded": write(f"{VENV}/bin/python", "another"),
        "Python is gone": lambda host: host.path(f"{VENV}/bin/python").unlink(),
    },
    f"settings of {VENV}": {
        "the environment is of another Python": write(f"{VENV}/pyvenv.cfg", "home = /opt/bin\n")
    },
    f"packages of {VENV}": {
        "a package is gone": lambda host: shutil.rmtree(
            host.path(f"{PACKAGES}/torch-2.13.0.dist-info")
        ),
        "a package is another": lambda host: host.path(f"{PACKAGES}/torch-2.13.0.dist-info").rename(
            host.path(f"{PACKAGES}/torch-2.12.0.dist-info")
        ),
        "a package was installed again": write(
            f"{PACKAGES}/torch-2.13.0.dist-info/METADATA", "Name: torch\n"
        ),
        "a package lost its name": lambda host: host.path(
            f"{PACKAGES}/torch-2.13.0.dist-info/METADATA"
        ).unlink(),
    },
    f"modes of {VENV}": {
        f"{path} is closed": lambda host, path=path: host.path(path).chmod(0o700)
        for path in (VENV, f"{VENV}/bin", f"{VENV}/lib", PACKAGES, RUNTIME)
    },
    "the runtime's code": {
        "a line of the code is another": write(f"{RUNTIME}/cli.py", "2\n"),
        "a file of the code is gone": lambda host: host.path(f"{RUNTIME}/cli.py").unlink(),
        "the code has a file more": write(f"{RUNTIME}/more.py", ""),
        "the code is closed": lambda host: host.path(f"{RUNTIME}/cli.py").chmod(0o600),
        "the digits are others": write(f"{RUNTIME}/finetune/digits.safetensors", "2\n"),
        "all of it is gone": lambda host: shutil.rmtree(host.path(RUNTIME)),
    },
    "model package my-models": {
        "a model's package is another": write(
            f"{PACKAGES}/my_models-1.dist-info/direct_url.json", of_wheel("2")
        )
    },
    f"wheels in {HOME}/wheels": {
        "a wheel is gone": lambda host: host.path(f"{HOME}/wheels/torch.whl").unlink(),
        "a wheel is another": write(f"{HOME}/wheels/torch.whl", "A wheel"),
    },
    "AES": {"the card is in another Pi": write("/proc/cpuinfo", "Features : fp asimd crc32\n")},
    SLOW_START: {"TCP is told otherwise": write(SLOW_START, "1\n")},
    PORT_RANGE: {"the kernel hands out other ports": write(PORT_RANGE, "1024\t60999\n")},
    **{
        path: {f"{path} is gone": lambda host, path=path: host.path(path).unlink()}
        for path in ("/usr/sbin/nft", "/usr/sbin/needrestart")
    },
    f"unit {WORKER_UNIT}": {
        "the agent has stopped": lambda host: host.unit_says(WORKER_UNIT, ActiveState="inactive"),
        "the agent has failed": lambda host: host.unit_says(WORKER_UNIT, ActiveState="failed"),
        "the agent stays away at boot": lambda host: host.unit_says(
            WORKER_UNIT, UnitFileState="disabled"
        ),
        "systemd has not read its unit": lambda host: host.unit_says(
            WORKER_UNIT, NeedDaemonReload="yes"
        ),
    },
    f"unit {GOVERNOR_UNIT}": {
        "a governor is set": lambda host: host.unit_says(GOVERNOR_UNIT, ActiveState="active")
    },
    "the agent's port": {"the agent does not answer": lambda host: host.told["close"]()},
    "nftables inet paretopipe_worker": {
        "rules were left": lambda host: host.says("nft", "table inet paretopipe_worker\n")
    },
}
CASES = [
    pytest.param(fact, happens, id=name)
    for fact, happenings in HAPPENINGS.items()
    for name, happens in happenings.items()
]


def test_every_fact_is_made_to_change(look: ModuleType, host: Host) -> None:
    names = {name.replace(str(host.root), "") for name in look.look(host.told)}
    assert names == set(HAPPENINGS)


@pytest.mark.skipif(os.geteuid() != 0, reason="changes owners: sudo make test")
@pytest.mark.parametrize(("fact", "happens"), CASES)
def test_it_is_seen_when(
    host: Host,
    ask: Callable[..., list[str]],
    listener: socket.socket,
    fact: str,
    happens: Callable[[Host], None],
) -> None:
    assert ask(keep=True) == []
    assert ask() == []
    host.told["close"] = listener.close
    happens(host)
    # The stamp is in one of the folders.
    expected = fact if Path(host.told["stamp"]).exists() else "nothing is noted there"
    assert expected in ask(dry=True)
    assert expected in ask()
    assert not Path(host.told["stamp"]).exists(), "what comes next may be interrupted"


def test_what_must_be_is_not_believed_because_it_was_noted(
    host: Host, ask: Callable[..., list[str]], listener: socket.socket
) -> None:
    host.unit_says(WORKER_UNIT, ActiveState="failed")
    listener.close()
    expected = ["the agent's port", f"unit {WORKER_UNIT}"]
    assert ask(keep=True) == expected
    assert ask(dry=True) == expected


@pytest.mark.parametrize(
    ("variables", "must"),
    [
        (
            {"worker_governor": "performance"},
            {f"unit {GOVERNOR_UNIT}": "active enabled no", "governor": "performance"},
        ),
        ({"worker_allow_insecure_rpc": True}, {"nftables inet paretopipe_worker": "there"}),
        ({"worker_slow_start_after_idle": True}, {SLOW_START: "1"}),
        (
            {"runtime_model_wheels": [{"path": "/a.whl", "name": "my-models", "sha256": "1"}]},
            {"model package my-models": "1"},
        ),
    ],
)
def test_what_must_be_follows_what_is_asked(
    variables: dict[str, Any], must: dict[str, str]
) -> None:
    told = laid(**variables)["must"]
    assert told.items() >= must.items()
    assert told.items() >= {f"unit {WORKER_UNIT}": "active enabled no"}.items()
    assert not laid()["must"].items() & must.items()


def test_the_governor_is_looked_at_where_the_kernel_has_it(
    look: ModuleType, tmp_path: Path
) -> None:
    told = {"governor": "performance", "cpufreq": str(tmp_path)}
    assert look.governor(told) == {"governor": "performance"}, "no frequencies here"
    for number, governor in enumerate(["performance", "ondemand"]):
        (tmp_path / f"policy{number}").mkdir()
        (tmp_path / f"policy{number}/scaling_governor").write_text(f"{governor}\n")
    assert look.governor(told) == {"governor": "ondemand and performance"}
    assert look.governor({**told, "governor": ""}) == {}


def test_a_note_is_nobody_else_s_and_survives_a_look(
    host: Host, ask: Callable[..., list[str]]
) -> None:
    assert ask() == ["nothing is noted there"]
    ask(keep=True)
    stamp = Path(host.told["stamp"])
    assert stamp.stat().st_mode & 0o777 == 0o600
    before = stamp.read_text()
    assert ask() == ask() == []
    assert stamp.read_text() == before
    stamp.write_text(before[:99])
    assert ask() == ["nothing is noted there"]


def test_everything_on_the_way_forgets_it_but_check_mode(
    host: Host, ask: Callable[..., list[str]]
) -> None:
    stamp = Path(host.told["stamp"])
    ask(keep=True)
    assert ask(full=True, dry=True) == []
    assert stamp.exists()
    assert ask(full=True) == []
    assert not stamp.exists()
    ask(keep=True)
    assert ask(inputs={"a": "2", "b": "1"}, dry=True) == ["a", "b"]
    assert stamp.exists()
    assert ask(inputs={}) == ["a"]
    assert not stamp.exists()


def test_every_file_that_a_role_lays_down_is_looked_at() -> None:
    """Compares the tasks' unexpanded text."""
    for role in ("runtime", "worker"):
        told = yaml.safe_load((ROOT / f"roles/{role}/vars/main.yml").read_text())[f"__{role}_laid"]
        written = {
            found
            for path in (ROOT / f"roles/{role}/tasks").glob("*.yml")
            for found in re.findall(r"^ +dest: \"?([^\"\n]+)\"?$", path.read_text(), re.MULTILINE)
        }
        assert written
        assert written - {"{{ __runtime_host_wheels }}/"} <= set(told["files"])


@pytest.fixture
def checkout(tmp_path: Path, inputs: ModuleType) -> Path:
    """Copy the sources that decide about a host."""
    root = tmp_path / "checkout"
    for name in (*inputs.SOURCES, "paretopipe_runtime/version.py", "paretopipe_runtime/cli.py"):
        source = ROOT / name
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, root / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, root / name)
    (root / "wheels").mkdir()
    (root / "wheels/torch.whl").write_text("a wheel")
    (root / "locks").mkdir()
    (root / "locks/x86_64.txt").write_text("torch==2.13.0 --hash=sha256:0  # runtime\n")
    (root / "key").write_text("00\n")
    return root


@pytest.fixture
def decide(inputs: ModuleType, checkout: Path) -> Callable[..., dict[str, str]]:
    """Return a function that digests the inputs."""

    def decided(**changed: Any) -> dict[str, str]:
        certificate = {
            "folder": str(checkout / "tls"),
            "name": "pi1",
            "node": "pi1",
            "address": "192.0.2.11",
            "days": 397,
            "renew_days": changed.pop("renew_days", 60),
        }
        if not (checkout / "tls").exists():
            made = importlib.import_module("roles.runtime.provisioning.certificates")
            words = {key: value for key, value in certificate.items() if key != "folder"}
            made.issue(made.Store(checkout / "tls"), **words)
        laid_from = {
            "source": str(checkout),
            "requirements": changed.pop("requirements", ["torch==2.13.0"]),
            "locks": str(checkout / "locks"),
            "wheelhouse": str(checkout / "wheels"),
            "key": str(checkout / "key"),
            "certificate": certificate,
        }
        values = {**dict.fromkeys(inputs.options(ROOT), 1), **changed}
        found: dict[str, str] = inputs.inputs(checkout, values.get, laid_from)
        return found

    return decided


def test_every_input_of_the_roles_counts(
    inputs: ModuleType, decide: Callable[..., dict[str, str]]
) -> None:
    before = decide()
    assert decide() == before
    for name in inputs.options(ROOT):
        after = decide(**{name: 2})
        assert {key for key in after if after[key] != before[key]} == {name}
    assert {"worker_device", "worker_peers", "worker_sandbox_drop"} <= before.keys()
    assert {"runtime_versions", "worker_memory_max", "worker_allow_insecure_rpc"} <= before.keys()
    assert not inputs.PLACES & before.keys(), "a checkout may be anywhere"


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("roles/runtime/tasks/code.yml", "the roles"),
        ("roles/runtime/templates/openssl.cnf.j2", "the roles"),
        ("roles/runtime/vars/main.yml", "the roles"),
        ("roles/runtime/defaults/main.yml", "the roles"),
        ("roles/worker/templates/paretopipe-worker.service.j2", "the roles"),
        ("roles/worker/templates/paretopipe-governor.service.j2", "the roles"),
        ("roles/worker/handlers/main.yml", "the roles"),
        ("roles/runtime/provisioning/look.py", "the roles"),
        ("roles/job/filter_plugins/job_sandbox.py", "the roles"),
        ("roles/runtime/action_plugins/issue_certificate.py", "the roles"),
        ("playbooks/provision.yml", "the roles"),
        ("paretopipe_runtime/cli.py", "the code"),
        ("key", "the key"),
        ("locks/x86_64.txt", "the locks"),
        ("wheels/torch.whl", "the wheelhouse"),
        ("tls/pi1.pem", "the certificate"),
        ("tls/authority.key", "the certificate"),
    ],
)
def test_every_source_counts(
    decide: Callable[..., dict[str, str]], checkout: Path, path: str, name: str
) -> None:
    before = decide()
    (checkout / path).write_bytes((checkout / path).read_bytes() + b"\n# more\n")
    if path.startswith("tls"):
        (checkout / path).write_bytes(b"")
    after = decide()
    assert {key for key in after if after[key] != before[key]} == {name}


def test_a_version_and_a_certificate_that_is_due_count(
    decide: Callable[..., dict[str, str]],
) -> None:
    before = decide()
    other = decide(requirements=["torch==2.9.1"])
    assert {key for key in other if other[key] != before[key]} == {"the packages"}
    due = decide(renew_days=398)
    assert {key for key in due if due[key] != before[key]} == {"the certificate"}


def test_the_user_is_told_why(action: ModuleType) -> None:
    assert action.told("pi1", ["a", "b"]) == "pi1 is provisioned in full: a, b"
    assert action.told("pi1", list("abcde")) == "pi1 is provisioned in full: a, b, c and 2 more"


def test_the_question_is_one_program(look: ModuleType, host: Host) -> None:
    """Runs it as sent."""
    import subprocess

    question = json.dumps({**host.told, "keep": True})
    program = f"{Path(look.__file__).read_text()}\nmain({question!r})\n"
    done = subprocess.run(
        ["/usr/bin/python3", "-IBS", "-"],
        input=program,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert json.loads(done.stdout) == {"differs": [], "noted": True}
