"""Latency and throughput of any split of a cell at any round-trip time and rate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, field, replace
from functools import cached_property
from itertools import pairwise
from typing import Any

from paretopipe_runtime.contract.chain import filling_window
from paretopipe_runtime.contract.codecs import NONE
from paretopipe_runtime.contract.replicas import hosts_at
from paretopipe_runtime.contract.splits import Cuts, all_splits, codec_of, coded
from paretopipe_runtime.contract.units import transfer_s
from paretopipe_runtime.contract.values import amount
from paretopipe_runtime.prediction.matching import Conditions
from paretopipe_runtime.prediction.pipeline import (
    Station,
    corrected,
    latency_s,
    pace_s,
    running_total,
)
from paretopipe_runtime.prediction.profiles import Link, Profile
from paretopipe_runtime.prediction.transport import (
    MESSAGE,
    Transport,
    slow_start_s,
    window_pace_s,
    window_s,
)

ON_FIRST: Cuts = ()  # the end point with every block on the first host
# Embedded in the page, too, so that both compute alike; beyond any measurement's precision.
_DIGITS = 7
# Least time, against division by zero.
TICK_S = 1e-9


@dataclass(frozen=True)
class Prediction:
    latency_s: float
    throughput_img_s: float


@dataclass(frozen=True)
class Network:
    """A network between two hosts; a rate of None is unlimited."""

    rtt_ms: float
    rate_mbit: float | None


@dataclass(frozen=True)
class Codings:
    """A codec at every boundary; predictions, the last, are never encoded.

    ``boundary_bytes``: of a batch before the first block and after each. ``encode_s``,
    ``decode_s``: by host, seconds at each.
    """

    boundary_bytes: tuple[int, ...]
    encode_s: tuple[tuple[float, ...], ...]
    decode_s: tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class Predictor:
    """Coefficients of a model on a chain of hosts.

    ``hosts``: of each stage, several as one name. ``compute_s``: by stage, seconds of its host for
    the first 0, 1, … all blocks. ``boundary_bytes``: of a batch
    before the first block and after each. ``codings``: by codec that every host was profiled with.
    ``codecs``: of the cell's splits, those that can be predicted. ``networks``: of each hop, as
    measured; the first is the usual one, which predictions replace. ``window``: batches in flight
    at least, with ``saturate`` as many as fill the slowest hop. ``back_mbit``: of what returns from
    the last host, which no hop's shaping delays. ``notes``: assumptions, in a report's words.
    """

    hosts: tuple[str, ...]
    compute_s: tuple[tuple[float, ...], ...]
    boundary_bytes: tuple[int, ...]
    transports: tuple[Transport, ...]
    networks: tuple[Network, ...]
    batch_size: int
    window: int
    saturate: bool
    slow_start: bool
    notes: tuple[str, ...] = ()
    codings: Mapping[str, Codings] = field(default_factory=dict)
    codecs: tuple[str, ...] = (NONE,)
    back_mbit: float | None = None

    @classmethod
    def of(
        cls,
        cell: Conditions,
        profiles: Sequence[Profile],
        links: Sequence[Link | None],
        slow_start: bool = False,
    ) -> Predictor:
        """Return a cell's predictor.

        Parameters
        ----------
        profiles, links
            Of its stages and hops, as `matching` finds them.
        slow_start
            TCP restarts slowly after a pause (``net.ipv4.tcp_slow_start_after_idle``); ParetoPipe's
            workers disable it.
        """
        first = profiles[0]
        boundary_bytes = (first.input_bytes, *(block.output_bytes for block in first.blocks))
        codings = {
            codec: _codings(codec, profiles, boundary_bytes[-1])
            for codec in first.codings
            if all(codec in profile.codings for profile in profiles)
        }
        return cls(
            hosts=cell.hosts,
            compute_s=tuple(map(_compute, profiles)),
            boundary_bytes=boundary_bytes,
            transports=tuple(
                _transport(link, (_processors(one), _processors(other)))
                for link, one, other in zip(links, profiles, profiles[1:], strict=False)
            ),
            networks=tuple(
                Network(link.rtt_ms or 0.0, link.rate_mbit) if link else Network(0.0, None)
                for link in links
            ),
            batch_size=first.batch_size,
            back_mbit=links[-1].rate_mbit if links[-1] else None,
            window=cell.window,
            saturate=cell.saturate,
            slow_start=slow_start,
            codings=codings,
            codecs=tuple(codec for codec in cell.codecs if codec in {NONE, *codings}),
        )

    @property
    def splits(self) -> tuple[Cuts, ...]:
        """All splits with each of the cell's codecs."""
        plain = all_splits(len(self.boundary_bytes) - 1, len(self.hosts))
        return tuple(coded(cuts, codec) for codec in self.codecs for cuts in plain)

    @property
    def end_points(self) -> tuple[Cuts, ...]:
        """The whole model on the first host, and on the last with each of the cell's codecs."""
        on_last = (0,) * (len(self.hosts) - 1)
        return ON_FIRST, *(coded(on_last, codec) for codec in self.codecs)

    def network(self, plan: Mapping[str, Any]) -> Network:
        """Return the first hop's network as measured before a cell, else with its link."""
        return measured_networks(plan, self.networks)[0]

    def under(self, plan: Mapping[str, Any]) -> Predictor:
        """Return it with the later hops' networks as measured before a plan's cell."""
        later = measured_networks(plan, self.networks)[1:]
        if later == self.networks[1:]:
            return self
        return replace(self, networks=(self.networks[0], *later))

    def predict(self, cuts: Cuts, rtt_ms: float, rate_mbit: float | None) -> Prediction:
        """Predict a split or an end point, with any codec of `codings` or none.

        Parameters
        ----------
        rtt_ms, rate_mbit
            Of the first hop; a rate of None is unlimited.
        """
        return Prediction(
            self.latency_s(cuts, rtt_ms, rate_mbit),
            self.throughput_img_s(cuts, rtt_ms, rate_mbit),
        )

    def latency_s(self, cuts: Cuts, rtt_ms: float, rate_mbit: float | None) -> float:
        """Return the seconds from a request to its predictions."""
        stations = self.stations(cuts, rtt_ms / 1e3, rate_mbit)
        alone_s = max(latency_s(stations), TICK_S)
        if not self.slow_start:
            return alone_s
        # The link pauses between batches sent alone.
        paused_s = rtt_ms / 1e3 + sum(station.through_s for station in stations[::2])
        sent = self._coding(cuts).boundary_bytes[cuts[0] if cuts else -1]
        return alone_s + slow_start_s(sent, rtt_ms / 1e3, rate_mbit, paused_s)

    def throughput_img_s(self, cuts: Cuts, rtt_ms: float, rate_mbit: float | None) -> float:
        """Return images per second of a full pipeline."""
        stations = self.stations(cuts, rtt_ms / 1e3, rate_mbit)
        window = self.in_flight(cuts, rtt_ms / 1e3, rate_mbit)
        return self.batch_size / max(pace_s(stations, window), TICK_S)

    def in_flight(self, cuts: Cuts, rtt_s: float, rate_mbit: float | None) -> int:
        """Return the batches in flight of a full pipeline."""
        if not self.saturate:
            return self.window
        sizes, later = self._coding(cuts).boundary_bytes, self.networks[1 : len(cuts)]
        rates = (rate_mbit, *(network.rate_mbit for network in later))
        sent_s = max(
            (transfer_s(sizes[cut], rate) for cut, rate in zip(cuts, rates, strict=False)),
            default=0.0,
        )
        rtt_s += sum(network.rtt_ms for network in later) / 1e3
        return filling_window(self.window, len(cuts) + 1, sent_s, rtt_s, max(self.replicas))

    def stations(self, cuts: Cuts, rtt_s: float, rate_mbit: float | None) -> list[Station]:
        """Return stage, hop, stage, …, and the hop that returns the predictions.

        A batch leaves the first host once, as tensor or predictions: the round-trip time is added
        there.
        """
        known = self._known.get(cuts)
        if known is None:
            known = self._known[cuts] = self._fixed(cuts)
        first, *rest = known
        payload = self._coding(cuts).boundary_bytes[cuts[0] if cuts else -1]
        return [first, self._hop(0, payload, not cuts, rtt_s, rate_mbit), *rest]

    @cached_property
    def replicas(self) -> tuple[int, ...]:
        """The number of hosts that take the batches of each stage in turn.

        They share its work; its hops are still one link each, of the host on their other end.
        """
        return tuple(len(hosts_at(place)) for place in self.hosts)

    @cached_property
    def _known(self) -> dict[Cuts, list[Station]]:
        """Cache of `_fixed`, which searches call thousands of times."""
        return {}

    @cached_property
    def _plain(self) -> Codings:
        free = ((0.0,) * len(self.boundary_bytes),) * len(self.hosts)
        return Codings(self.boundary_bytes, free, free)

    def _coding(self, cuts: Cuts) -> Codings:
        codec = codec_of(cuts)
        return self._plain if codec == NONE else self.codings[codec]

    def _fixed(self, cuts: Cuts) -> list[Station]:
        """Return the stations but the first hop, whose network varies."""
        coding = self._coding(cuts)
        sizes = coding.boundary_bytes
        edges = [0, *cuts, len(sizes) - 1]
        stages = len(edges) - 1
        stations = []
        for place, (first, end) in enumerate(pairwise(edges)):
            compute_s = self.compute_s[place][end] - self.compute_s[place][first]
            compute_s += coding.encode_s[place][end]
            if place:
                compute_s += coding.decode_s[place][first]
            payload, final = sizes[end], place == stages - 1
            busy_s = compute_s
            if place:  # on the last stage this includes its answer
                before = self._transport(place - 1)
                busy_s += before.receive_s + sizes[first] * before.receive_byte_s
            if not place or not final:
                used = self._transport(place)
                busy_s += used.send_s + payload * used.send_byte_s
            stations.append(Station(compute_s, busy_s / self.replicas[place]))
            if place:  # as measured; its fixed part includes the predictions' return
                network = self.networks[min(place, len(self.networks) - 1)]
                on = (0.0, self.back_mbit) if final else (network.rtt_ms / 1e3, network.rate_mbit)
                stations.append(self._hop(place, payload, final, *on))
        return stations

    def _transport(self, place: int) -> Transport:
        return self.transports[min(place, len(self.transports) - 1)]

    def _hop(
        self, place: int, payload: int, final: bool, rtt_s: float, rate_mbit: float | None
    ) -> Station:
        used = self._transport(place)
        on_wire_s = transfer_s(payload, rate_mbit)
        # Request and predictions, or this hop: one message each.
        fixed_s = 2 * MESSAGE * self.transports[0].fixed_s if final else MESSAGE * used.fixed_s
        return Station(
            max(payload * used.byte_s, on_wire_s) + window_s(payload, rtt_s, rate_mbit),
            max(payload * used.pace_byte_s, on_wire_s, window_pace_s(payload, rtt_s)),
            rtt_s + fixed_s,
        )


