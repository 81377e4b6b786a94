"""One test for each of the first ten pitfalls of ComfyUI's protocol (docs/protocol.md)."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from orchestrator.client.client import Client
from orchestrator.client.wire import Timeouts
from orchestrator.errors import JobInterrupted, JobLost, ResultMissing
from orchestrator.protocol import (
    Event,
    Executing,
    ExecutionStart,
    ExecutionSuccess,
    Graph,
    JobState,
    NodeProgress,
    Preview,
    ProgressState,
    StepProgress,
    files_of,
    is_prompt_id,
    new_prompt_id,
)
from orchestrator.testing import RECORD, FakeServer, Fault, Script, SocketMode

FAST = Timeouts(
    poll=0.05,
    lost_polls=4,
    lost_after=1.0,
    connect=2.0,
    read=5.0,
    delays=lambda: itertools.repeat(0.01),
)


def trivial(color: int = 0) -> Graph:
    return {
        "1": {
            "class_type": "EmptyImage",
            "inputs": {"width": 8, "height": 8, "batch_size": 1, "color": color},
        },
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "t"}},
    }


@pytest.fixture
def fake() -> Iterator[FakeServer]:
    with FakeServer() as server:
        yield server


@pytest.fixture
def client(fake: FakeServer) -> Iterator[Client]:
    with Client(fake.url, timeouts=FAST) as opened:
        yield opened


@pytest.fixture
def in_background() -> Iterator[Callable[..., Any]]:
    with ThreadPoolExecutor(max_workers=1) as pool:
        yield pool.submit


def heard(events: list[Event], kind: type) -> bool:
    return any(isinstance(event, kind) for event in events)


def test_pitfall_01_success_is_announced_before_the_record_exists(
    fake: FakeServer, client: Client, in_background: Callable[..., Any]
) -> None:
    record_may_come = threading.Event()
    fake.script(Script(gates={RECORD: record_may_come}))
    announced = threading.Event()

    def note(event: Event) -> None:
        if isinstance(event, ExecutionSuccess):
            announced.set()

    job = client.submit(trivial())
    waiting = in_background(client.wait, job.prompt_id, on_event=note)
    assert announced.wait(60)
    assert job.prompt_id not in fake.history
    assert not waiting.done()
    record_may_come.set()
    assert files_of(waiting.result(60).outputs)


def test_pitfall_01_an_empty_history_after_success_is_looked_at_again(
    fake: FakeServer, client: Client
) -> None:
    fake.break_next("GET", "/history", Fault.EMPTY, times=3)
    record = client.wait(client.submit(trivial()).prompt_id)
    assert record.state is JobState.SUCCEEDED


def test_pitfall_02_a_cut_socket_comes_back_under_a_new_client_id(
    fake: FakeServer, client: Client, in_background: Callable[..., Any]
) -> None:
    go = threading.Event()
    fake.script(Script(gates={"2": go}))
    job = client.submit(trivial())
    first = client.client_id
    waiting = in_background(client.wait, job.prompt_id)
    fake.reached("2")
    fake.cut_sockets()
    fake.socket_came(2)
    go.set()
    # Its events go to the old id; the queue's change and polling bring the end.
    assert waiting.result(60).state is JobState.SUCCEEDED
    assert client.client_id != first


@pytest.mark.parametrize("mode", [SocketMode.SILENT, SocketMode.REFUSE])
def test_pitfall_02_a_silent_or_refused_socket_does_not_matter(
    fake: FakeServer, client: Client, in_background: Callable[..., Any], mode: SocketMode
) -> None:
    fake.sockets = mode
    go = threading.Event()
    fake.script(Script(gates={"2": go}))
    events: list[Event] = []
    job = client.submit(trivial())
    waiting = in_background(client.wait, job.prompt_id, on_event=events.append)
    fake.requested("GET", "/history", times=3)
    go.set()
    assert waiting.result(60).state is JobState.SUCCEEDED
    # The queue told that it ran; nothing else did.
    assert events == [ExecutionStart(prompt_id=job.prompt_id)]


def test_pitfall_03_events_of_other_jobs_are_not_taken_for_ours(
    fake: FakeServer, client: Client, in_background: Callable[..., Any]
) -> None:
    go = threading.Event()
    fake.script(Script(gates={"2": go}))
    events: list[Event] = []
    started = threading.Event()

    def note(event: Event) -> None:
        events.append(event)
        if isinstance(event, StepProgress):
            started.set()

    job = client.submit(trivial())
    waiting = in_background(client.wait, job.prompt_id, on_event=note)
    fake.reached("2")
    assert started.wait(60)
    other = "00000000-0000-0000-0000-000000000000"
    fake.say(ExecutionStart(prompt_id=other))
    fake.say(StepProgress(prompt_id=other, node="2", value=7, max=9))
    state = NodeProgress(node_id="2", state="running")
    fake.say(ProgressState(prompt_id=other, nodes=(state,)))
    # Broadcast without an id while the other job runs: a preview of that one.
    fake.say(Preview(format="png", image=b"theirs"))
    fake.say(ExecutionSuccess(prompt_id=other))
    fake.say(Executing(prompt_id=other, node=None))
    go.set()
    waiting.result(60)
    assert not heard(events, Preview)
    assert {getattr(event, "prompt_id", None) for event in events} == {job.prompt_id}


def test_pitfall_03_the_job_carries_our_client_id(fake: FakeServer, client: Client) -> None:
    client.wait(client.submit(trivial()).prompt_id)
    assert fake.submissions[0].client_id == client.client_id


def test_pitfall_04_an_empty_history_is_read_together_with_the_queue(
    fake: FakeServer, client: Client
) -> None:
    go = threading.Event()
    fake.script(Script(gates={"1": go}))
    running, pending = client.submit(trivial(1)), client.submit(trivial(2))
    fake.reached("1")
    assert client.state(running.prompt_id) is JobState.RUNNING
    assert client.state(pending.prompt_id) is JobState.PENDING
    assert client.state("00000000-0000-0000-0000-000000000000") is JobState.UNKNOWN
    go.set()
    client.wait(pending.prompt_id)
    assert client.state(running.prompt_id) is JobState.SUCCEEDED


def test_pitfall_04_a_job_that_a_restart_forgot_is_lost(
    fake: FakeServer, client: Client, in_background: Callable[..., Any]
) -> None:
    fake.script(Script(gates={"2": threading.Event()}))
    job = client.submit(trivial())
    waiting = in_background(client.wait, job.prompt_id)
    fake.reached("2")
    fake.forget()
    with pytest.raises(JobLost, match="neither in the queue nor in the history"):
        waiting.result(60)


def test_pitfall_05_branches_that_were_dropped_are_told(fake: FakeServer, client: Client) -> None:
    graph = trivial()
    graph["3"] = {"class_type": "EmptyImage", "inputs": {"width": 0, "height": 8, "batch_size": 1}}
    graph["4"] = {
        "class_type": "SaveImage",
        "inputs": {"images": ["3", 0], "filename_prefix": "u"},
    }
    accepted = client.submit(graph)
    assert {problem.node_id for problem in accepted.problems} == {"3"}
    assert "value_smaller_than_min" in {problem.type for problem in accepted.problems}


@pytest.mark.parametrize("fault", [Fault.RESET_AFTER, Fault.TRUNCATED])
def test_pitfall_06_a_job_that_arrived_is_not_posted_again(
    fake: FakeServer, client: Client, fault: Fault
) -> None:
    fake.break_next("POST", "/prompt", fault)
    job = client.submit(trivial())
    client.wait(job.prompt_id)
    assert [one.prompt_id for one in fake.submissions] == [job.prompt_id]
    assert is_prompt_id(job.prompt_id)


@pytest.mark.parametrize("fault", [Fault.RESET_BEFORE, Fault.ERROR_500])
def test_pitfall_06_a_job_that_did_not_arrive_is_posted_again_under_its_id(
    fake: FakeServer, client: Client, fault: Fault
) -> None:
    fake.break_next("POST", "/prompt", fault, times=2)
    job = client.submit(trivial(), prompt_id="0123abcd-0123-4abc-8abc-0123456789ab")
    client.wait(job.prompt_id)
    assert [one.prompt_id for one in fake.submissions] == [job.prompt_id]
    posts = [request for request in fake.requests if request == ("POST", "/prompt")]
    assert len(posts) == 3


def test_pitfall_07_the_server_numbers_the_jobs_so_that_they_run_in_order(
    fake: FakeServer, client: Client
) -> None:
    go = threading.Event()
    fake.script(Script(gates={"1": go}))
    client.submit(trivial(0))
    fake.reached("1")
    # Ids that sort the other way round than the order of submission.
    ids = [f"{digit}0000000-0000-4000-8000-000000000000" for digit in "fa3"]
    for color, prompt_id in enumerate(ids, start=1):
        client.submit(trivial(color), prompt_id=prompt_id)
    assert list(client.queue().pending) == ids
    assert {one.number for one in fake.submissions} == {None}
    go.set()


def test_pitfall_08_execution_blocked_is_not_the_end(fake: FakeServer, client: Client) -> None:
    fake.script(Script(blocked_in="1"))
    record = client.wait(client.submit(trivial()).prompt_id)
    assert record.state is JobState.SUCCEEDED
    assert record.message("execution_error") is not None


def test_pitfall_09_interrupted_is_told_from_failed(fake: FakeServer, client: Client) -> None:
    fake.script(Script(interrupted_in="2"))
    job = client.submit(trivial())
    with pytest.raises(JobInterrupted):
        client.wait(job.prompt_id)


@pytest.mark.parametrize("has_jobs", [True, False])
def test_pitfall_09_only_our_own_job_is_interrupted(
    has_jobs: bool, fake: FakeServer, client: Client
) -> None:
    fake.has_jobs = has_jobs
    go = threading.Event()
    fake.script(Script(gates={"2": go}))
    theirs, ours = client.submit(trivial(1)), client.submit(trivial(2))
    fake.reached("2")
    client.cancel(ours.prompt_id)
    assert ("POST", "/interrupt") not in fake.requests
    go.set()
    assert client.wait(theirs.prompt_id).state is JobState.SUCCEEDED
    # A deleted job leaves no history.
    assert client.state(ours.prompt_id) is JobState.UNKNOWN


@pytest.mark.parametrize("has_jobs", [True, False])
def test_pitfall_09_a_running_job_is_cancelled_by_its_id(
    has_jobs: bool, fake: FakeServer, client: Client
) -> None:
    fake.has_jobs = has_jobs
    fake.script(Script(gates={"2": threading.Event()}))
    job = client.submit(trivial())
    fake.reached("2")
    client.cancel(job.prompt_id)
    with pytest.raises(JobInterrupted):
        client.wait(job.prompt_id)


def test_pitfall_09_what_could_be_cancelled_is_cancelled_once_more(
    fake: FakeServer, client: Client
) -> None:
    """ComfyUI forgets a word that came between the queue and the beginning of the run."""
    fake.script(Script(gates={"2": threading.Event()}))
    running, waiting = client.submit(trivial(1)), client.submit(trivial(2))
    fake.reached("2")
    fake.requests.clear()
    client.cancel(waiting.prompt_id)
    client.cancel(running.prompt_id)
    paths = [f"/jobs/{job.prompt_id}/cancel" for job in (waiting, running)]
    assert [fake.requests.count(("POST", path)) for path in paths] == [2, 2]
    assert {path for _, path in fake.requests} == set(paths), "nothing was asked for but this"


def test_pitfall_09_a_server_without_the_route_is_asked_for_it_once(
    fake: FakeServer, client: Client
) -> None:
    fake.has_jobs = False
    for _ in range(2):
        client.cancel(new_prompt_id())
    assert sum(path.startswith("/jobs") for _, path in fake.requests) == 1
    assert ("POST", "/interrupt") not in fake.requests


def test_pitfall_10_a_cached_output_may_be_null_and_its_file_gone(
    fake: FakeServer, client: Client
) -> None:
    fake.cached_output_is_null = True
    first = client.wait(client.submit(trivial()).prompt_id)
    again = client.wait(client.submit(trivial()).prompt_id)
    cached = again.message("execution_cached")
    assert cached is not None
    assert set(cached["nodes"]) == {"1", "2"}
    assert files_of(first.outputs) == files_of(again.outputs)
    ((_, file),) = files_of(again.outputs)
    fake.files.clear()
    with pytest.raises(ResultMissing, match="change the seed"):
        client.content(file)
