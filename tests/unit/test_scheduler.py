"""Who gets what, case by case, and as a simulation that is fair and never lets a server wait."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.batch.logic.scheduler import (
    Rules,
    ServerState,
    Situation,
    Waiting,
    alternatives,
    choose,
    due,
)

A, B, C = "http://a", "http://b", "http://c"


def jobs(*keys: str, **common: Any) -> list[Waiting]:
    return [Waiting(key=key, order=number, **common) for number, key in enumerate(keys)]


def situation(waiting: list[Waiting], *servers: ServerState, **rest: Any) -> Situation:
    servers = servers or (ServerState(url=A),)
    return Situation(
        waiting=waiting,
        servers={server_state.url: server_state for server_state in servers},
        **rest,
    )


def chosen(url: str, given: Situation) -> list[str]:
    return [job.key for job in choose(url, given)]


def test_the_order_of_the_manifest_counts() -> None:
    assert chosen(A, situation(jobs("1", "2", "3"))) == ["1"]


def test_nothing_waits() -> None:
    assert chosen(A, situation([])) == []


def test_priority_beats_order() -> None:
    waiting = [*jobs("low"), Waiting(key="high", order=9, priority=1)]
    assert chosen(A, situation(waiting)) == ["high"]


def test_priority_beats_affinity() -> None:
    waiting = [
        Waiting(key="loaded", model="m", priority=0),
        Waiting(key="urgent", model="n", priority=1),
    ]
    assert chosen(A, situation(waiting, ServerState(url=A, model="m"))) == ["urgent"]


def test_a_job_is_left_for_a_while_to_servers_that_have_its_model() -> None:
    waiting = [Waiting(key="1", model="m", since=10.0)]
    rules = Rules(head_start=1.0)
    for now, gets in ((10.0, []), (10.9, []), (11.0, ["1"])):
        for another in ("", "l", "n"):
            without = situation(waiting, ServerState(url=A, model=another), now=now, rules=rules)
            assert chosen(A, without) == gets
        loaded = situation(waiting, ServerState(url=A, model="m"), now=now, rules=rules)
        assert chosen(A, loaded) == ["1"]


@pytest.mark.parametrize(("newcomers_first", "gets"), [(True, ["new"]), (False, ["old"])])
def test_a_newcomer_goes_before_affinity_unless_everybody_is_one(
    newcomers_first: bool, gets: list[str]
) -> None:
    waiting = [
        Waiting(key="old", batch="ann", order=1, model="m"),
        Waiting(key="new", batch="bob", order=2, model="n"),
    ]
    given = situation(
        waiting,
        ServerState(url=A, model="m"),
        served={"ann": 3, "bob": 3},
        fresh=["bob"],
        rules=Rules(newcomers_first=newcomers_first),
    )
    assert chosen(A, given) == gets


def test_a_job_without_a_model_is_left_to_nobody() -> None:
    waiting = [Waiting(key="1", since=10.0)]
    given = situation(waiting, ServerState(url=A, model="n"), now=10.0, rules=Rules(head_start=1.0))
    assert chosen(A, given) == ["1"]


@pytest.mark.parametrize(("held", "gets"), [(0, 1), (1, 1), (2, 0), (3, 0)])
def test_one_job_runs_and_one_looks_ahead(held: int, gets: int) -> None:
    assert len(choose(A, situation(jobs("1", "2"), ServerState(url=A, held=held)))) == gets


def test_without_look_ahead_one_at_a_time() -> None:
    given = situation(jobs("1"), ServerState(url=A, held=1), rules=Rules(look_ahead=0))
    assert chosen(A, given) == []


def test_a_server_set_aside_gets_nothing() -> None:
    assert chosen(A, situation(jobs("1"), ServerState(url=A, open=False))) == []


def test_the_last_job_goes_to_the_idle_server() -> None:
    servers = ServerState(url=A, held=1), ServerState(url=B)
    assert chosen(A, situation(jobs("last"), *servers)) == []
    assert chosen(B, situation(jobs("last"), *servers)) == ["last"]


def test_the_last_job_looks_ahead_where_the_idle_server_is_set_aside() -> None:
    servers = ServerState(url=A, held=1), ServerState(url=B, open=False)
    assert chosen(A, situation(jobs("last"), *servers)) == ["last"]


def test_a_job_in_its_pause_is_left_out() -> None:
    waiting = [replace(jobs("1")[0], not_before=5.0), Waiting(key="2", order=1)]
    assert chosen(A, situation(waiting, now=4.9)) == ["2"]
    assert chosen(A, situation(waiting, now=5.0)) == ["1"]
    assert due(waiting) == 0.0
    assert due([]) is None


def test_a_job_avoids_where_it_failed() -> None:
    waiting = [Waiting(key="1", avoid=frozenset({A})), Waiting(key="2", order=1)]
    servers = ServerState(url=A), ServerState(url=B)
    assert chosen(A, situation(waiting, *servers)) == ["2"]
    assert chosen(B, situation(waiting, *servers)) == ["1"]


def test_a_job_comes_back_where_no_other_server_is_left() -> None:
    waiting = jobs("1", avoid=frozenset({A, B}))
    assert chosen(A, situation(waiting, ServerState(url=A), ServerState(url=B))) == ["1"]
    waiting = jobs("1", avoid=frozenset({A}))
    assert chosen(A, situation(waiting, ServerState(url=A), ServerState(url=B, open=False))) == [
        "1"
    ]


def test_a_server_keeps_its_model() -> None:
    waiting = [Waiting(key="n", model="n"), Waiting(key="m", model="m", order=1)]
    assert chosen(A, situation(waiting, ServerState(url=A, model="m"))) == ["m"]


def test_a_server_loads_what_no_other_has() -> None:
    waiting = [Waiting(key="n", model="n"), Waiting(key="o", model="o", order=1)]
    servers = ServerState(url=A, model="m"), ServerState(url=B, model="n")
    assert chosen(A, situation(waiting, *servers)) == ["o"]


def test_a_server_helps_with_another_model_rather_than_wait() -> None:
    servers = ServerState(url=A, model="m"), ServerState(url=B, model="n", held=2)
    assert chosen(A, situation(jobs("1", model="n"), *servers)) == ["1"]


def test_a_server_loads_what_most_jobs_want() -> None:
    waiting = [Waiting(key="n", model="n"), *jobs("o1", "o2", model="o")]
    assert chosen(A, situation(waiting)) == ["o1"]


def test_the_batch_that_had_less_goes_first() -> None:
    waiting = [Waiting(key="1", batch="x"), Waiting(key="2", batch="y", order=1)]
    assert chosen(A, situation(waiting, served={"x": 1})) == ["2"]


def test_the_batch_that_had_less_goes_first_whatever_model_most_jobs_want() -> None:
    waiting = [
        *jobs("x1", "x2", "x3", batch="x", model="n"),
        Waiting(key="y", batch="y", order=9, model="o"),
    ]
    server_state = ServerState(url=A, model="m")
    assert chosen(A, situation(waiting, server_state, served={"x": 1})) == ["y"]
    assert chosen(A, situation(waiting, server_state)) == ["x1"]


def test_what_a_server_set_aside_has_loaded_does_not_count() -> None:
    waiting = [Waiting(key="n", model="n"), Waiting(key="o", model="o", order=1)]
    servers = ServerState(url=A, model="m"), ServerState(url=B, model="n", open=False)
    assert chosen(A, situation(waiting, *servers)) == ["n"]


def test_an_urgent_job_that_avoids_a_server_lets_others_pass() -> None:
    waiting = [
        Waiting(key="urgent", priority=9, avoid=frozenset({A})),
        Waiting(key="plain", order=1),
    ]
    servers = ServerState(url=A), ServerState(url=B)
    assert chosen(A, situation(waiting, *servers)) == ["plain"]
    assert chosen(B, situation(waiting, *servers)) == ["urgent"]


def test_of_two_jobs_with_one_seed_the_earlier_goes_along() -> None:
    waiting = [
        Waiting(key=key, group="g", seed=seed, batch_size=4, order=order)
        for order, (key, seed) in enumerate([("1", 1), ("2", 2), ("2 again", 2), ("3", 3)])
    ]
    assert chosen(A, situation(waiting)) == ["1", "2", "3"]


def test_affinity_lets_a_batch_lead_only_so_far() -> None:
    waiting = [Waiting(key="1", batch="x", model="m"), Waiting(key="2", batch="y", model="n")]
    server_state = ServerState(url=A, model="m")
    # four, where nothing else is said
    for lead, rules in ((4, Rules()), (2, Rules(lead=2))):
        for ahead, got in ((lead - 1, "1"), (lead, "2")):
            given = situation(waiting, server_state, served={"x": ahead}, rules=rules)
            assert chosen(A, given) == [got]


def test_seeds_that_follow_on_go_together() -> None:
    waiting = [
        Waiting(key=f"s{seed}", group="g", seed=seed, batch_size=4, order=order)
        for order, seed in enumerate([7, 8, 10, 9, 12, 11])
    ]
    assert chosen(A, situation(waiting)) == ["s7", "s8", "s9", "s10"]


@pytest.mark.parametrize(
    "other",
    [
        {"group": "h"},
        {"seed": 3},
        {"batch": "other"},
        {"priority": -1},
        {"not_before": 1.0},
        {"avoid": frozenset({A})},
    ],
)
def test_what_is_not_alike_goes_alone(other: dict[str, Any]) -> None:
    first = Waiting(key="1", group="g", seed=1, batch_size=4)
    second = replace(first, **{"key": "2", "seed": 2, "order": 1, **other})
    assert chosen(A, situation([first, second], ServerState(url=A), ServerState(url=B))) == ["1"]


def test_the_smallest_batch_size_of_the_group_counts() -> None:
    waiting = [
        Waiting(key=str(seed), group="g", seed=seed, batch_size=size, order=seed)
        for seed, size in enumerate([8, 2, 8, 8])
    ]
    assert chosen(A, situation(waiting)) == ["0", "1"]


def test_one_picture_a_graph_where_nothing_else_is_said() -> None:
    waiting = [Waiting(key=str(seed), group="g", seed=seed, order=seed) for seed in range(3)]
    assert chosen(A, situation(waiting)) == ["0"]


def test_without_a_group_no_batch() -> None:
    waiting = [Waiting(key=str(n), seed=n, batch_size=8, order=n) for n in range(3)]
    assert chosen(A, situation(waiting)) == ["0"]


def test_priorities_count_within_an_owner_only() -> None:
    waiting = [
        Waiting(key="x", batch="x", order=0),
        Waiting(key="x urgent", batch="x", order=1, priority=5),
        Waiting(key="y", batch="y", order=2, priority=-9),
    ]
    assert chosen(A, situation(waiting, served={"x": 1})) == ["y"]
    assert chosen(A, situation(waiting, served={"x": 1, "y": 2})) == ["x urgent"]


def test_whoever_has_just_come_goes_before_any_model() -> None:
    waiting = [
        *jobs("x1", "x2", batch="x", model="m"),
        Waiting(key="y", batch="y", order=9, model="n"),
    ]
    server_state = ServerState(url=A, model="m")
    served = {"x": 7, "y": 7}
    assert chosen(A, situation(waiting, server_state, served=served)) == ["x1"]
    assert chosen(A, situation(waiting, server_state, served=served, fresh=("y",))) == ["y"]
    # But not before those who have had less.
    assert chosen(A, situation(waiting, server_state, served={"x": 6, "y": 7}, fresh=("y",))) == [
        "x1"
    ]


def test_whoever_came_first_goes_first() -> None:
    waiting = [Waiting(key=batch, batch=batch) for batch in "xyz"]
    assert chosen(A, situation(waiting, fresh=("y", "z", "x"))) == ["y"]


def test_affinity_passes_an_owners_first_job_only_so_often() -> None:
    waiting = [Waiting(key="n", model="n"), *jobs("m1", "m2", model="m")]
    waiting = [replace(job, order=number) for number, job in enumerate(waiting)]
    server_state, rules = ServerState(url=A, model="m"), Rules(passing=3)
    for passed, got in ((0, "m1"), (2, "m1"), (3, "n"), (9, "n")):
        given = situation(waiting, server_state, passed={"": passed}, rules=rules)
        assert chosen(A, given) == [got]
    given = situation(waiting, server_state, passed={"": 99})
    assert chosen(A, given) == ["m1"]


def test_the_job_that_is_passed_only_so_often_is_first_by_order_wherever_it_stands() -> None:
    waiting = [*jobs("m0", "m1", model="m"), Waiting(key="n", model="n")]
    waiting = [replace(job, order=9 - number) for number, job in enumerate(waiting)]
    given = situation(
        waiting, ServerState(url=A, model="m"), passed={"": 3}, rules=Rules(passing=3)
    )
    assert chosen(A, given) == ["n"]


def test_a_job_goes_only_to_servers_that_can_run_it() -> None:
    waiting = [Waiting(key="1", only=frozenset({B})), Waiting(key="2", order=1)]
    servers = ServerState(url=A), ServerState(url=B)
    assert chosen(A, situation(waiting, *servers)) == ["2"]
    assert chosen(B, situation(waiting, *servers)) == ["1"]
    assert chosen(A, situation(waiting[:1], *servers)) == []
    assert chosen(A, situation([replace(waiting[0], only=frozenset())], *servers)) == []


def test_a_job_is_not_left_to_an_idle_server_that_cannot_run_it() -> None:
    servers = ServerState(url=A, held=1), ServerState(url=B)
    assert chosen(A, situation(jobs("1", only=frozenset({A})), *servers)) == ["1"]
    assert chosen(A, situation(jobs("1", only=frozenset({A, B})), *servers)) == []


def test_a_job_comes_back_where_no_other_server_that_can_run_it_is_left() -> None:
    servers = ServerState(url=A), ServerState(url=B)
    waiting = jobs("1", avoid=frozenset({A}), only=frozenset({A}))
    assert chosen(A, situation(waiting, *servers)) == ["1"]


def test_what_is_as_good_as_the_job_that_was_chosen() -> None:
    first = Waiting(key="first", order=5, model="m")
    others = {
        "second": replace(first, key="second", order=7),
        "third": replace(first, key="third", order=8),
        "before": replace(first, key="before", order=1),
        "model": replace(first, key="model", order=9, model="n"),
        "owner": replace(first, key="owner", order=9, batch="x"),
        "urgent": replace(first, key="urgent", order=9, priority=1),
        "later": replace(first, key="later", order=9, not_before=1.0),
        "other": replace(first, key="other", order=9, only=frozenset({B})),
        "avoids": replace(first, key="avoids", order=9, avoid=frozenset({A})),
    }
    given = situation([*others.values(), first], ServerState(url=A), ServerState(url=B))
    assert [job.key for job in alternatives(A, first, given, 9)] == ["second", "third"]
    assert [job.key for job in alternatives(A, first, given, 1)] == ["second"]
    waiting = [others["second"], others["avoids"]]
    given = situation(waiting, ServerState(url=A), ServerState(url=B, open=False))
    found = [job.key for job in alternatives(A, first, given, 9)]
    assert found == ["second", "avoids"], "the other server is not open"


@given(
    models=st.lists(st.sampled_from("mno"), max_size=40),
    batches=st.lists(st.sampled_from("xy"), min_size=40, max_size=40),
    servers=st.integers(1, 4),
)
def test_every_job_is_sent_once_and_no_server_waits(
    models: list[str], batches: list[str], servers: int
) -> None:
    """Round after round every server ends one graph; an open one is empty only at the end."""
    waiting = [
        Waiting(key=str(n), model=model, batch=batch, order=n)
        for n, (model, batch) in enumerate(zip(models, batches, strict=False))
    ]
    servers = {f"s{n}": ServerState(url=f"s{n}") for n in range(servers)}
    served: Counter[str] = Counter()
    sent = []
    while waiting:
        before = len(waiting)
        for url in list(servers):
            while got := choose(url, Situation(waiting=waiting, servers=servers, served=served)):
                sent += [job.key for job in got]
                served.update(job.batch for job in got)
                waiting = [job for job in waiting if job not in got]
                server_state = servers[url]
                servers[url] = replace(
                    server_state, held=server_state.held + 1, model=got[-1].model
                )
        assert all(server_state.held for server_state in servers.values()) or not waiting
        servers = {
            url: replace(server_state, held=max(0, server_state.held - 1))
            for url, server_state in servers.items()
        }
        assert len(waiting) < before or any(server_state.held for server_state in servers.values())
    assert sorted(sent) == sorted(map(str, range(len(models))))


def test_two_batches_of_two_models_share_one_server_without_thrashing() -> None:
    waiting = [
        Waiting(key=f"{batch}{n}", batch=batch, model=batch, order=n)
        for n in range(100)
        for batch in "xy"
    ]
    served: Counter[str] = Counter()
    order, model = [], ""
    while waiting:
        servers = {A: ServerState(url=A, model=model)}
        (job,) = choose(A, Situation(waiting=waiting, servers=servers, served=served))
        waiting.remove(job)
        served[job.batch] += 1
        order.append(job.batch)
        model = job.model
    changes = sum(one != two for one, two in itertools.pairwise(order))
    assert changes <= 2 * 100 // Rules().lead + 2
    assert abs(order[:100].count("x") - order[:100].count("y")) <= Rules().lead
