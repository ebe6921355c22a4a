"""Synthetic sweeps on disk: cells of seeded runs, with what a sweep keeps beside them."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from paretopipe_runtime.contract.codecs import NONE
from paretopipe_runtime.contract.lines import Record, checksum
from paretopipe_runtime.contract.splits import split_name
from tests.made import plans, runs, samples

PAIRINGS = {"pi_to_pi": ["pi1", "pi2"], "pi_to_gpu": ["pi1", "server"]}


def write(
    folder: Path,
    seed: int = 0,
    repeats: int = 5,
    flaws: bool = True,
    models: Sequence[str] = ("mobilenetv2",),
    end_points: bool = False,
    sentinels: bool = False,
    again: Sequence[int] = (),
    profiles: bool = False,
    links: bool = False,
    **plan: Any,
) -> list[Path]:
    """Write two pairings under two networks, every split of each model; return the files.

    Parameters
    ----------
    flaws
        Omit one split and spoil four runs of the first model.
    end_points, sentinels, again
        As in `cell`; `again` in pi_to_pi's baseline only.
    profiles, links
        Add block profiles and links of both pairings.
    """
    source = random.Random(seed)
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for model in models:
        for pairing, workers in PAIRINGS.items():
            for scenario in runs.NETWORKS:
                place, flawed = (pairing, scenario), flaws and model == models[0]
                passes = again if place == ("pi_to_pi", "baseline") else ()
                lines = [
                    *cell(
                        source,
                        pairing,
                        workers,
                        scenario,
                        repeats,
                        model=model,
                        end_points=end_points,
                        sentinels=sentinels,
                        again=passes,
                        **plan,
                    )
                ]
                if flawed and place == ("pi_to_gpu", "wan"):
                    lines = [line for line in lines if line.get("factors", {}).get("cuts") != [20]]
                if flawed and place == ("pi_to_pi", "wan"):
                    spoil(lines)
                paths.append(write_cell(folder, lines))
        if profiles:
            paths.append(write_cell(folder, [*samples.profile(source, model)]))
    if links:
        paths += [
            write_cell(folder, [*samples.link(source, workers)]) for workers in PAIRINGS.values()
        ]
    return paths


def write_chain(
    folder: Path,
    hosts: Sequence[str],
    later: Sequence[Record],
    backend: str = "socket",
    profiles: bool = False,
) -> None:
    """Write cells of one split under baseline and under a scenario `far` of the `later` hops.

    With `profiles` links, too, whose measurements the hops of `later` replace.
    """
    source, cuts = random.Random(1), [3, 9, 14][: len(hosts) - 1]
    for name in ("baseline", "far"):
        lines = [*cell(source, "chain", hosts, "baseline", 1, [cuts], backend, end_points=True)]
        plan = lines[0]["plan"]
        if name == "far":
            plan["cell_id"] = plan["cell_id"].replace("baseline", "far")
            plan["scenario"] |= {"name": "far", "later_hops": [*later]}
            for line in lines[1:]:
                line["cell_id"] = plan["cell_id"]
                line["factors"] |= {"scenario": "far"}
                line["factors"] |= {"later_netem": [hop["netem"] for hop in later]}
        write_cell(folder, lines)
    if profiles:
        write_cell(folder, [*samples.profile(source, hosts=hosts)])
        for hop in pairwise(hosts):
            write_cell(folder, [*samples.link(source, hop)])


# Backend, engine and allocators of each cell; its latency and compute relative to the plainest's.
KINDS: dict[tuple[str, str, tuple[str, str]], tuple[float, float]] = {
    ("socket", "eager", ("tuned", "tuned")): (1.0, 1.0),
    ("rpc", "eager", ("tuned", "tuned")): (1.1, 1.0),
    ("rpc_hub", "eager", ("tuned", "tuned")): (1.5, 1.0),
    ("socket", "onnxruntime", ("tuned", "tuned")): (0.7, 0.5),
    ("socket", "eager", ("default", "default")): (1.2, 1.25),
}


def write_kinds(
    folder: Path,
    splits: Sequence[Sequence[int]] = ((3,), (9,), (17,)),
    kinds: Sequence[tuple[str, str, tuple[str, str]]] = tuple(KINDS),
    repeats: int = 5,
) -> list[Path]:
    """Write cells that differ in backend, engine or allocators only.

    All have one seed, so that ratios of medians are exactly those of `KINDS`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for kind in kinds:
        backend, engine, allocators = kind
        lines = [
            *cell(
                random.Random(7),
                splits=splits,
                repeats=repeats,
                backend=backend,
                engine=engine,
                allocators=allocators,
            )
        ]
        slower, dearer = KINDS[kind]
        for line in lines[1:]:
            line["latency"]["median_s"] *= slower
            line["throughput"]["img_s"] /= slower
            line["throughput"]["sustained_img_s"] /= slower
            for part in line["stages"]:
                times = part["compute_s"]["latency"]
                part["compute_s"]["latency"] = [seconds * dearer for seconds in times]
            line["proof"] |= {"tolerance": 2e-3, "max_rel_err": 4e-5} if dearer == 0.5 else {}
        paths.append(write_cell(folder, lines))
    return paths


