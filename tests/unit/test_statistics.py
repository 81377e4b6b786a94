"""Percentiles, rates and idle shares, from scripted rows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.batch.logic.jobs import Outcome
from orchestrator.batch.reporting.report.plots import axis, duration, percent, rate, strips
from orchestrator.batch.reporting.report.statistics import (
    Span,
    Tried,
    bin_of,
    percentile,
    spread,
    statistics,
    stretches,
)
from orchestrator.batch.reporting.report.timeline import SLICES, timeline

A, B = "http://a", "http://b"


def tried(number: int, server: str = A, end: float = 100.0, **changes: object) -> Tried:
    values = {
        "id": number,
        "server": server,
        "size": 1,
        "pictures": 1,
        "started_at": end - 5,
        "ended_at": end,
        "seconds": 5.0,
        "outcome": Outcome.DONE,
    }
    return Tried(**{**values, **changes})  # type: ignore[arg-type]


def span(attempt: int, name: str, seconds: float, node_class: str = "") -> Span:
    return Span(attempt=attempt, name=name, node_class=node_class, seconds=seconds)


@given(st.lists(st.floats(0, 1e4), min_size=1, max_size=50), st.floats(0, 1))
def test_percentiles_are_those_of_numpy(values: list[float], share: float) -> None:
    assert percentile(sorted(values), share) == pytest.approx(np.quantile(values, share))


def test_a_spread_counts_every_duration_in_a_bin() -> None:
    found = spread([0.0, 0.001, 0.0011, 1.0, 9.99, 10.0])
    assert (found.count, sum(found.bins.values())) == (6, 6)
    assert found.bins[bin_of(0.001)] == 2
    assert bin_of(1.0) == 0
    assert bin_of(9.99) < bin_of(10.0)


def test_figures_of_each_server_and_of_all() -> None:
    attempts = [
        tried(1, A, 110.0),
        tried(2, A, 120.0),
        tried(3, B, 120.0, size=4, pictures=4),
        tried(4, B, 130.0, pictures=0, outcome=Outcome.FAILED, seconds=None),
        tried(5, B, 900.0, pictures=0, outcome=Outcome.NEVER_SENT, seconds=None),
        tried(6, B, pictures=0, outcome=None, ended_at=None, seconds=None),
    ]
    spans = [
        span(1, "run", 4.0),
        span(2, "run", 5.0),
        span(2, "idle", 1.0),
        span(3, "run", 8.0),
        span(3, "node:6", 7.0, "KSampler"),
        span(3, "node:7", 1.0, "VAEDecode"),
        span(99, "run", 1000.0),
    ]
    found = statistics(attempts, spans)
    assert list(found.servers) == [A, B]
    assert found.servers[A].idle_share == pytest.approx(0.1)
    assert found.servers[B].idle_share is None
    assert (found.servers[B].pictures, found.servers[B].failures) == (4, 1)
    assert found.total.worked == pytest.approx(25.0)
    assert found.total.pictures_per_hour == pytest.approx(6 / 25 * 3600)
    assert found.total.spans["run"].p50 == 5.0
    assert list(found.total.nodes) == ["KSampler", "VAEDecode"]
    text = found.to_json()
    assert text["servers"][A]["spans"]["run"] == {
        "count": 2,
        "p50": 4.5,
        "p90": 4.9,
        "p99": 4.99,
    }


def test_loading_is_what_loader_nodes_took_unless_it_was_measured() -> None:
    spans = [
        span(1, "node:1", 2.0, "CheckpointLoaderSimple"),
        span(1, "node:2", 1.0, "LoraLoader"),
        span(1, "node:3", 9.0, "LoadImage"),
        span(2, "node:1", 2.0, "CheckpointLoaderSimple"),
        span(2, "load", 0.5),
        span(3, "node:6", 2.0, "KSampler"),
    ]
    loads = statistics([tried(1), tried(2), tried(3)], spans).total.spans["load"]
    assert (loads.count, loads.p50) == (2, 1.75)


def test_nothing_measured_is_no_error() -> None:
    found = statistics([], [])
    assert found.total.pictures_per_hour is None
    assert found.to_json()["spans"] == {}
    assert timeline([], []).place(5.0) == 0.0
    assert axis([]) == (0, 1)
    assert strips({}) == {}


def test_stretches_join_over_short_pauses_only() -> None:
    assert stretches([(100, 110), (0, 10), (5, 20), (75, 80)], pause=20) == [(0, 20), (75, 110)]


@pytest.mark.parametrize(("end", "worked"), [(160.0, 65.0), (165.0, 70.0), (165.1, 10.0)])
def test_a_pause_of_a_minute_still_belongs_to_the_work(end: float, worked: float) -> None:
    found = statistics([tried(1, end=100.0), tried(2, end=end)], [])
    assert found.total.worked == pytest.approx(worked)


def test_a_clock_that_is_set_back_makes_no_negative_time() -> None:
    back = tried(1, started_at=1000.0, ended_at=400.0)
    assert back.interval == (395.0, 400.0)
    failed = tried(2, started_at=1000.0, ended_at=400.0, seconds=None, outcome=Outcome.FAILED)
    assert failed.interval == (400.0, 400.0)
    assert statistics([back, failed], []).total.worked == 5.0


def test_an_attempt_found_again_after_a_weekend_took_no_weekend() -> None:
    found = tried(1, started_at=0.0, ended_at=250_000.0, seconds=3.0)
    assert statistics([found], []).total.worked == 3.0


def test_a_timeline_leaves_out_the_night() -> None:
    attempts = [tried(1, A, 1000.0), tried(2, B, 50_000.0), tried(3, B, 50_005.0)]
    made = timeline(attempts, [span(1, "run", 5.0)])
    assert made.stretches == ((995.0, 1000.0), (49_995.0, 50_005.0))
    assert made.place(30_000.0) == pytest.approx(1 / 3)
    assert made.place(50_000.0) == pytest.approx(2 / 3)
    assert sum(made.lanes[A].busy) == pytest.approx(SLICES / 3)
    assert sum(made.lanes[B].busy) == pytest.approx(SLICES * 2 / 3)
    assert sum(made.lanes[B].pictures) == 2


def test_a_lane_is_idle_before_a_run_and_neither_while_pictures_come_home() -> None:
    attempts = [
        tried(1, end=240.0, seconds=240.0),
        # It was never there, and so was at nobody's.
        tried(2, end=50_000.0, outcome=Outcome.NEVER_SENT, seconds=None),
    ]
    spans = [span(1, "run", 60.0), span(1, "idle", 30.0)]
    spans += [span(1, "transfer", 20.0), span(1, "store", 10.0)]
    made = timeline(attempts, spans)
    assert made.stretches == ((0.0, 240.0),)
    assert SLICES == 240
    (lane,) = made.lanes.values()
    # From the end back: 10 stored, 20 brought home, 60 run, 30 idle.
    assert [index for index, share in enumerate(lane.busy) if share] == list(range(150, 210))
    assert [index for index, share in enumerate(lane.idle) if share] == list(range(120, 150))


def test_a_timeline_tells_busy_from_idle_and_failed() -> None:
    attempts = [tried(1, end=10.0, seconds=10.0), tried(2, end=8.0, outcome=Outcome.FAILED)]
    spans = [span(1, "run", 5.0), span(1, "idle", 2.5), span(1, "transfer", 1.0)]
    (lane,) = timeline(attempts, spans).lanes.values()
    assert sum(lane.busy) == pytest.approx(SLICES * 0.5)
    assert sum(lane.idle) == pytest.approx(SLICES * 0.25)
    assert lane.failures == [pytest.approx(0.8)]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "–"),
        (0.0032, "3.2 ms"),
        (0.9999, "1 s"),
        (12.345, "12.3 s"),
        (100, "1 min 40 s"),
        (3600 * 3 + 60 * 20, "3 h 20 min"),
        (3600 * 50, "2 d 2 h"),
    ],
)
def test_durations_for_people(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


def test_rates_and_shares_for_people() -> None:
    assert rate(12.34) == "12.3 an hour"
    assert rate(6000) == "100 a minute"
    assert rate(3600 * 1234) == "1,234 a second"
    assert percent(0.0034) == "0.34 %"
    assert percent(None) == rate(None) == "–"
