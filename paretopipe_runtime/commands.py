"""The work of each subcommand of `paretopipe`: options in, exit status out.

Imports are local: a command loads only what it needs, and a relay has to start in no time.
"""

from __future__ import annotations

import getpass
import json
import signal
import sys
from argparse import Namespace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from paretopipe_runtime.errors import ParetoPipeError

if TYPE_CHECKING:
    from paretopipe_runtime.wire.keys import Keys
    from paretopipe_runtime.wire.tls import Identity


def agent(options: Namespace) -> int:
    from paretopipe_runtime.worker.agent import Agent
    from paretopipe_runtime.worker.node import Node

    if options.allow_insecure_rpc:
        print(
            "WARNING: PyTorch RPC has no authentication: any host that can reach "
            f"{options.address} can run code here as {getpass.getuser()}.",
            file=sys.stderr,
            flush=True,
        )
    keys = _keys(options)
    if not keys.own:
        raise ParetoPipeError(
            "E_KEY",
            f"{options.key_file} has no key that commands this node, only keys of others: it is "
            "the orchestrator's — run playbooks/provision.yml",
        )
    given = options.node, options.address, keys, options.state_dir
    Agent(Node(*given, options.allow_insecure_rpc), options.port).serve()
    return 0


def prepare(options: Namespace) -> int:
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
            options.noise,
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


def measure(options: Namespace) -> int:
    from paretopipe_runtime import job
    from paretopipe_runtime.orchestrator import loop

    files = loop.SweepFiles(
        options.records,
        options.merge,
        options.progress,
        job.Lease(options.lease, options.lease_seconds),
        options.state_dir,
        options.agent_wait,
    )
    plan, keys = _read_plan(options.plan), _keys(options)
    with job.hold(options.state_dir, f"paretopipe {options.command} {plan.get('cell_id')}"):
        code, sentence = loop.measure(plan, files, keys, options.rounds)
    print(sentence, file=sys.stderr if code else sys.stdout, flush=True)
    return code


def night(options: Namespace) -> int:
    from paretopipe_runtime import job
    from paretopipe_runtime.orchestrator import night as sweeping

    (document,), keys = _read_plans(options.list), _keys(options)
    todo = sweeping.Night.of(document)
    with job.hold(options.state_dir, f"paretopipe night {todo.sweep}"):
        code, sentence = sweeping.measure(todo, options.state_dir, keys, options.told)
    print(sentence, file=sys.stderr if code else sys.stdout, flush=True)
    return code


def withdraw(options: Namespace) -> int:
    from paretopipe_runtime.records import Records

    count = Records(options.records).withdraw(options.since, options.reason)
    print(f"{count} runs withdrawn, {options.reason}: they will be measured again")
    return 0


def finetune(options: Namespace) -> int:
    from paretopipe_runtime import job
    from paretopipe_runtime.finetune import job as training
    from paretopipe_runtime.finetune.settings import Settings

    given = {name: getattr(options, name, None) for name in Settings.__dataclass_fields__}
    settings = Settings(**{name: value for name, value in given.items() if value is not None})
    lease = job.Lease(options.lease, options.lease_seconds)
    with job.hold(options.state_dir, f"paretopipe finetune {settings.model}"):
        code, sentence = training.finetune(
            settings, training.Files(options.state_dir, lease, options.progress)
        )
    print(sentence, file=sys.stderr if code else sys.stdout, flush=True)
    return code


def accuracy(options: Namespace) -> int:
    from paretopipe_runtime import job
    from paretopipe_runtime.contract.splits import split_name
    from paretopipe_runtime.orchestrator import accuracy as trial

    workload = trial.workload_of(
        options.model, options.weights, options.image_px, options.batch, options.state_dir
    )
    splits = trial.asked(options.model, options.splits, options.codec)
    say = partial(print, file=sys.stderr, flush=True)
    with job.hold(options.state_dir, f"paretopipe accuracy {options.model}"):
        for known in trial.of(workload, splits, options.state_dir, say):
            print(
                f"{split_name(known.cuts):<10} {known.percent:5.1f} % of {known.images} images, "
                f"{known.change:+.1f} points: {known.only_unsplit} right only unsplit, "
                f"{known.only_split} only split, p = {known.p:.2g}",
                flush=True,
            )
    return 0


def unit(options: Namespace) -> int:
    from paretopipe_runtime import unit as units

    return units.main(options.arguments)


def relay(options: Namespace) -> int:
    from paretopipe_runtime.relay import asked
    from paretopipe_runtime.relay.serve import Relay, Renewed

    hops = asked.hops(options.towards, options.back)
    shaping = asked.shaping(options.delay, options.rate, options.direction)
    lease = Renewed(options.lease, options.lease_seconds)
    working = Relay(hops, shaping)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))
    print(json.dumps({"host": hops[0].name, "ways": working.ways}), flush=True)
    working.serve(lease)
    return 0


def probe(options: Namespace) -> int:
    from paretopipe_runtime.relay import asked
    from paretopipe_runtime.relay import probe as echo

    listen = asked.loopback(options.listen)
    through = asked.loopback(options.through) if options.through else None
    print(json.dumps(echo.probe(listen, through, both_ways=options.both_ways)))
    return 0


def models(_options: Namespace) -> int:
    from paretopipe_runtime.contract.models import MODEL_NAMES, model_info

    for name in MODEL_NAMES:
        info = model_info(name)
        last = info.blocks - 1
        print(f"{name:<12} {info.blocks:>2} blocks, splits 1…{last}, {info.image_px} px")
    return 0


def cut(options: Namespace) -> int:
    from paretopipe_runtime import cut
    from paretopipe_runtime.contract.models import FORMS, ONNX, is_traced

    source, _, path = options.model.partition(":")
    if source == ONNX:
        from paretopipe_runtime import cut_onnx

        found = cut_onnx.listing(Path(path), options.classes or 0)
    elif is_traced(options.model):
        found = cut.listing(options.model, options.classes or 1000)
    else:
        names = ", ".join(FORMS)
        raise ParetoPipeError("E_MODEL", f"model {options.model!r}, expected one of {names}")
    if options.weights:
        from paretopipe_runtime.own_weights import take

        path, name = options.weights, options.weights.stem
        store = options.state_dir / "weights"
        found["published"] = take(options.model, options.classes or 1000, path, name, store)
    print(json.dumps(found))
    return 0


def _keys(options: Namespace) -> Keys:
    from paretopipe_runtime.wire.keys import Keys

    return Keys.read(options.key_file, _identity(options))


def _identity(options: Namespace) -> Identity | None:
    from paretopipe_runtime.wire.tls import Identity

    return Identity.from_options(options.certificate, options.authority)


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
