"""Places in the queue are those of the order in which owners take turns."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.service.places import WaitingRequests


def _order(waiting: list[tuple[str, str, int, int]]) -> list[str]:
    """The order of work, played through: by priority, then owners in turn, then by arrival."""
    left, order = list(waiting), []
    while left:
        highest = max(one[2] for one in left)
        mine = [one for one in left if one[2] == highest]
        lines: dict[str, list[tuple[str, str, int, int]]] = {}
        for one in sorted(mine, key=lambda one: one[3]):
            lines.setdefault(one[1], []).append(one)
        for turn in range(max(map(len, lines.values()))):
            these = [line[turn] for line in lines.values() if len(line) > turn]
            order += [one[0] for one in sorted(these, key=lambda one: one[3])]
        left = [one for one in left if one[2] != highest]
    return order


_JOBS = st.lists(st.tuples(st.sampled_from("abc"), st.integers(-1, 1)), max_size=12)


@given(_JOBS, st.randoms(use_true_random=False))
def test_they_count_who_is_ahead(jobs: list[tuple[str, int]], chance: random.Random) -> None:
    waiting = [
        (f"job{number}", owner, priority, number) for number, (owner, priority) in enumerate(jobs)
    ]
    places = WaitingRequests()
    for key, owner, priority, order in chance.sample(waiting, len(waiting)):
        places.add(key, owner, priority, order)
    expected = _order(waiting)
    assert [places.of(key) for key in expected] == list(range(1, len(expected) + 1))
    for gone in chance.sample(waiting, len(waiting) // 2):
        places.remove(gone[0])
        waiting.remove(gone)
        assert places.of(gone[0]) is None
    assert [places.of(key) for key in _order(waiting)] == list(range(1, len(waiting) + 1))
    assert len(places) == len(waiting)
