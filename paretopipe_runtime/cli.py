"""The `paretopipe` command: the only place that prints for people, reads arguments, or exits."""

from __future__ import annotations

import argparse
import getpass
import json
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.version import version

if TYPE_CHECKING:
    from paretopipe_runtime.wire.connect import Keys
    from paretopipe_runtime.wire.tls import Identity

USER_ERROR = 2
#: Nothing is wrong with what was asked for: the same command goes on once the reason is gone.
RESUMABLE, TRY_AGAIN = frozenset({"E_BUSY", "E_DISK"}), 75


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one subcommand; a `ParetoPipeError` becomes one line and exit status 2, or 75."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(options))
    except ParetoPipeError as error:
        print(error, file=sys.stderr)
        return TRY_AGAIN if error.code in RESUMABLE else USER_ERROR


def _agent(options: argparse.Namespace) -> int:
    from paretopipe_runtime.wire.handshake import read_key
    from paretopipe_runtime.worker.agent import Agent, AgentOptions

    if options.allow_insecure_rpc:
        print(
            "WARNING: PyTorch RPC has no authentication: any host that can reach "
            f"{options.address} can run code here as {getpass.getuser()}.",
            file=sys.stderr,
            flush=True,
        )
    Agent(
        AgentOptions(
            options.node,
            options.address,
            options.port,
            read_key(options.key_file),
            options.state_dir,
            options.allow_insecure_rpc,
            identity=_identity(options),
        )
    ).serve()
    return 0


def _prepare(options: argparse.Namespace) -> int:
    from paretopipe_runtime import job
    from paretopipe_runtime.orchestrator import forecast

    keys, plans = _keys(options), _read_plans(options.plans)
    with job.hold(options.state_dir, f"paretopipe prepare {options.plans}"):
        rows = forecast.prepare_cells(
            plans,
            options.state_dir,
            keys,
            lambda line: print(line, file=sys.stderr if options.json else sys.stdout, flush=True),
            options.records,
            options.first,
        )
    print(json.dumps(rows) if options.json else forecast.table(rows))
    if options.outlook:
        try:
            options.outlook.write_text(json.dumps(forecast.visits(rows)))
        except OSError as error:
            raise ParetoPipeError(
                "E_DISK",
                f"cannot write {options.outlook}: {error.strerror} — free some space there",
            ) from error
    return 0


def _sweep(options: argparse.Namespace) -> int:
    from paretopipe_runtime.orchestrator.loop import sweep

    return _measure(sweep, options, first=options.blocks)


def _profile(options: argparse.Namespace) -> int:
    from paretopipe_runtime.orchestrator.profile import profile

    return _measure(profile, options)


def _measure(
    measure: Callable[..., tuple[int, str]], options: argparse.Namespace, **more: Any
) -> int:
    from paretopipe_runtime import job
    from paretopipe_runtime.orchestrator.loop import SweepFiles

    files = SweepFiles(
        options.records,
        options.merge,
        options.progress,
        job.Lease(options.lease, options.lease_seconds),
        options.state_dir,
    )
    plan, keys = _read_plan(options.plan), _keys(options)
    with job.hold(options.state_dir, f"paretopipe {measure.__name__} {plan.get('cell_id')}"):
        code, sentence = measure(plan, files, keys, **more)
    print(sentence, file=sys.stderr if code else sys.stdout, flush=True)
    return code


def _withdraw(options: argparse.Namespace) -> int:
    from paretopipe_runtime.records import Records

    count = Records(options.records).withdraw(options.since, options.reason)
    print(f"{count} runs withdrawn, {options.reason}: they will be measured again")
    return 0


def _finetune(options: argparse.Namespace) -> int:
    from paretopipe_runtime import job
    from paretopipe_runtime.finetune.job import Files, finetune
    from paretopipe_runtime.finetune.settings import Settings

    given = {name: getattr(options, name, None) for name in Settings.__dataclass_fields__}
    settings = Settings(**{name: value for name, value in given.items() if value is not None})
    lease = job.Lease(options.lease, options.lease_seconds)
    with job.hold(options.state_dir, f"paretopipe finetune {settings.model}"):
        code, sentence = finetune(settings, Files(options.state_dir, lease, options.progress))
    print(sentence, file=sys.stderr if code else sys.stdout, flush=True)
    return code


def _unit(options: argparse.Namespace) -> int:
    from paretopipe_runtime import unit

    return unit.main(options.arguments)


