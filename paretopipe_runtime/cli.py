"""The `paretopipe` command line. It and `commands` alone read arguments, print for people, exit."""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from paretopipe_runtime import commands
from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.version import version

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

USER_ERROR = 2
#: Nothing is wrong with what was asked for: the same command goes on once the reason is gone.
RESUMABLE, TRY_AGAIN = frozenset({"E_BUSY", "E_DISK"}), 75


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one subcommand; a `ParetoPipeError` becomes one line and exit status 2, or 75."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal may lack a dash or a name's letter
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(options))
    except ParetoPipeError as error:
        print(error, file=sys.stderr)
        return TRY_AGAIN if error.code in RESUMABLE else USER_ERROR


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="paretopipe",
        description="Measure split inference across hosts. The playbooks call this on the nodes; "
        "by hand it helps to look into a single step.",
    )
    parser.add_argument("--version", action="version", version=version())
    subparsers: Subparsers = parser.add_subparsers(required=True, metavar="COMMAND")
    _agent(subparsers)
    _prepare(subparsers)
    _measure(subparsers)
    _night(subparsers)
    _withdraw(subparsers)
    _finetune(subparsers)
    _accuracy(subparsers)
    unit = subparsers.add_parser(
        "unit", add_help=False, help="start or stop a command that outlives us, without systemd"
    )
    unit.add_argument("arguments", nargs=argparse.REMAINDER)
    unit.set_defaults(run=commands.unit)
    _relay(subparsers)
    _probe(subparsers)
    models = subparsers.add_parser("models", help="list the models and their valid splits")
    models.set_defaults(run=commands.models)
    _cut(subparsers)
    return parser


