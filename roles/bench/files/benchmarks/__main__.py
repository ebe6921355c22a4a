"""``python -m benchmarks``: what the role `bench` calls on the nodes, and on the controller."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from paretopipe_runtime.errors import ParetoPipeError

USER_ERROR = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one subcommand; a `ParetoPipeError` becomes one line and exit status 2."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(options))
    except ParetoPipeError as error:
        print(error, file=sys.stderr)
        return USER_ERROR


def _node(options: argparse.Namespace) -> int:
    from benchmarks import node
    from paretopipe_runtime.wire.keys import Keys
    from paretopipe_runtime.wire.tls import Identity

    identity = Identity.from_options(options.certificate, options.authority)
    keys = Keys.read(options.key_file, identity)
    node.serve(options.node, options.address, options.port, keys, options.state_dir)
    return 0


def _prepare(options: argparse.Namespace) -> int:
    from benchmarks import runner
    from paretopipe_runtime.wire.keys import Keys

    for path in options.documents:
        runner.prepare(runner.read(path), options.state_dir, Keys.read(options.key_file))
    return 0


def _run(options: argparse.Namespace) -> int:
    from benchmarks import runner
    from paretopipe_runtime.wire.keys import Keys

    document = runner.read(options.document)
    code, sentence = runner.run(document, options.state_dir, Keys.read(options.key_file))
    print(sentence, file=sys.stderr if code else sys.stdout, flush=True)
    return code


def _tables(options: argparse.Namespace) -> int:
    from benchmarks import tables

    tables.write(options.results, options.out)
    print(options.out / "results.md")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--key-file",
        type=Path,
        required=True,
        help="this host's keys, as provisioning lays them down",
    )
    common.add_argument("--state-dir", type=Path, default=Path("/var/lib/paretopipe"))

    node = commands.add_parser(
        "node", parents=[common], help="serve this node: agent and transport peer"
    )
    node.add_argument("--node", required=True, help="this node's name in the inventory")
    node.add_argument("--address", required=True, help="experiment address to listen on")
    node.add_argument("--port", type=int, required=True, help="the agent's; the peer has the next")
    node.add_argument(
        "--certificate", type=Path, help="PEM: this node's certificate and its private key, for TLS"
    )
    node.add_argument("--authority", type=Path, help="PEM: the certificate of who issued it")
    node.set_defaults(run=_node)

    prepare = commands.add_parser("prepare", parents=[common], help="make and deploy the weights")
    prepare.add_argument("documents", nargs="+", type=Path, metavar="DOCUMENT")
    prepare.set_defaults(run=_prepare)

    run = commands.add_parser("run", parents=[common], help="measure under one network condition")
    run.add_argument("document", type=Path, metavar="DOCUMENT")
    run.set_defaults(run=_run)

    tables = commands.add_parser("tables", help="write the text from the measured JSON")
    tables.add_argument("results", nargs="+", type=Path, metavar="RESULT")
    tables.add_argument("--out", type=Path, required=True, help="folder of results.md")
    tables.set_defaults(run=_tables)
    return parser


if __name__ == "__main__":
    sys.exit(main())