def _relay(options: argparse.Namespace) -> int:
    from paretopipe_runtime.relay import asked
    from paretopipe_runtime.relay.serve import Relay, Renewed

    hops = asked.hops(options.towards, options.back)
    shaping = asked.shaping(options.delay, options.rate, options.direction, vars(options))
    lease = Renewed(options.lease, options.lease_seconds)
    relay = Relay(hops, shaping)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))
    print(json.dumps({"host": hops[0].name, "ways": relay.ways}), flush=True)
    relay.serve(lease)
    return 0


def _probe(options: argparse.Namespace) -> int:
    from paretopipe_runtime.relay import asked
    from paretopipe_runtime.relay.probe import probe

    listen = asked.loopback(options.listen)
    through = asked.loopback(options.through) if options.through else None
    print(json.dumps(probe(listen, through, both_ways=options.both_ways)))
    return 0


def _models(_options: argparse.Namespace) -> int:
    from paretopipe_runtime.contract.models import MODEL_NAMES, model_info

    for name in MODEL_NAMES:
        info = model_info(name)
        last = info.blocks - 1
        print(f"{name:<12} {info.blocks:>2} blocks, splits 1…{last}, {info.image_px} px")
    return 0


def _keys(options: argparse.Namespace) -> Keys:
    from paretopipe_runtime.wire.connect import Keys
    from paretopipe_runtime.wire.handshake import read_key

    return Keys(read_key(options.key_file), _identity(options))


def _identity(options: argparse.Namespace) -> Identity | None:
    from paretopipe_runtime.wire.tls import Identity

    return Identity.given(options.certificate, options.authority)


def _read_plan(path: Path) -> dict[str, Any]:
    documents = _read_plans(path)
    if len(documents) != 1:
        raise ParetoPipeError("E_PLAN", f"{path} holds {len(documents)} plans, expected one")
    return documents[0]


