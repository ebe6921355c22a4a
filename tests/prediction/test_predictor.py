"""A predictor's answers against sums by hand, and what it says where something is missing."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest

from paretopipe_runtime.contract.codecs import CODECS
from paretopipe_runtime.contract.splits import Coded
from paretopipe_runtime.prediction.predictor import Predictor
from paretopipe_runtime.prediction.profiles import Link, Profile
from reports.data.cells import Cell
from reports.prediction.cells import predictor_of
from reports.prediction.errors import errors
from tests.made import figures as made

WIRE = 1514 / 1448 * 8e-6  # seconds a byte at 1 Mbit/s


def test_latency_is_the_sum_of_what_a_batch_passes() -> None:
    # 80 ms on pi1, 250 kB at 50 Mbit/s, 20 ms of delay, 10 ms on pi2, 1 ms of messages, and the
    # 320 bytes of predictions at the 20 Gbit/s of the unshaped way back.
    expected = 0.08 + 250_000 * WIRE / 50 + 0.02 + 0.01 + 0.001 + 320e-9
    assert made.predictor().predict((2,), 20, 50).latency_s == pytest.approx(expected, rel=1e-5)


def test_a_fast_network_leaves_the_transport_s_own_cost() -> None:
    expected = 0.08 + 250_000e-9 + 0.01 + 0.001 + 320e-9
    assert made.predictor().predict((2,), 0, None).latency_s == pytest.approx(expected, rel=1e-5)


def test_throughput_is_a_full_pipeline_s() -> None:
    # The hop of 250 kB takes 41.8 ms at 50 Mbit/s; pi1 is slower, and sends 250 kB at 1 ns a byte.
    found = made.predictor().predict((2,), 20, 50)
    assert found.throughput_img_s == pytest.approx(8 / (0.08 + 250_000e-9), rel=1e-5)
    slow = made.predictor().predict((2,), 20, 5)
    hop_s = 250_000 * WIRE / 5
    assert slow.throughput_img_s == pytest.approx(8 / hop_s, rel=1e-5)


def test_a_long_link_is_full_where_the_window_follows_from_it() -> None:
    fixed = made.predictor()
    far, hop_s = fixed.predict((2,), 2000, 5), 250_000 * WIRE / 5
    assert far.throughput_img_s == pytest.approx(4 * 8 / far.latency_s)  # four share a latency
    following = replace(fixed, saturate=True).predict((2,), 2000, 5)
    assert following.throughput_img_s == pytest.approx(8 / hop_s, rel=1e-5)
    assert following.latency_s == far.latency_s


def test_receiving_occupies_the_second_stage_too() -> None:
    # 2 MB at 1 ns a byte: 2 ms for each end, beside 30 ms on pi1 and 35 ms on pi2.
    found = made.predictor().predict((1,), 0, None)
    expected = 8 / (0.035 + 0.002)
    assert found.throughput_img_s == pytest.approx(expected, rel=1e-4)


def test_processor_seconds_are_taken_from_each_stage_s_own_host() -> None:
    sizes = [2_000_000, 250_000, 320]
    profiles = [
        made.profile("pi1", [0.03, 0.05, 0.02], sizes, cpu_percent=made.spread(390)),
        made.profile("pi2", [0.03, 0.05, 0.02], sizes, cpu_percent=made.spread(50)),
    ]
    link = made.link(cpu=[(0.001, 1e-9), (0.002, 4e-9)])
    predictor = predictor_of(made.cell(), profiles, [link])
    assert isinstance(predictor, Predictor)

    def pace_s(cuts: tuple[int, ...]) -> float:
        return 8 / predictor.throughput_img_s(cuts, 0, None)

    # pi2 has half a processor, and 2 MB take 10 ms of it; of pi1's four no more than one sends.
    assert pace_s((1,)) == pytest.approx(0.07 + 2 * (0.002 + 2_000_000 * 4e-9), rel=1e-4)
    assert pace_s((2,)) == pytest.approx(0.08 + 0.001 + 250_000 * 1e-9, rel=1e-4)
    assert pace_s(()) == pytest.approx(0.1 + 0.001 + 320 * 1e-9, rel=1e-4)
    # One batch alone waits for nothing else: what moving it costs is in the transport's own time.
    alone = predictor_of(made.cell(), profiles, [made.link()])
    assert isinstance(alone, Predictor)
    assert predictor.latency_s((1,), 0, None) == alone.latency_s((1,), 0, None)


def test_a_stage_between_two_hops_receives_and_sends() -> None:
    hosts = ("pi1", "pi2", "server")
    profiles = [made.profile(host, [0.01, 0.05, 0.02], [2_000_000, 250_000, 320]) for host in hosts]
    links = [made.link(hop, cpu=[(0.001, 1e-9), (0.002, 4e-9)]) for hop in pairwise(hosts)]
    predictor = predictor_of(made.cell(hosts=hosts, allocators=("tuned",) * 3), profiles, links)
    assert isinstance(predictor, Predictor)
    between = predictor.stations((1, 2), 0, None)[2]
    assert between.through_s == pytest.approx(0.05)
    assert between.busy_s == pytest.approx(0.05 + 0.002 + 0.008 + 0.001 + 0.00025)


#: Of the input, and of 512,000 and 64,000 elements after blocks.
SHAPES = [(8, 3, 224, 224), (8, 40, 40, 40), (8, 125, 8, 8)]
SIZES = [2_048_000, 256_000, 320]


def encoding(*codecs: str, cell: Cell, links: list[Link]) -> Predictor:
    """Return a predictor whose hosts take 20 and 30 ns an element, the second 2 and 3."""
    profiles = [
        made.profile(
            *(host, [0.03, 0.05, 0.02], SIZES),
            codings=made.codings(SHAPES, 20e-9 / slower, 30e-9 / slower, *codecs),
        )
        for host, slower in zip(cell.hosts, (1, 10, 10), strict=False)
    ]
    found = predictor_of(cell, profiles, links)
    assert isinstance(found, Predictor)
    return found


@pytest.mark.parametrize("codec", ["fp16", "int8", "int4"])
def test_a_codec_costs_both_hosts_time_and_spares_the_hop_bytes(codec: str) -> None:
    coded = [made.measured("", Coded((cut,), codec), 1.0, 8.0) for cut in (1, 2)]
    predictor = encoding(cell=made.cell(coded), links=[made.link()])
    assert predictor.splits == (Coded((1,), codec), Coded((2,), codec))
    assert predictor.end_points == ((), Coded((0,), codec))
    sent = [CODECS[codec].nbytes(shape) for shape in SHAPES]
    encode_s, decode_s = 64_000 * 20e-9, 64_000 * 3e-9
    alone = predictor.predict(Coded((2,), codec), 20, 5)
    hop_s = sent[2] * WIRE / 5
    assert alone.latency_s == pytest.approx(
        0.08 + encode_s + hop_s + 0.02 + decode_s + 0.02 + 0.001 + 320e-9, rel=1e-5
    )
    assert alone.throughput_img_s == pytest.approx(8 / max(0.08 + encode_s, hop_s), rel=0.002)
    # Without the hop the second stage of P1 is the slowest, and reads 512,000 elements first.
    pace_s = 0.07 + 512_000 * 3e-9 + sent[1] * 1e-9
    found = predictor.predict(Coded((1,), codec), 0, None)
    assert found.throughput_img_s == pytest.approx(8 / pace_s, rel=1e-4)
    on_last = predictor.predict(Coded((0,), codec), 20, 50).latency_s
    image = 8 * 3 * 224 * 224
    expected = image * 23e-9 + sent[0] * WIRE / 50 + 0.02 + 0.1 + 0.001 + 320e-9
    assert on_last == pytest.approx(expected, rel=1e-5)
    plain = replace(predictor, codings={})
    for cuts in ((), (0,), (1,), (2,)):
        assert predictor.predict(cuts, 20, 50) == plain.predict(cuts, 20, 50)


def test_a_stage_between_two_hops_reads_and_writes() -> None:
    hosts = ("pi1", "pi2", "server")
    links = [made.link(hop, cpu=[(0.001, 1e-9), (0.002, 4e-9)]) for hop in pairwise(hosts)]
    cell = made.cell(
        [made.measured("", Coded((1, 2), "int8"), 1.0, 8.0)],
        hosts=hosts,
        allocators=("tuned",) * 3,
    )
    predictor = encoding(cell=cell, links=links)
    assert predictor.splits == (Coded((1, 2), "int8"),)
    between = predictor.stations(Coded((1, 2), "int8"), 0, None)[2]
    received, sent = (CODECS["int8"].nbytes(shape) for shape in SHAPES[1:])
    coding_s = 512_000 * 3e-9 + 64_000 * 2e-9
    assert between.through_s == pytest.approx(0.05 + coding_s)
    assert between.busy_s == pytest.approx(
        0.05 + coding_s + 0.002 + received * 4e-9 + 0.001 + sent * 1e-9
    )


def test_a_codec_that_was_not_profiled_is_not_predicted_and_is_told() -> None:
    splits = [made.measured("", cuts, 1.0, 8.0) for cuts in ((1,), Coded((1,), "int8"))]
    predictor = encoding("fp16", cell=made.cell(splits), links=[made.link()])
    assert predictor.splits == ((1,), (2,))
    assert len(errors(made.cell(splits), predictor).splits) == 1
    said = (
        "Splits with int8 are not predicted here: pi1 and pi2 were profiled without. "
        "Run `ansible-playbook playbooks/profile.yml -e model=mobilenetv2`."
    )
    assert predictor.notes[-1] == said
    only = made.cell(splits[1:])
    profiles = [made.profile(host, [0.03, 0.05, 0.02], SIZES) for host in only.hosts]
    assert predictor_of(only, profiles, [made.link()]) == said


def test_the_end_points_cross_the_shaped_side_once() -> None:
    predictor = made.predictor()
    assert predictor.end_points == ((), (0,))
    on_first = predictor.predict((), 20, 50).latency_s
    # Two of the three messages, and the predictions at 50 Mbit/s.
    assert on_first == pytest.approx(0.1 + 0.02 + 2 / 3 * 0.001 + 320 * WIRE / 50, rel=1e-5)
    on_last = predictor.predict((0,), 20, 50).latency_s
    # 4.8 MB are more than TCP's window, which at 50 Mbit/s is acknowledged before it is sent.
    expected = 4_816_896 * WIRE / 50 + 0.02 + 0.05 + 0.001 + 320e-9
    assert on_last == pytest.approx(expected, rel=1e-5)


def test_a_long_fat_network_waits_for_the_window() -> None:
    found = made.predictor().predict((0,), 200, 10_000)
    window = 4 * 1024 * 1024
    waiting_s = (4_816_896 / window - 1) * (0.2 - window * WIRE / 10_000)
    expected = 4_816_896e-9 + 0.2 + waiting_s + 0.05 + 0.001 + 320e-9
    assert found.latency_s == pytest.approx(expected, rel=1e-5)


def test_slow_start_adds_round_trips_to_a_lone_batch_only() -> None:
    warm = made.predictor()
    cold = replace(warm, slow_start=True)
    fast, slow = (p.predict((2,), 100, 1000) for p in (warm, cold))
    # 90 ms of compute and 100 ms of delay are no time-out of 300 ms.
    assert slow == fast
    long = replace(cold, compute_s=tuple(tuple(20 * s for s in host) for host in cold.compute_s))
    # A pause of 1.9 s is six time-outs: 173 segments go as 10, 20, 40, 80 and the last 23.
    gap = 4 * 0.1 - 150 * 1448 * WIRE / 1000
    added = long.latency_s((2,), 100, 1000) - replace(long, slow_start=False).latency_s(
        (2,), 100, 1000
    )
    assert added == pytest.approx(gap, rel=1e-4)
    assert long.throughput_img_s((2,), 100, 1000) == pytest.approx(
        replace(long, slow_start=False).throughput_img_s((2,), 100, 1000)
    )


def test_three_stages_pass_two_hops_of_which_the_first_is_shaped() -> None:
    sizes = [2_000_000, 250_000, 320]
    hosts = ("pi1", "pi2", "server")
    profiles = [made.profile(host, [0.03, 0.05, 0.02], sizes) for host in hosts]
    links = [made.link(), made.link(("pi2", "server"), rtt_ms=0.4, rate_mbit=100)]
    cell = made.cell(hosts=hosts, allocators=("tuned",) * 3)
    predictor = predictor_of(cell, profiles, links)
    assert isinstance(predictor, Predictor)
    assert predictor.splits == ((1, 2),)
    assert predictor.end_points == ((), (0, 0))
    hops = 2_000_000 * WIRE / 50 + 0.02 + 250_000 * WIRE / 100 + 0.0004 + 320 * WIRE / 100
    assert predictor.predict((1, 2), 20, 50).latency_s == pytest.approx(
        0.1 + hops + 4 / 3 * 0.001, rel=1e-4
    )
    # Under a scenario the second hop is what was measured then; the predictions do not pass it.
    slow = {"netem": {"rate": "5mbit"}, "measured": {"rtt_ms": 200.0, "rate_mbit": 5}}
    under = predictor.under({"scenario": {"name": "far", "later_hops": [slow]}})
    hops += 250_000 * (WIRE / 5 - WIRE / 100) + 0.2 - 0.0004
    assert under.predict((1, 2), 20, 50).latency_s == pytest.approx(
        0.1 + hops + 4 / 3 * 0.001, rel=1e-4
    )
    both = {"netem": {**slow["netem"], "direction": "symmetric"}, "measured": slow["measured"]}
    assert predictor.under({"scenario": {"later_hops": [both]}}).networks[1].rtt_ms == 100
    full = replace(under, saturate=True)
    assert full.in_flight((1, 2), 0.02, 50) == 6, "a batch takes 0.4 s on each, twice the delays"
    assert full.in_flight((1, 2), 3.8, 50) == 16
    assert under.under({"scenario": "far"}) is under, "as it is without"


def test_replicas_share_a_stage_s_pace_and_leave_its_latency_and_hops_alone() -> None:
    sizes = [2_000_000, 250_000, 320]
    profiles = [made.profile(host, [0.01, 0.3, 0.02], sizes) for host in ("pi1", "pi2", "server")]
    links = [made.link(), made.link(("pi2", "server"))]

    def predictor(*hosts: str) -> Predictor:
        cell = made.cell(hosts=hosts, allocators=("tuned",) * 3)
        found = predictor_of(cell, profiles, links)
        assert isinstance(found, Predictor)
        return replace(found, saturate=True)

    one, two = predictor("pi1", "pi2", "server"), predictor("pi1", "pi2+pi3", "server")
    at = ((1, 2), 0.2, 1000)
    assert two.latency_s(*at) == one.latency_s(*at)
    assert two.throughput_img_s(*at) == pytest.approx(2 * one.throughput_img_s(*at), rel=0.01)
    slow = ((1, 2), 0.2, 50)  # what pi1 sends passes its own link, however many share it
    assert two.throughput_img_s(*slow) == pytest.approx(8 / (2_000_000 * WIRE / 50), rel=1e-4)
    assert two.in_flight((1, 2), 0.0, None) == 8, "four hosts and three hops between, for each"
    assert two.in_flight((), 0.0, None) == 6, "alike in all of a cell's runs"


def test_errors_are_none_where_the_cell_agrees_with_its_profile() -> None:
    stages, hop_s, delay_s = [0.08, 0.01], 250_000 * WIRE / 50, 0.02
    alone, begun = made.simulated(stages, [hop_s], delay_s, 40, 4)
    _, ended = made.simulated(stages, [hop_s], delay_s, 80, 4)
    cell = made.cell([made.measured("P2", (2,), alone, 8 * 40 / (ended - begun))])
    profiles = [
        made.profile("pi1", [0.03, 0.05, 0.02], [2_000_000, 250_000, 320]),
        made.profile("pi2", [0.015, 0.025, 0.01], [2_000_000, 250_000, 320]),
    ]
    predictor = predictor_of(cell, profiles, [])
    assert isinstance(predictor, Predictor)
    found = errors(cell, predictor)
    assert found.latency is not None
    assert found.throughput is not None
    assert found.latency.median == pytest.approx(0, abs=1e-6)
    assert found.throughput.median == pytest.approx(0, abs=1e-6)


def test_errors_name_the_worst_with_its_sign() -> None:
    predictor = made.predictor()
    truth = {cuts: predictor.predict(cuts, 20, 50) for cuts in ((1,), (2,), ())}
    cell = made.cell(
        [
            made.measured("P1", (1,), truth[(1,)].latency_s / 1.02, truth[(1,)].throughput_img_s),
            made.measured("P2", (2,), truth[(2,)].latency_s / 0.9, truth[(2,)].throughput_img_s),
        ],
        [made.measured("all on pi1", (), truth[()].latency_s, truth[()].throughput_img_s / 1.5)],
    )
    found = errors(cell, predictor)
    assert found.latency is not None
    assert found.throughput is not None
    assert (found.latency.worst_name, found.latency.n) == ("P2", 3)
    assert found.latency.worst == pytest.approx(-0.1)
    assert found.latency.median == pytest.approx(0.02)
    assert found.throughput.worst_name == "all on pi1"
    assert found.throughput.worst == pytest.approx(0.5)


def test_a_missing_profile_is_a_sentence_that_says_what_to_run() -> None:
    only_one = [made.profile("pi1", [0.1], [320])]
    assert predictor_of(made.cell(), only_one, []) == (
        "Nothing can be predicted here: the blocks of MobileNetV2 were not profiled on pi2 "
        "(PyTorch eager, tuned malloc). "
        "Run `ansible-playbook playbooks/profile.yml -e model=mobilenetv2`."
    )


def test_hosts_profiled_with_different_blocks_are_not_mixed() -> None:
    profiles = [made.profile("pi1", [0.1, 0.1], [9, 3]), made.profile("pi2", [0.1], [3])]
    found = predictor_of(made.cell(), profiles, [])
    assert isinstance(found, str)
    assert "pi1 and pi2 were profiled with different blocks" in found


def test_a_model_of_one_block_has_no_split() -> None:
    profiles = [made.profile(host, [0.1], [320]) for host in ("pi1", "pi2")]
    found = predictor_of(made.cell(), profiles, [])
    assert found == "MobileNetV2 has too few blocks to give each host one."


def test_blocks_that_take_no_time_are_no_division_by_zero() -> None:
    profiles = [made.profile(host, [0.0, 0.0], [0, 0]) for host in ("pi1", "pi2")]
    predictor = predictor_of(made.cell(), profiles, [])
    assert isinstance(predictor, Predictor)
    found = predictor.predict((1,), 0, None)
    assert found.latency_s > 0
    assert found.throughput_img_s > 0


@pytest.mark.parametrize(
    ("setting", "value"),
    [("engine", "compile"), ("allocator", "default"), ("batch_size", 4), ("image_px", 64)],
)
def test_a_profile_of_other_settings_is_no_profile(setting: str, value: object) -> None:
    profiles: list[Profile] = [
        made.profile(host, [0.1], [320], **{setting: value}) for host in ("pi1", "pi2")
    ]
    assert isinstance(predictor_of(made.cell(), profiles, []), str)


def test_a_missing_link_costs_nothing_and_says_so() -> None:
    profiles = [made.profile(host, [0.1, 0.1], [1000, 320], 0.2) for host in ("pi1", "pi2")]
    predictor = predictor_of(made.cell(), profiles, [made.link(("pi1", "server"))])
    assert isinstance(predictor, Predictor)
    assert predictor.notes == (
        "The transport from pi1 to pi2 over TCP sockets was not measured: beside the wire it "
        "counts as free.",
    )
    assert predictor.predict((1,), 0, None).latency_s == pytest.approx(0.2)


def test_of_two_measurements_of_a_link_the_less_disturbed_counts() -> None:
    shaped = made.link(byte_s=1.7e-6, rtt_ms=200, rate_mbit=5)
    profiles = [made.profile(host, [0.1, 0.1], [1000, 320]) for host in ("pi1", "pi2")]
    links: list[Link] = [shaped, made.link()]
    predictor = predictor_of(made.cell(), profiles, links)
    assert isinstance(predictor, Predictor)
    assert predictor.transports[0].byte_s == pytest.approx(1e-9, rel=1e-3)
    assert "not timed on pi1 and pi2" in predictor.notes[0]
