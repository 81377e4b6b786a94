"""What watchers of jobs are told: a snapshot, then everything that counts, in order."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

import pytest

from orchestrator.service.events import LINGER, RING, Event, EventHub, Watcher

T = TypeVar("T")


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(asyncio.wait_for(coroutine, 30))


def told(events: list[Event]) -> list[tuple[str, Any]]:
    return [(event.kind, event.data.get("n")) for event in events]


async def now(watcher: Watcher) -> list[Event]:
    """All that there is for a watcher at this moment."""
    found = []
    while (event := await watcher.next(0)) is not None:
        found.append(event)
    return found


async def rest(watcher: Watcher) -> list[Event]:
    return [event async for event in watcher]


@pytest.fixture
def hub() -> EventHub:
    return EventHub()


def grows(events: list[Event]) -> bool:
    ids = [event.id for event in events]
    return ids == sorted(set(ids))


def test_a_snapshot_comes_first_and_then_what_happens(hub: EventHub) -> None:
    async def case() -> list[tuple[str, Any]]:
        for n in range(3):
            hub.publish("j", "status", {"n": n})
            hub.publish("j", "progress", {"n": n})
            hub.publish("j", "preview", {"n": n})
        hub.publish("j", "log", {"n": 0})
        hub.publish("j", "output", {"n": 0})
        with hub.watch("j") as watcher:
            first = await now(watcher)
            hub.publish("j", "log", {"n": 1})
            hub.publish("j", "progress", {"n": 3})
            hub.publish("j", "output", {"n": 1})
            hub.publish("j", "status", {"n": 3}, final=True)
            second = await rest(watcher)
            assert grows(second)
            assert watcher.ended
            return told(first) + told(second)

    assert run(case()) == [
        ("status", 2),
        ("progress", 2),
        ("preview", 2),
        ("output", 0),
        # progress that came right before the last status has nothing to tell any more
        ("log", 1),
        ("output", 1),
        ("status", 3),
    ]


def test_progress_is_told_while_it_goes_on(hub: EventHub) -> None:
    async def case() -> list[tuple[str, Any]]:
        hub.publish("j", "status", {"n": 0})
        found = []
        with hub.watch("j") as watcher:
            found += await now(watcher)
            for n in range(3):
                hub.publish("j", "progress", {"n": n})
                hub.publish("j", "preview", {"n": n})
                found += await now(watcher)
        return told(found)

    every = [one for n in range(3) for one in (("progress", n), ("preview", n))]
    assert run(case()) == [("status", 0), *every]


def test_of_a_job_that_has_ended_the_outputs_come_and_then_its_status(hub: EventHub) -> None:
    hub.publish("j", "status", {"n": 0})
    hub.publish("j", "progress", {"n": 0})
    hub.publish("j", "output", {"n": 0})
    hub.publish("j", "log", {"n": 0})
    hub.publish("j", "status", {"n": 1}, final=True)

    async def case() -> list[Event]:
        with hub.watch("j") as watcher:
            return await rest(watcher)

    assert told(run(case())) == [("output", 0), ("status", 1)]


def test_nothing_comes_after_the_last_status(hub: EventHub) -> None:
    hub.publish("j", "status", {"n": 0}, final=True)
    for kind in ("status", "progress", "preview", "output", "log"):
        hub.publish("j", kind, {"n": 1})
    hub.publish("j", "status", {"n": 2}, final=True)

    async def case() -> list[Event]:
        with hub.watch("j") as watcher:
            found = await rest(watcher)
            assert await watcher.next(0) is None
            return found

    assert told(run(case())) == [("status", 0)]


def test_who_comes_back_gets_what_came_since(hub: EventHub) -> None:
    async def case() -> None:
        hub.publish("j", "status", {"n": 0})
        with hub.watch("j") as watcher:
            seen = await now(watcher)
        for n in range(5):
            hub.publish("j", "output", {"n": n})
            hub.publish("j", "progress", {"n": n})
        every = [("output", n) for n in range(5)]
        with hub.watch("j", after=seen[-1].id) as watcher:
            back = await now(watcher)
            assert told(back) == [*every, ("progress", 4)]
            assert grows(seen + back)
        for at, event in enumerate(back[:-1]):
            with hub.watch("j", after=event.id) as watcher:
                assert told(await now(watcher)) == told(back)[at + 1 :]
        hub.publish("j", "status", {"n": 1}, final=True)
        with hub.watch("j", after=back[2].id) as watcher:
            assert told(await rest(watcher)) == [*every[3:], ("status", 1)]

    run(case())


@pytest.mark.parametrize("kind", ["old", "zero", "negative", "future"])
def test_an_id_that_is_not_known_gives_a_snapshot(hub: EventHub, kind: str) -> None:
    hub.publish("other", "status", {"n": 0})
    hub.publish("j", "status", {"n": 7})
    hub.publish("j", "output", {"n": 8})
    after = {"old": 1_000, "zero": 0, "negative": -5, "future": 2**63}[kind]

    async def case() -> list[Event]:
        with hub.watch("j", after=after) as watcher:
            return await now(watcher)

    assert told(run(case())) == [("status", 7), ("output", 8)]


def test_ids_grow_over_restarts(hub: EventHub) -> None:
    async def last(of: EventHub) -> int:
        for n in range(1000):
            of.publish("j", "log", {"n": n})
        of.publish("j", "status", {})
        with of.watch("j") as watcher:
            return (await now(watcher))[-1].id

    before = run(last(hub))
    after = run(last(EventHub()))
    assert before < after < 2**53


def test_after_a_restart_the_database_tells_what_was(hub: EventHub) -> None:
    """Who comes back with an id of the run before misses no output, and no end."""
    before = EventHub()
    before.publish("j", "status", {"n": 0})

    async def id_before() -> int:
        with before.watch("j") as watcher:
            return (await now(watcher))[-1].id

    after = run(id_before())
    # published by the run before and lost with it; the database has it
    assert hub.seed("j", [("output", {"n": 1}), ("status", {"n": 2})])
    assert not hub.seed("j", [("status", {"n": 3})])

    async def case() -> list[Event]:
        with hub.watch("j", after=after) as watcher:
            found = await now(watcher)
            hub.publish("j", "status", {"n": 4}, final=True)
            return found + await rest(watcher)

    assert told(run(case())) == [("status", 2), ("output", 1), ("status", 4)]


def test_a_job_that_ended_long_ago_is_seeded_as_ended(hub: EventHub) -> None:
    assert hub.seed("j", [("output", {"n": 1}), ("status", {"n": 2})], final=True)

    async def case() -> list[Event]:
        with hub.watch("j") as watcher:
            return await rest(watcher)

    assert told(run(case())) == [("output", 1), ("status", 2)]


def test_who_watches_before_anything_is_known_is_told_by_a_seed(hub: EventHub) -> None:
    async def case() -> list[Event]:
        with hub.watch("j") as watcher:
            waiting = asyncio.create_task(watcher.next())
            await asyncio.sleep(0)
            assert hub.seed("j", [("status", {"n": 1})])
            return [event for event in [await waiting] if event]

    assert told(run(case())) == [("status", 1)]
    # nobody watched and nothing was known: nothing stays
    hub.watch("nobody knows").close()
    assert not hub.knows("nobody knows")


def test_a_slow_watcher_gets_every_output_and_the_end(hub: EventHub) -> None:
    """More than the ring holds, while it is busy with one event; and nobody waits for it."""
    count = 3 * RING

    async def case() -> list[Event]:
        hub.publish("j", "status", {"n": -1})
        with hub.watch("j") as watcher:
            found = [await watcher.next()]
            for n in range(count):
                hub.publish("j", "output", {"n": n})
                hub.publish("j", "log", {"n": n})
                hub.publish("j", "status", {"n": n})
                hub.publish("j", "progress", {"n": n})
                hub.publish("j", "preview", {"n": n})
            hub.publish("j", "status", {"n": count}, final=True)
            found += await rest(watcher)
            return [event for event in found if event]

    found = told(run(case()))
    assert found[0] == ("status", -1)
    assert found[-1] == ("status", count)
    assert [n for kind, n in found if kind == "output"] == list(range(count))


def test_a_slow_watcher_that_is_too_far_behind_gets_a_snapshot_again(hub: EventHub) -> None:
    async def case() -> list[Event]:
        hub.publish("j", "status", {"n": -1})
        with hub.watch("j") as watcher:
            found = [await watcher.next()]
            for n in range(10 * RING):
                hub.publish("j", "log", {"n": n})
            hub.publish("j", "status", {"n": 1})
            hub.publish("j", "progress", {"n": 2})
            found += await now(watcher)
            hub.publish("j", "log", {"n": "after"})
            found += await now(watcher)
            return [event for event in found if event]

    assert told(run(case())) == [("status", -1), ("status", 1), ("progress", 2), ("log", "after")]


def test_the_ring_keeps_outputs_and_little_else(hub: EventHub) -> None:
    for n in range(20 * RING):
        hub.publish("j", "log", {"n": n})
        if n % 100 == 0:
            hub.publish("j", "output", {"n": n})
    kept = hub._channels["j"].events
    assert len([one for one in kept if one.kind == "output"]) == 103
    assert len(kept) <= 2 * RING + 103


def test_events_come_from_any_thread(hub: EventHub) -> None:
    """Each watcher gets every output once and in order, however the threads interleave."""

    def work(name: int) -> None:
        for n in range(200):
            hub.publish("j", "output", {"n": (name, n)})
            hub.publish("j", "progress", {"n": (name, n)})

    async def watch() -> list[Event]:
        with hub.watch("j") as watcher:
            return await rest(watcher)

    async def case() -> list[list[Event]]:
        hub.publish("j", "status", {})
        watching = [asyncio.create_task(watch()) for _ in range(20)]
        await asyncio.sleep(0)
        threads = [threading.Thread(target=work, args=(name,)) for name in range(4)]
        for thread in threads:
            thread.start()
        await asyncio.to_thread(lambda: [thread.join() for thread in threads])
        hub.publish("j", "status", {}, final=True)
        return await asyncio.gather(*watching)

    for found in run(case()):
        assert grows(found)
        outputs = [event.data["n"] for event in found if event.kind == "output"]
        assert len(outputs) == 800
        for name in range(4):
            assert [n for who, n in outputs if who == name] == list(range(200))
        assert found[-1].kind == "status"


def test_watchers_in_several_loops(hub: EventHub) -> None:
    hub.publish("j", "status", {"n": 0})
    begun = threading.Barrier(3)
    found: list[list[Event]] = []

    def work() -> None:
        async def watch() -> None:
            with hub.watch("j") as watcher:
                events = [await watcher.next()]
                begun.wait()
                events += await rest(watcher)
                found.append([event for event in events if event])

        run(watch())

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    begun.wait()
    hub.publish("j", "output", {"n": 1})
    hub.publish("j", "status", {"n": 2}, final=True)
    for thread in threads:
        thread.join(30)
    assert [told(events) for events in found] == [[("status", 0), ("output", 1), ("status", 2)]] * 2


def test_a_loop_that_ended_holds_up_nobody(hub: EventHub) -> None:
    async def leave() -> None:
        watcher = hub.watch("j")
        task = asyncio.ensure_future(watcher.next())
        await asyncio.sleep(0)
        hub._channels["j"].waiting[asyncio.get_running_loop()] = {
            asyncio.get_running_loop().create_future(): None
        }
        task.cancel()

    run(leave())
    for n in range(3):
        hub.publish("j", "status", {"n": n})
    assert hub._woken == {}

    async def watch() -> Event | None:
        with hub.watch("j") as watcher:
            return await watcher.next(5)

    event = run(watch())
    assert event is not None
    assert event.data == {"n": 2}


def test_a_time_limit_passes_without_losing_anything(hub: EventHub) -> None:
    async def case() -> None:
        with hub.watch("j") as watcher:
            for _ in range(3):
                assert await watcher.next(0.01) is None
                assert not watcher.ended
            # who waits no longer is not kept
            assert hub._channels["j"].waiting == {asyncio.get_running_loop(): {}}
            hub.publish("j", "status", {"n": 1})
            event = await watcher.next(5)
            assert event is not None
            assert event.data == {"n": 1}

    run(case())


def test_a_task_that_is_cancelled_leaves_nothing(hub: EventHub) -> None:
    async def case() -> None:
        hub.publish("j", "status", {"n": 0})
        watcher = hub.watch("j")
        await watcher.next()
        task = asyncio.create_task(watcher.next())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert hub.watchers("j") == 1
        watcher.close()
        watcher.close()
        assert hub.watchers("j") == 0
        assert hub._channels["j"].waiting == {asyncio.get_running_loop(): {}}

    run(case())


def test_jobs_that_ended_leave_after_a_while() -> None:
    hub = EventHub(linger=0)
    for n in range(100):
        hub.publish(f"job {n}", "status", {"n": 0})
        hub.publish(f"job {n}", "status", {"n": 1}, final=True)
    assert len(hub) == 0
    # a late event does not bring one back
    hub.publish("job 5", "progress", {})
    hub.publish("job 5", "preview", {})
    assert len(hub) == 0


def test_a_job_that_ended_stays_for_those_who_come_back() -> None:
    assert LINGER >= 60
    hub = EventHub()
    hub.publish("j", "status", {"n": 1}, final=True)
    for n in range(2500):
        hub.publish(f"job {n}", "status", {"n": 1}, final=True)
    # and of a flood of quick jobs the latest
    assert len(hub) == 2000
    assert not hub.knows("j")
    assert hub.knows("job 2499")


def test_a_watcher_of_a_job_that_leaves_gets_its_end() -> None:
    hub = EventHub(linger=0)

    async def case() -> list[Event]:
        hub.publish("j", "status", {"n": 0})
        with hub.watch("j") as watcher:
            await watcher.next()
            hub.publish("j", "output", {"n": 1})
            hub.publish("j", "status", {"n": 2}, final=True)
            assert not hub.knows("j")
            return await rest(watcher)

    assert told(run(case())) == [("output", 1), ("status", 2)]


def test_no_data_begins_another_event() -> None:
    data = {"a\nid: 1": "x\r\n\r\nevent: status\rdata: y\u2028\u0000"}
    frame = Event(5, "log", data).frame
    assert frame.startswith(b"id: 5\nevent: log\ndata: ")
    assert frame.endswith(b"\n\n")
    assert frame.count(b"\n") == 4
    assert b"\r" not in frame
    assert json.loads(frame.split(b"data: ", 1)[1]) == data


def test_a_frame_is_made_once_for_all_watchers() -> None:
    event = Event(5, "log", {"x": 1})
    assert event.frame is event.frame