def _read_plans(path: Path) -> list[dict[str, Any]]:
    """Return the plans in a file: a list of JSON objects, or one by itself."""
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ParetoPipeError("E_PLAN", f"cannot read {path} as JSON: {error}") from error
    documents = found if isinstance(found, list) else [found]
    if not all(isinstance(document, dict) for document in documents):
        raise ParetoPipeError("E_PLAN", f"{path} holds no JSON object")
    return documents


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="paretopipe",
        description="Measure split inference across hosts. The playbooks call this on the nodes; "
        "by hand it helps to look into a single step.",
    )
    parser.add_argument("--version", action="version", version=version())
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    agent = commands.add_parser("agent", help="serve this node: launch a fresh stage for each run")
    agent.add_argument("--node", required=True, help="this node's name in the inventory")
    agent.add_argument("--address", required=True, help="experiment address to listen on")
    agent.add_argument("--port", type=int, default=47470)
    agent.add_argument(
        "--allow-insecure-rpc",
        action="store_true",
        help="let runs use PyTorch RPC, which lets any host that reaches the address run code here",
    )
    _common(agent)
    agent.set_defaults(run=_agent)

    prepare = commands.add_parser(
        "prepare", help="make and deploy weights, probe the workers, print how long it will take"
    )
    prepare.add_argument(
        "plans", type=Path, metavar="PLANS", help="JSON: a cell's plan, or a list of such plans"
    )
    prepare.add_argument(
        "--records",
        type=Path,
        metavar="FOLDER",
        help="the cells' records: what they hold is not estimated again",
    )
    prepare.add_argument("--json", action="store_true", help="print the estimate as JSON")
    prepare.add_argument(
        "--outlook", type=Path, metavar="FILE", help="write there what the live lines need of it"
    )
    prepare.add_argument(
        "--first", type=int, default=0, help="blocks of each cell that a first report is made of"
    )
    _common(prepare)
    prepare.set_defaults(run=_prepare)

    for name, run, help_ in (
        ("sweep", _sweep, "measure what is missing of one cell"),
        ("profile", _profile, "measure what is missing of a model's block times, or of a link's"),
    ):
        measure = commands.add_parser(
            name,
            help=help_,
            description="Exit status: 0 complete, 1 some runs failed or are invalid, 2 wrong "
            "input, 75 stopped, or the disk is full, or the host is measuring already: the same "
            "command goes on.",
        )
        measure.add_argument("plan", type=Path, metavar="PLAN")
        measure.add_argument("--records", type=Path, required=True, help="JSON lines, appended to")
        measure.add_argument("--merge", type=Path, help="records known elsewhere, taken in first")
        _followed(measure)
        _common(measure)
        measure.set_defaults(run=run)
        if run is _sweep:
            measure.add_argument(
                "--blocks",
                type=int,
                help="only so many of the plan's blocks, for a first look; without it, the rest",
            )

    withdraw = commands.add_parser(
        "withdraw", help="let runs not count that turned out to be measured under wrong conditions"
    )
    withdraw.add_argument("records", type=Path, metavar="RECORDS")
    withdraw.add_argument(
        "--since", type=float, required=True, help="Unix time after which they ended"
    )
    withdraw.add_argument("--reason", required=True, help="one word for their status")
    withdraw.set_defaults(run=_withdraw)

    train = commands.add_parser(
        "finetune",
        help="fine-tune a model and publish its weights for sweeps",
        description="Exit status: 0 published, 2 wrong input, 75 stopped, or the disk is full, or "
        "the host is measuring: the same command goes on.",
    )
    train.add_argument("model", metavar="MODEL", help="see `paretopipe models`")
    train.add_argument("--weights", metavar="NAME", help="publish as this (finetuned)")
    train.add_argument(
        "--dataset",
        help="cifar10 (the default), digits, or a path: CIFAR-10's binary archive, a folder of "
        "images with one folder a class, a .safetensors file of images and labels",
    )
    train.add_argument(
        "--pretrained", help="start from: imagenet (the default), none, a path of a state dict"
    )
    train.add_argument("--epochs", type=int, help="at most (20)")
    train.add_argument("--patience", type=int, help="end after so many without a better one (5)")
    train.add_argument("--batch", type=int, help="images a step (64)")
    train.add_argument("--lr", type=float, help="largest learning rate (0.01; 0.05 from none)")
    train.add_argument("--image", type=int, dest="image_px", help="pixels a side (the model's)")
    train.add_argument("--classes", type=int, help="logits (as many as the data set's classes)")
    train.add_argument("--seed", type=int, help="of every random choice (0)")
    train.add_argument("--device", help="auto (the default), cpu, cuda")
    _followed(train)
    _state_dir(train)
    train.set_defaults(run=_finetune)

    unit = commands.add_parser(
        "unit", add_help=False, help="start or stop a command that outlives us, without systemd"
    )
    unit.add_argument("arguments", nargs=argparse.REMAINDER)
    unit.set_defaults(run=_unit)

    relay = commands.add_parser(
        "relay",
        help="delay and limit what leaves one of this machine's processes",
        description="Traffic control in user space, on loopback and without root: what `tc netem` "
        "is to a host's interface, as far as a delay and a rate go. A hop is "
        "NAME=ADDRESS:PORT=ADDRESS:PORT, where it listens and where it leads. Says where its hops "
        "are in one line of JSON, then works until SIGTERM or the end of its lease.",
    )
    relay.add_argument("--delay", default="", help="one way: 200ms")
    relay.add_argument("--rate", default="", help="on the wire: 5mbit")
    relay.add_argument("--direction", default="egress", help="egress (the default) or symmetric")
    relay.add_argument(
        "--from",
        dest="back",
        action="append",
        default=[],
        metavar="HOP",
        help="to the shaped host itself; once",
    )
    relay.add_argument(
        "--towards", action="append", default=[], metavar="HOP", help="from it to another; repeated"
    )
    for name in ("jitter", "loss", "delay-correlation", "loss-correlation", "distribution"):
        relay.add_argument(f"--{name}", default="", help=f"refused: a relay has no {name}")
    _leased(relay, required=True)
    relay.set_defaults(run=_relay)

    probe = commands.add_parser("probe", help="measure a relay's delay and rate, or loopback's own")
    probe.add_argument(
        "--listen", required=True, metavar="ADDRESS:PORT", help="where the way leads"
    )
    probe.add_argument(
        "--through", metavar="ADDRESS:PORT", help="the hop of a relay that goes there"
    )
    probe.add_argument("--both-ways", action="store_true", help="the rate back as well")
    probe.set_defaults(run=_probe)

    models = commands.add_parser("models", help="list the models and their valid splits")
    models.set_defaults(run=_models)
    return parser


def _common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--key-file", type=Path, required=True, help="the nodes' shared key")
    parser.add_argument(
        "--certificate", type=Path, help="PEM: this node's certificate and its private key, for TLS"
    )
    parser.add_argument("--authority", type=Path, help="PEM: the certificate of who issued it")
    _state_dir(parser)


def _followed(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--progress", type=Path, help="JSON file that tells how far it is")
    _leased(parser, required=False)


def _leased(parser: argparse.ArgumentParser, *, required: bool) -> None:
    parser.add_argument(
        "--lease", type=Path, required=required, help="stop when it is not touched any more"
    )
    parser.add_argument(
        "--lease-seconds", type=float, default=60.0, help="for so long (default: 60)"
    )


def _state_dir(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--state-dir", type=Path, default=Path("/var/lib/paretopipe"))


if __name__ == "__main__":
    sys.exit(main())