def _agent(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser(
        "agent", help="serve this node: launch a fresh stage for each run"
    )
    parser.add_argument("--node", required=True, help="this node's name in the inventory")
    parser.add_argument("--address", required=True, help="experiment address to listen on")
    parser.add_argument("--port", type=int, default=47470)
    parser.add_argument(
        "--allow-insecure-rpc",
        action="store_true",
        help="let runs use PyTorch RPC, which lets any host that reaches the address run code here",
    )
    _common(parser)
    parser.set_defaults(run=commands.agent)


def _prepare(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser(
        "prepare", help="make and deploy weights, probe the workers, print how long it will take"
    )
    parser.add_argument(
        "plans", type=Path, metavar="PLANS", help="JSON: a cell's plan, or a list of such plans"
    )
    parser.add_argument(
        "--records",
        type=Path,
        metavar="FOLDER",
        help="the cells' records: what they hold is not estimated again",
    )
    parser.add_argument("--json", action="store_true", help="print the estimate as JSON")
    parser.add_argument(
        "--outlook", type=Path, metavar="FILE", help="write there what the live lines need of it"
    )
    parser.add_argument(
        "--first", type=int, default=0, help="rounds of each cell that a first report is made of"
    )
    parser.add_argument(
        "--noise",
        type=float,
        default=0.0,
        metavar="SECONDS",
        help="time the same work on every worker for so long, to know what a machine scatters by",
    )
    _common(parser)
    parser.set_defaults(run=commands.prepare)


def _measure(subparsers: Subparsers) -> None:
    for name, help_ in (
        ("sweep", "measure what is missing of one cell"),
        ("profile", "measure what is missing of a model's block times, or of a link's"),
    ):
        parser = subparsers.add_parser(
            name,
            help=help_,
            description="Exit status: 0 complete, 1 some runs failed or are invalid, 2 wrong "
            "input, 75 stopped, or the disk is full, or the host is measuring already: the same "
            "command goes on.",
        )
        parser.add_argument("plan", type=Path, metavar="PLAN")
        parser.add_argument("--records", type=Path, required=True, help="JSON lines, appended to")
        parser.add_argument("--merge", type=Path, help="records known elsewhere, taken in first")
        parser.add_argument(
            "--agent-wait",
            type=float,
            default=600.0,
            metavar="SECONDS",
            help="for an agent that is away, after a run that failed (default: 600)",
        )
        _followed(parser)
        _common(parser)
        parser.set_defaults(run=commands.measure, command=name, rounds=None)
        if name == "sweep":
            parser.add_argument(
                "--rounds",
                type=int,
                help="only so many of the plan's rounds, for a first look; without it, the rest",
            )


def _night(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser(
        "night",
        help="measure every cell of a detached sweep, with no controller",
        description="Exit status: 0 complete, 1 some cells are not, 2 wrong input, 75 stopped, or "
        "the host is measuring already: the same command goes on.",
    )
    parser.add_argument("list", type=Path, metavar="LIST", help="JSON, by playbooks/full_sweep.yml")
    parser.add_argument(
        "--told", type=Path, required=True, help="JSON file that tells how far it is"
    )
    _common(parser)
    parser.set_defaults(run=commands.night)


def _withdraw(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser(
        "withdraw", help="let runs not count that turned out to be measured under wrong conditions"
    )
    parser.add_argument("records", type=Path, metavar="RECORDS")
    parser.add_argument(
        "--since", type=float, required=True, help="Unix time after which they ended"
    )
    parser.add_argument("--reason", required=True, help="one word for their status")
    parser.set_defaults(run=commands.withdraw)


def _finetune(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser(
        "finetune",
        help="fine-tune a model and publish its weights for sweeps",
        description="Exit status: 0 published, 2 wrong input, 75 stopped, or the disk is full, or "
        "the host is measuring: the same command goes on.",
    )
    parser.add_argument("model", metavar="MODEL", help="see `paretopipe models`")
    parser.add_argument("--weights", metavar="NAME", help="publish as this (finetuned)")
    parser.add_argument(
        "--dataset",
        help="cifar10 (the default), digits, or a path: CIFAR-10's binary archive, a folder of "
        "images with one folder a class, a .safetensors file of images and labels",
    )
    parser.add_argument(
        "--pretrained", help="start from: imagenet (the default), none, a path of a state dict"
    )
    parser.add_argument("--epochs", type=int, help="at most (20)")
    parser.add_argument("--patience", type=int, help="end after so many without a better one (5)")
    parser.add_argument("--batch", type=int, help="images a step (64)")
    parser.add_argument("--lr", type=float, help="largest learning rate (0.01; 0.05 from none)")
    parser.add_argument("--image", type=int, dest="image_px", help="pixels a side (the model's)")
    parser.add_argument("--classes", type=int, help="logits (as many as the data set's classes)")
    parser.add_argument("--seed", type=int, help="of every random choice (0)")
    parser.add_argument("--device", help="auto (the default), cpu, cuda")
    _followed(parser)
    _state_dir(parser)
    parser.set_defaults(run=commands.finetune)


def _cut(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser(
        "cut",
        help="find where any model can be cut in two",
        description="Trace a model that PyTorch can run, or read an ONNX file, find every place "
        "where a single tensor is all that goes on, and group the layers between into blocks. Then "
        "run the blocks one after the other, and the whole model: their predictions must be equal. "
        "Prints what it found as JSON.",
        epilog="example: paretopipe cut torchvision:efficientnet_b0",
    )
    parser.add_argument(
        "model",
        metavar="MODEL",
        help="torchvision:NAME, timm:NAME, or module:my_package.my_function, which returns a "
        "torch.nn.Module and may take num_classes; or onnx:FILE.onnx",
    )
    parser.add_argument("--classes", type=int, help="(1000, or as many as a file has)")
    parser.add_argument(
        "--weights",
        type=Path,
        metavar="FILE",
        help="also store the tensors of this .safetensors file, a state dict, as the set NAME that "
        "is called as the file",
    )
    _state_dir(parser)
    parser.set_defaults(run=commands.cut)


def _accuracy(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser(
        "accuracy",
        help="tell what codecs cost in images told right",
        description="Try trained weights on the images that their training held out, at most 1,000 "
        "of them: unsplit, then with each codec at each split's cut. A line a split: the images it "
        "tells right, the percentage points against the unsplit network, how many images only one "
        "of the two tells, and McNemar's exact p. Weights and images are those of this host: run "
        "it where `paretopipe finetune` was run. Ctrl-C loses the current cut; the same command "
        "goes on. A sweep with -e weights=… -e codec=… does the same before its runs.",
        epilog="example: paretopipe accuracy mobilenetv2 --codec int8,int4 --splits 3,9",
    )
    parser.add_argument("model", metavar="MODEL", help="see `paretopipe models`")
    parser.add_argument("--weights", metavar="NAME", default="finetuned", help="(finetuned)")
    parser.add_argument("--codec", default="fp16,int8,int4", help="(fp16,int8,int4)")
    parser.add_argument("--splits", default="all", help="cut points: 3,9,17 (all)")
    parser.add_argument("--image", type=int, dest="image_px", help="pixels a side (as trained)")
    parser.add_argument("--batch", type=int, default=8, help="images at once (8)")
    _state_dir(parser)
    parser.set_defaults(run=commands.accuracy)


def _relay(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser(
        "relay",
        help="delay and limit what leaves one of this machine's processes",
        description="Traffic control in user space, on loopback and without root: what `tc netem` "
        "is to a host's interface, as far as a delay and a rate go. A hop is "
        "NAME=ADDRESS:PORT=ADDRESS:PORT, where it listens and where it leads. Says where its hops "
        "are in one line of JSON, then works until SIGTERM or the end of its lease.",
    )
    parser.add_argument("--delay", default="", help="one way: 200ms")
    parser.add_argument("--rate", default="", help="on the wire: 5mbit")
    parser.add_argument("--direction", default="egress", help="egress (the default) or symmetric")
    parser.add_argument(
        "--from",
        dest="back",
        action="append",
        default=[],
        metavar="HOP",
        help="to the shaped host itself; once",
    )
    parser.add_argument(
        "--towards", action="append", default=[], metavar="HOP", help="from it to another; repeated"
    )
    _leased(parser, required=True)
    parser.set_defaults(run=commands.relay)


def _probe(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser(
        "probe", help="measure a relay's delay and rate, or loopback's own"
    )
    parser.add_argument(
        "--listen", required=True, metavar="ADDRESS:PORT", help="where the way leads"
    )
    parser.add_argument(
        "--through", metavar="ADDRESS:PORT", help="the hop of a relay that goes there"
    )
    parser.add_argument("--both-ways", action="store_true", help="the rate back as well")
    parser.set_defaults(run=commands.probe)


def _common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--key-file",
        type=Path,
        required=True,
        help="this host's keys, as provisioning lays them down",
    )
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
