"""When a server's size is looked at, and when it has grown too much."""

from __future__ import annotations

from orchestrator.batch.execution.growth import ServerGrowth


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_the_first_graphs_load_the_models_and_count_for_nothing() -> None:
    growth = ServerGrowth(100, Clock())
    assert [growth.is_due(graphs) for graphs in range(5)] == [False, False, False, False, True]
    growth.look(4, 5000)
    growth.look(8, 5100)
    assert growth.too_much == 0
    growth.look(12, 5101)
    assert growth.too_much == 101


def test_quick_graphs_are_looked_at_now_and_then_and_slow_ones_each_time() -> None:
    clock = Clock()
    growth = ServerGrowth(100, clock)
    growth.look(4, 5000)
    assert [growth.is_due(graphs) for graphs in range(4, 9)] == [False, False, False, False, True]
    clock.now = 1.0
    assert not growth.is_due(4)
    assert growth.is_due(5)


def test_without_a_bound_nothing_is_looked_at() -> None:
    assert not ServerGrowth(0, Clock()).is_due(1000)


def test_what_has_grown_too_much_stays_so_though_it_shrinks() -> None:
    growth = ServerGrowth(100, Clock())
    for graphs, size in ((4, 1000), (8, 2000), (12, 1000)):
        growth.look(graphs, size)
    assert growth.too_much == 1000