def measured_networks(plan: Mapping[str, Any], usual: Sequence[Network]) -> tuple[Network, ...]:
    """Return the hops' networks as measured before a plan's cell, the usual ones where not."""
    scenario = plan.get("scenario")
    hops = scenario.get("later_hops") if isinstance(scenario, dict) else None
    first, *later = usual
    if isinstance(hops, list) and len(hops) == len(later):
        later = [*map(_passed, hops, later)]
    return _seen(scenario, first), *later


def _seen(hop: Any, usual: Network) -> Network:
    """Return what a scenario's hop measured, and the usual network's values for the rest."""
    found = hop.get("measured") if isinstance(hop, dict) else None
    seen = found if isinstance(found, dict) else {}
    return Network(
        amount(seen.get("rtt_ms")) or usual.rtt_ms,
        amount(seen.get("rate_mbit")) or usual.rate_mbit,
    )


def _passed(hop: Any, usual: Network) -> Network:
    """Return a later hop's network, which tensors pass one way only: half of what delays both."""
    network, asked = _seen(hop, usual), hop.get("netem") if isinstance(hop, dict) else None
    if isinstance(asked, dict) and asked.get("direction") == "symmetric":
        return replace(network, rtt_ms=network.rtt_ms / 2)
    return network


def _compute(profile: Profile) -> tuple[float, ...]:
    whole_s = profile.whole_s.median if profile.whole_s else None
    blocks_s = corrected([block.mean_s.median for block in profile.blocks], whole_s)
    return tuple(map(_short, running_total(blocks_s)))


def _codings(codec: str, profiles: Sequence[Profile], answer_bytes: int) -> Codings:
    own = [profile.codings[codec] for profile in profiles]
    return Codings(
        (*(coding.nbytes for coding in own[0]), answer_bytes),
        tuple((*(_short(coding.encode_s.median) for coding in host), 0.0) for host in own),
        tuple((*(_short(coding.decode_s.median) for coding in host), 0.0) for host in own),
    )


def _processors(profile: Profile) -> float:
    """Return the share of one processor that a busy process gets, at most 1."""
    percent = profile.cpu_percent.median if profile.cpu_percent else 0.0
    return min(percent / 100, 1.0) if percent >= 1 else 1.0


def _transport(link: Link | None, processors: tuple[float, float]) -> Transport:
    if link is None:
        return Transport()
    fitted = Transport.of(link, processors)
    return Transport(*map(_short, astuple(fitted)))


def _short(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")