def write_cell(folder: Path, lines: Sequence[Record]) -> Path:
    path = folder / f"{lines[0]['plan']['cell_id']}.jsonl"
    text = "".join(f"{json.dumps(seal(line), ensure_ascii=False)}\n" for line in lines)
    path.write_text(text, encoding="utf-8")
    return path


def seal(record: Record) -> Record:
    return {**record, "crc32": checksum(record)}


def cell(
    source: random.Random,
    pairing: str = "pi_to_pi",
    workers: Sequence[str] = ("pi1", "pi2"),
    scenario: str = "baseline",
    repeats: int = 5,
    splits: Sequence[Sequence[int]] | None = None,
    backend: str = "socket",
    engine: str = "eager",
    allocators: Sequence[str] = (),
    devices: Sequence[str] = (),
    model: str = "mobilenetv2",
    end_points: bool = False,
    sentinels: bool = False,
    again: Sequence[int] = (),
    codecs: Sequence[str] = (),
    **plan: Any,
) -> Iterator[Record]:
    """Yield a plan line and its runs, in randomised blocks as a sweep does.

    Without `allocators` or `devices` records are like older ones, which lacked them.

    Parameters
    ----------
    end_points
        Measure everything on the first host, and on the last, in every block.
    sentinels
        Measure the middle split at both ends of every block.
    again
        Blocks with a closing sentinel 20 % slower, measured again in a second pass.
    codecs
        Measure every split, and everything on the last host, with each of these.
    """
    asked, rtt, rate = runs.NETWORKS[scenario]
    blocks = runs.Blocks.of(model)
    names = [model, backend, pairing, scenario]
    names += [plan[key] for key in ("emulation", "transport") if key in plan]
    names += [engine] if engine != "eager" else []
    names += ["default_malloc"] if "default" in allocators else []
    names += [device for device in devices if device != "cpu"]
    whole = plans.document(
        cell_id=".".join(names),
        **{"model": model, "backend": backend, "engine": engine, "pairing": pairing},
        scenario={
            "name": scenario,
            "netem": asked,
            "measured": {"rtt_ms": rtt, "rate_mbit": rate},
        },
        workers=[
            {"host": host, "address": "192.0.2.1", "port": 47470}
            | ({"allocator": allocators[index]} if allocators else {})
            | ({"device": devices[index]} if devices and devices[index] != "cpu" else {})
            for index, host in enumerate(workers)
        ],
        splits=[list(cuts) for cuts in splits] if splits else "all",
        repeats=repeats,
        provenance={
            "commit": "synthetic0000",
            "dirty": True,
            "options": {"scenarios": "baseline,wan", "pairings": "pi_to_pi,pi_to_gpu"},
            "controller": {"ansible": "synthetic", "python": "synthetic"},
        },
        **({"end_points": True} if end_points else {}),
        **({"sentinel": True, "drift_limit": 0.05} if sentinels else {}),
    )
    whole |= plan | ({"codecs": [*codecs]} if codecs else {})
    yield {"schema_version": 1, "kind": "plan", "plan": whole}
    every = [list(cuts) for cuts in splits or [[k] for k in range(1, len(blocks.names))]]
    middle, order, keys = every[len(every) // 2], 0, dict[str, str]()
    for repeat in range(1, repeats + 1):
        for block_pass in (1, 2) if repeat in again else (1,):
            block: list[tuple[list[int], Record]] = [
                ([*cuts], coded(split_name(cuts), codec))
                for cuts in every
                for codec in codecs or [NONE]
            ]
            if end_points:
                last = workers[-1]
                block.append(([], {"role": "end_point", "split": f"all on {workers[0]}"}))
                for codec in codecs or [NONE]:
                    end = {"role": "end_point", "split": f"all on {last}"}
                    block.append(([0] * (len(workers) - 1), end | coded(end["split"], codec)))
            source.shuffle(block)
            if sentinels:
                ends = [{"role": "sentinel", "sentinel": end} for end in ("open", "close")]
                block = [(middle, ends[0]), *block, (middle, ends[1])]
            for cuts, extra in block:
                order += 1
                record = runs.run(source, whole, cuts, repeat, order, extra)
                # A second pass measures the same runs again, as further attempts.
                key = f"{repeat} {cuts} {extra}"
                record["run_key"] = keys.setdefault(key, record["run_key"])
                if block_pass > 1:
                    record |= {"block_pass": block_pass, "attempt": 2}
                elif repeat in again and extra.get("sentinel") == "close":
                    record["latency"]["median_s"] *= 1.2
                    record["throughput"]["sustained_img_s"] /= 1.2
                yield record


def coded(split: str, codec: str) -> Record:
    """Return the factors of a split that others without a codec lack."""
    return {} if codec == NONE else {"codec": codec, "split": f"{split} {codec}"}


def spoil(lines: list[Record]) -> None:
    """Turn the first four runs into: invalid and re-run, invalid, failed, skipped."""
    again = {**lines[1], "attempt": 2}
    lines[1] = {**lines[1], "status": "invalid:network", "message": "rtt 231 ms, expected 200 ms"}
    lines[2] = {**lines[2], "status": "invalid:throttled", "message": "pi1 was throttled"}
    lines[3] = runs.bare(lines[3], "failed:E_PEER_LOST", "pi2 closed the connection in batch 3")
    lines[4] = runs.bare(lines[4], "skipped:memory", "stage 1 would not fit in 4 GiB")
    lines.insert(6, again)
