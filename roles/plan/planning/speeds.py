"""Seconds that a whole model takes on a host, before any host is touched.

From profiles of the same host; without any, from public times of real Raspberry Pis.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace

from paretopipe_runtime.contract.models import model_info
from paretopipe_runtime.contract.plan import Workload

from .blocks import blocks_of
from .earlier import Profile
from .listings import of

#: Seconds of a batch of eight of the paper's images on a Raspberry Pi 4B: of each model the median
#: of both parts together over the splits in pi4b_to_pi4b_batch8.csv of the public repository
#: riwaj666/SplitRL_V1, MIT licence. Not measured by this project; a test derives them again.
PI4B_S = {
    "mobilenetv2": 1.196,
    "resnet18": 1.661,
    "inceptionv3": 5.579,
    "resnet50": 5.392,
    "alexnet": 0.852,
    "vgg16": 13.133,
}
PI4B_BATCH = 8
#: No public table has the other half of such a pair: an assumption, and said to be one.
SERVER_TIMES = 10

OWN = "profiles of these hosts"
OTHER = "profiles of other models on these hosts"
TABLE = f"public times of two Raspberry Pi 4B at batch {PI4B_BATCH}, and yours may differ"
ASSUMED = f"a server is taken to be {SERVER_TIMES} times as fast"
ENGINES = "other engines are taken to be as fast as eager"
SCALED = "other batches and images are scaled by their operations alone"
LIKE = "models without a public time are scaled by their operations from those with one"


@dataclass(frozen=True)
class Speed:
    """Seconds of a batch of the whole model, and what they rest on."""

    whole_s: float
    sources: tuple[str, ...]


@dataclass(frozen=True)
class Speeds:
    """Known speeds of hosts.

    `boards` are the hosts that are as Raspberry Pis, all others as servers; None for emulated
    hosts, of which only profiles tell anything.
    """

    profiles: Sequence[Profile]
    boards: Sequence[str] | None = None

    def of(self, workload: Workload, host: str, address: str, device: str) -> Speed | None:
        """Return a host's speed, None if nothing tells."""
        own = [
            profile
            for profile in self.profiles
            if (profile.model in PI4B_S or of(profile.model))  # else its blocks are not known here
            and (profile.address, profile.device) == (address, device)
            and profile.engine == workload.engine
        ]
        if same := [profile for profile in own if profile.model == workload.model]:
            exact = [p for p in same if (p.image_px, p.batch) == _input(workload)]
            whole_s = _scaled((exact or same)[-1], workload)  # the latest
            return Speed(whole_s, (OWN,) if exact else (OWN, SCALED))
        if self.boards is None:
            return None
        public_s = _public_s(workload)
        if own:
            ratios = [p.whole_s / _public_s(_workload(p, workload)) for p in own]
            return Speed(statistics.median(ratios) * public_s, (OTHER,))
        beyond = [LIKE] if workload.model not in PI4B_S else []
        if workload.engine != "eager":
            beyond.append(ENGINES)
        if _input(workload) != (model_info(workload.model).image_px, PI4B_BATCH):
            beyond.append(SCALED)
        if host in self.boards and device == "cpu":
            return Speed(public_s, (TABLE, *beyond))
        return Speed(public_s / SERVER_TIMES, (TABLE, ASSUMED, *beyond))


def _input(workload: Workload) -> tuple[int, int]:
    return workload.image_px, workload.batch_size


def _workload(profile: Profile, like: Workload) -> Workload:
    return replace(
        *(like,), model=profile.model, image_px=profile.image_px, batch_size=profile.batch
    )


def _scaled(profile: Profile, workload: Workload) -> float:
    then, now = (sum(blocks_of(w).flops) for w in (_workload(profile, workload), workload))
    return profile.whole_s * now / then


def _public_s(workload: Workload) -> float:
    """Return the public table's seconds for this batch and image, by their operations.

    A model that it lacks is as fast an operation as the median of those that it has.
    """
    models = [workload.model] if workload.model in PI4B_S else [*PI4B_S]
    pace = statistics.median(PI4B_S[model] / _operations(workload, model) for model in models)
    return pace * sum(blocks_of(workload).flops)


def _operations(workload: Workload, model: str) -> float:
    """Return the operations of the public table's batch of a model."""
    image_px = model_info(model).image_px
    theirs = replace(workload, model=model, image_px=image_px, batch_size=PI4B_BATCH)
    return sum(blocks_of(theirs).flops)
