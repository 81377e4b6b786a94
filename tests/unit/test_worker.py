"""One thread a server, on fakes that go away, freeze, forget and come back at named moments."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from orchestrator.batch.execution.collecting import IntoFolder, prepare_folder
from orchestrator.batch.execution.dispatcher import Dispatcher, DispatchSettings, Finished
from orchestrator.batch.execution.downloader import Judgement
from orchestrator.batch.execution.fleet import Care, FleetServer
from orchestrator.batch.execution.server_worker import ServerWorker
from orchestrator.batch.execution.store.store import Store
from orchestrator.batch.logic.assignments import Assignment
from orchestrator.batch.logic.gates import JudgedPicture
from orchestrator.batch.logic.jobs import Attempt, Job, Outcome, Shot, State
from orchestrator.batch.logic.pace import PaceBounds
from orchestrator.batch.logic.retry import Rung
from orchestrator.batch.logic.scheduler import Rules
from orchestrator.client.client import Client
from orchestrator.client.wire import Timeouts
from orchestrator.errors import ServerStartFailed
from orchestrator.protocol import Graph, new_prompt_id
from orchestrator.testing import FakeServer, Fault, Script, SocketMode

# s, for which what must come is waited for
LONG = 60.0
TIMEOUTS = Timeouts(
    connect=LONG,
    read=LONG,
    poll=0.05,
    lost_polls=3,
    lost_after=0.1,
    tries=1,
    delays=lambda: itertools.repeat(0.01),
)
OTHER = "http://other"


class Told:
    """Remembers what happened to servers; `wait` lets a test act at a named moment."""

    def __init__(self) -> None:
        self.opened: list[bool] = []
        self._changed = threading.Condition()

    def happened(self, kind: str, **details: Any) -> None:
        if kind == "server":
            with self._changed:
                self.opened.append(details["open"])
                self._changed.notify_all()

    def wait(self, *opened: bool) -> None:
        """Wait until the server has been set aside (False) and taken back (True) so."""
        with self._changed:
            came = self._changed.wait_for(lambda: self.opened[: len(opened)] == [*opened], LONG)
            assert came, self.opened


class Recipe:
    """Plain pictures, each of another colour; `before` is called before each is sent."""

    def __init__(self) -> None:
        self.before: Callable[[Assignment], None] = lambda assignment: None
        self.looking = threading.Event()
        # set: whoever looks at a picture waits until it is
        self.go: threading.Event | None = None

    def check(self, client: Client) -> None:
        """Content with any server."""

    def graph(self, assignment: Assignment, client: Client) -> Graph:
        self.before(assignment)
        size = {"width": 8, "height": 8, "batch_size": 1}
        color = assignment.jobs[0].seed
        return {
            "1": {"class_type": "EmptyImage", "inputs": {**size, "color": color}},
            "2": {
                "class_type": "SaveImage",
                "inputs": {"images": ["1", 0], "filename_prefix": "x"},
            },
        }

    def extra_data(self, graph: Graph) -> dict[str, Any]:
        return {}

    def rungs(self, assignment: Assignment) -> Sequence[Rung]:
        return ()

    def needs_pixels(self, job: Job) -> bool:
        return self.go is not None

    def judge(self, job: Job, picture: JudgedPicture) -> Judgement:
        self.looking.set()
        assert self.go is not None
        assert self.go.wait(LONG)
        return Judgement()


class Bench:
    """Jobs, one server, and its worker; OTHER is open, and takes nothing by itself."""

    def __init__(
        self,
        folder: Path,
        fake: FakeServer,
        count: int,
        *,
        server: FleetServer | None = None,
        others: bool = True,
        look_ahead: int = 1,
        endless: bool = False,
        **care: Any,
    ) -> None:
        self.folder, self.fake = folder, fake
        self.store = Store.open(folder)
        self.jobs = [planned(number) for number in range(count)]
        self.store.plan(self.jobs)
        prepare_folder(folder)
        self.told = Told()
        self.dispatcher = Dispatcher(
            self.store,
            self.told,
            DispatchSettings(rules=Rules(look_ahead=look_ahead), endless=endless),
        )
        self.server = server or FleetServer(fake.url, Care(**{"timeouts": TIMEOUTS, **care}))
        self.dispatcher.join(self.server.name)
        if others:
            self.dispatcher.join(OTHER)
        self.recipe = Recipe()

    @contextmanager
    def working(self, *adopted: Assignment) -> Iterator[ServerWorker]:
        """Let the worker work meanwhile; whatever happens, it ends."""
        collector = IntoFolder(self.folder)
        worker = ServerWorker(
            self.server, self.dispatcher, self.recipe, collector, adopted=list(adopted)
        )
        worker.start()
        try:
            yield worker
        except BaseException:
            self.fake.come_back()
            self.dispatcher.stop(hurry=True)
            raise
        finally:
            worker.join(LONG)
            assert not worker.is_alive()

    def pictures(self) -> set[str]:
        return {path.name for path in self.folder.glob("*.png")}

    def failures(self, number: int) -> list[str]:
        """How a job's attempts failed, oldest first; "" is one that did not."""
        return [one.failure for one in self.store.attempts_of(self.jobs[number].key)]

    def outcomes(self, number: int) -> list[Outcome | None]:
        return [one.outcome for one in self.store.attempts_of(self.jobs[number].key)]

    def finish_elsewhere(self) -> int:
        """Let the other server do at once what it gets; returns how many jobs are done in all."""
        while (assignment := self.dispatcher.take(OTHER)) is not None:
            self.done_elsewhere(assignment)
        return self.store.counts()[State.DONE]

    def done_elsewhere(self, assignment: Assignment) -> None:
        self.dispatcher.done(Finished(assignment=assignment, artifacts=[], seconds=1.0, spans=[]))


def planned(number: int) -> Job:
    key = f"{number:064}"
    return Job(key=key, name=f"n{number}", item_id="i", parameters={}, seed=number)


@pytest.fixture
def fake() -> Iterator[FakeServer]:
    with FakeServer() as server:
        yield server


def held_up(fake: FakeServer) -> threading.Event:
    """Let the first job wait before its first node until the event is set."""
    go = threading.Event()
    fake.script(Script(gates={"1": go}))
    return go


def both_sent(fake: FakeServer) -> None:
    """Wait until one job runs on the server and another one waits there."""
    fake.reached("1")
    fake.requested("POST", "/prompt", times=2)


def taken_back(fake: FakeServer) -> list[int]:
    """The jobs that were cancelled on the server, by their order of arrival, each once."""
    asked = [path.split("/")[2] for _, path in fake.requests if path.endswith("/cancel")]
    sent = [wanted.prompt_id for wanted in fake.submissions]
    return [sent.index(prompt_id) for prompt_id in dict.fromkeys(asked)]


# --------------------------------------------------------------------------- away and back


def test_a_server_that_is_gone_when_a_job_is_sent_is_set_aside(
    tmp_path: Path, fake: FakeServer
) -> None:
    bench = Bench(tmp_path, fake, 3, others=False)
    bench.recipe.before = lambda assignment: fake.die()
    with bench.working():
        bench.told.wait(False)
        bench.dispatcher.stop()
    assert [bench.outcomes(number) for number in range(3)] == [[Outcome.NEVER_SENT], [], []]
    assert bench.store.counts()[State.PENDING] == 3


def test_a_server_that_comes_back_in_time_keeps_its_jobs(tmp_path: Path, fake: FakeServer) -> None:
    go = held_up(fake)
    bench = Bench(tmp_path, fake, 3, grace=1e6)
    with bench.working():
        both_sent(fake)
        fake.go_away()
        bench.told.wait(False)
        fake.requested("GET", "/system_stats", times=4)
        bench.finish_elsewhere()
        go.set()
        fake.come_back()
        bench.told.wait(False, True)
    assert bench.pictures() == {"n0.png", "n1.png"}
    assert [bench.outcomes(number) for number in range(2)] == [[Outcome.DONE], [Outcome.DONE]]


def test_the_only_server_keeps_its_jobs_however_long_it_is_away(
    tmp_path: Path, fake: FakeServer
) -> None:
    go = held_up(fake)
    bench = Bench(tmp_path, fake, 2, others=False, grace=0.0)
    with bench.working():
        both_sent(fake)
        fake.go_away()
        bench.told.wait(False)
        fake.requested("GET", "/system_stats", times=4)
        go.set()
        fake.come_back()
    assert [bench.outcomes(number) for number in range(2)] == [[Outcome.DONE], [Outcome.DONE]]


def test_jobs_of_a_server_that_stays_away_go_to_others_and_only_the_first_is_to_blame(
    tmp_path: Path, fake: FakeServer
) -> None:
    go = held_up(fake)
    bench = Bench(tmp_path, fake, 3, grace=0.0)
    with bench.working():
        both_sent(fake)
        fake.go_away()
        bench.told.wait(False)
        waited_for(lambda: bench.store.open_attempts() == [])
        assert (bench.failures(0), bench.failures(1)) == (["server_lost"], ["job_lost"])
        # The run is not over yet: the other server is still at work.
        last = bench.dispatcher.take(OTHER)
        assert last is not None
        waited_for(lambda: bench.finish_elsewhere() == 2)
        fake.come_back()
        # What others have done by now, it shall not do as well.
        fake.requested("POST", "/jobs/", times=2)
        bench.done_elsewhere(last)
        go.set()
    assert sorted(taken_back(fake)) == [0, 1]
    assert len(fake.submissions) == 2
    assert bench.pictures() == set()


def test_a_job_that_ran_is_not_to_blame_for_the_death_after_it(
    tmp_path: Path, fake: FakeServer
) -> None:
    fake.break_next("GET", "/view", Fault.RESET_BEFORE, times=100_000)
    bench = Bench(tmp_path, fake, 1, grace=0.0)
    with bench.working():
        # Its picture cannot be fetched, and then the server is gone.
        fake.requested("GET", "/view")
        fake.go_away()
        waited_for(lambda: bench.failures(0) == ["job_lost"])
        waited_for(lambda: bench.finish_elsewhere() == 1)
        fake.come_back()


def test_a_job_that_a_server_forgets_while_it_answers_is_lost_and_no_death(
    tmp_path: Path, fake: FakeServer
) -> None:
    # It says nothing of the end of a job that it no longer knows.
    fake.sockets = SocketMode.SILENT
    held_up(fake)
    bench = Bench(tmp_path, fake, 1, others=False)
    with bench.working():
        fake.reached("1")
        fake.forget()
    assert bench.failures(0) == ["job_lost", ""]
    assert bench.pictures() == {"n0.png"}


# --------------------------------------------------------------------------- frozen


def test_a_server_whose_job_does_not_move_is_left_alone_until_it_does(
    tmp_path: Path, fake: FakeServer
) -> None:
    go = held_up(fake)
    patience = PaceBounds(first=1e6, least=1e6)
    bench = Bench(tmp_path, fake, 1, patience=patience)
    # It does not hear that it shall stop.
    fake.break_next("POST", "/jobs/", Fault.HTML, times=1000)
    with bench.working():
        fake.reached("1")
        object.__setattr__(patience, "first", 0.0)
        bench.told.wait(False)
        object.__setattr__(patience, "first", 1e6)
        before = sum(path == "/system_stats" for _, path in fake.requests)
        fake.requested("GET", "/system_stats", times=before + 3)
        assert bench.told.opened == [False]
        assert bench.failures(0) == ["frozen"]
        fake.come_back()
        go.set()
        bench.told.wait(False, True)
        waited_for(lambda: bench.finish_elsewhere() == 1)
    assert len(fake.submissions) == 1


# --------------------------------------------------------------------------- the end


def test_what_is_not_waited_for_is_taken_back_the_last_first(
    tmp_path: Path, fake: FakeServer
) -> None:
    """A server that loses what it runs begins the next one at once."""
    held_up(fake)
    bench = Bench(tmp_path, fake, 3)
    with bench.working():
        both_sent(fake)
        bench.dispatcher.stop(hurry=True)
    assert taken_back(fake) == [1, 0]
    assert len(fake.submissions) == 2
    assert [bench.outcomes(number) for number in range(2)] == [[Outcome.CANCELLED]] * 2
    assert bench.store.counts()[State.PENDING] == 3


def test_what_runs_is_waited_for_and_what_waits_is_taken_back(
    tmp_path: Path, fake: FakeServer
) -> None:
    go = held_up(fake)
    bench = Bench(tmp_path, fake, 3)
    with bench.working():
        both_sent(fake)
        bench.dispatcher.stop()
        fake.requested("POST", "/jobs/")
        go.set()
    assert bench.pictures() == {"n0.png"}
    assert bench.outcomes(1) == [Outcome.CANCELLED]
    assert bench.store.counts()[State.PENDING] == 2


# --------------------------------------------------------------------------- earlier runs


def earlier(bench: Bench, number: int, *, sent: bool) -> Assignment:
    """An attempt that an earlier run wrote down, and perhaps sent."""
    job = bench.jobs[number]
    attempt = Attempt(
        prompt_id=new_prompt_id(),
        server=bench.server.name,
        shots=(Shot(key=job.key, seed=job.seed),),
    )
    bench.store.claim(attempt)
    (found,) = [one for one in bench.store.open_attempts() if one.prompt_id == attempt.prompt_id]
    (assignment,) = bench.dispatcher.adopt([found])
    if sent:
        with Client(bench.fake.url) as client:
            client.submit(bench.recipe.graph(assignment, client), prompt_id=attempt.prompt_id)
            client.wait(attempt.prompt_id)
    return assignment


def test_what_an_earlier_run_has_sent_is_not_sent_again(tmp_path: Path, fake: FakeServer) -> None:
    bench = Bench(tmp_path, fake, 2)
    adopted = [earlier(bench, 0, sent=True), earlier(bench, 1, sent=False)]
    with bench.working(*adopted):
        # What it never got it does not get from here again while others may take it.
        waited_for(lambda: bench.outcomes(1) == [Outcome.NEVER_SENT])
        waited_for(lambda: bench.finish_elsewhere() == 2)
    assert bench.outcomes(0) == [Outcome.DONE]
    assert bench.pictures() == {"n0.png"}
    assert len(fake.submissions) == 1


def test_a_job_on_its_way_from_the_queue_to_the_history_is_not_taken_for_lost(
    tmp_path: Path, fake: FakeServer
) -> None:
    bench = Bench(tmp_path, fake, 1)
    adopted = earlier(bench, 0, sent=True)
    fake.break_next("GET", "/history", Fault.EMPTY)
    with bench.working(adopted):
        pass
    assert bench.outcomes(0) == [Outcome.DONE]
    assert len(fake.submissions) == 1


# --------------------------------------------------------------------------- servers of ours


class Ours(FleetServer):
    """A server that is started here: one of `starts` is taken for each start."""

    is_ours = True

    def __init__(self, fake: FakeServer, starts: Sequence[bool], care: Care) -> None:
        super().__init__(fake.url, care)
        self.starts = list(starts)
        self.started = 0
        self.graphs = 0
        self.stopped: Callable[[], None] = lambda: None
        # times that the next process was wanted beside this one
        self.prepared = 0
        self._runs = False

    def start(self) -> None:
        if self._runs:
            return
        self.started += 1
        if not self.starts.pop(0):
            raise ServerStartFailed("it does not start")
        self._runs = True

    def stop(self) -> None:
        self._runs = False
        self.stopped()

    def prepare(self, client: Client) -> None:
        self.prepared += 1

    def worn_out(self, graphs: int) -> str:
        return "it is worn out" if self.graphs and graphs >= self.graphs else ""


@pytest.mark.parametrize("starts", [1, 3])
def test_a_server_that_does_not_start_is_given_up_after_so_many_tries(
    tmp_path: Path, fake: FakeServer, starts: int
) -> None:
    server = Ours(fake, [False] * 9, Care(timeouts=TIMEOUTS, starts=starts))
    bench = Bench(tmp_path, fake, 1, server=server)
    with bench.working():
        pass
    assert server.started == starts
    assert isinstance(bench.dispatcher.last_error, ServerStartFailed)
    assert bench.store.counts()[State.PENDING] == 1


def test_failed_starts_count_only_in_a_row(tmp_path: Path, fake: FakeServer) -> None:
    server = Ours(fake, [False, True, False, True, False, True], Care(timeouts=TIMEOUTS, starts=2))
    server.graphs = 1
    bench = Bench(tmp_path, fake, 3, server=server, others=False, look_ahead=0)
    with bench.working():
        pass
    assert bench.pictures() == {"n0.png", "n1.png", "n2.png"}
    assert server.started == 6


def test_a_server_is_started_anew_only_when_its_pictures_are_home(
    tmp_path: Path, fake: FakeServer
) -> None:
    server = Ours(fake, [True] * 9, Care(timeouts=TIMEOUTS))
    server.graphs = 1
    bench = Bench(tmp_path, fake, 2, server=server, others=False, look_ahead=0)
    bench.recipe.go = threading.Event()
    home: list[int] = []
    stopped = threading.Event()

    def note() -> None:
        home.append(len(bench.pictures()))
        stopped.set()

    server.stopped = note
    with bench.working():
        assert bench.recipe.looking.wait(LONG)
        assert not stopped.wait(0.2)
        bench.recipe.go.set()
    assert home[:2] == [1, 2]


def test_a_server_gets_not_one_graph_more_than_it_may_run(tmp_path: Path, fake: FakeServer) -> None:
    server = Ours(fake, [True] * 9, Care(timeouts=TIMEOUTS))
    server.graphs = 1
    bench = Bench(tmp_path, fake, 3, server=server, others=False)
    with bench.working():
        pass
    assert server.started == 3
    # The last one is followed by none, as nothing waits.
    assert server.prepared == 2


# --------------------------------------------------------------------------- not wanted any more


def test_a_running_job_that_is_cancelled_is_taken_from_its_server(
    tmp_path: Path, fake: FakeServer
) -> None:
    held_up(fake)
    bench = Bench(tmp_path, fake, 3, others=False)
    with bench.working():
        both_sent(fake)
        bench.dispatcher.cancel(bench.jobs[0].key)
        # The script's event is never set: only the cancellation lets the server go on.
        waited_for(lambda: bench.store.counts()[State.DONE] == 2)
    assert taken_back(fake) == [0]
    states = [entry.state for entry in bench.store.entries()]
    assert states == [State.CANCELLED, State.DONE, State.DONE]
    assert bench.outcomes(0) == [Outcome.CANCELLED]
    assert bench.pictures() == {"n1.png", "n2.png"}


def test_a_job_that_waits_on_its_server_is_taken_from_there_alone(
    tmp_path: Path, fake: FakeServer
) -> None:
    go = held_up(fake)
    bench = Bench(tmp_path, fake, 2, others=False)
    with bench.working():
        both_sent(fake)
        # As from another process, which only the store is told.
        bench.store.cancel([bench.jobs[1].key])
        bench.dispatcher.look_for_cancelled()
        waited_for(lambda: bench.store.counts()[State.CANCELLED] == 1)
        go.set()
    assert taken_back(fake) == [1]
    assert [entry.state for entry in bench.store.entries()] == [State.DONE, State.CANCELLED]


def test_a_job_of_a_server_that_is_away_is_cancelled_at_once_and_there_when_it_is_back(
    tmp_path: Path, fake: FakeServer
) -> None:
    held_up(fake)
    bench = Bench(tmp_path, fake, 1, others=False)
    with bench.working():
        fake.reached("1")
        fake.go_away()
        bench.told.wait(False)
        bench.dispatcher.cancel(bench.jobs[0].key)
        waited_for(lambda: bench.store.counts()[State.CANCELLED] == 1)
        fake.come_back()


def test_what_another_orchestrator_took_over_is_left_on_the_server(
    tmp_path: Path, fake: FakeServer
) -> None:
    go = held_up(fake)
    bench = Bench(tmp_path, fake, 1, others=False)
    with bench.working():
        fake.reached("1")
        with Store.open(tmp_path) as other:
            assert len(other.take_over("another", 30.0)) == 1
        # The worker finds out when it says that the job was submitted, or brings it home.
        go.set()
        waited_for(lambda: bench.dispatcher.is_over() or not bench.dispatcher._open)
    assert taken_back(fake) == []
    (attempt,) = bench.store.attempts_of(bench.jobs[0].key)
    assert (attempt.owner, attempt.outcome) == ("another", None)
    assert bench.store.artifacts(bench.jobs[0].key) == []


def test_an_endless_worker_waits_for_jobs_and_a_retired_one_ends(
    tmp_path: Path, fake: FakeServer
) -> None:
    bench = Bench(tmp_path, fake, 1, others=False, endless=True)
    with bench.working() as worker:
        waited_for(lambda: bench.store.counts()[State.DONE] == 1)
        bench.store.add([planned(7)])
        bench.dispatcher.arrived()
        waited_for(lambda: bench.store.counts()[State.DONE] == 2)
        assert worker.is_alive()
        go = held_up(fake)
        bench.store.add([planned(8), planned(9), planned(10)])
        bench.dispatcher.arrived()
        fake.requested("POST", "/prompt", times=4)
        worker.retire()
        go.set()
    # What the server had it has made, and nothing more.
    counts = bench.store.counts()
    assert (counts[State.DONE], counts[State.PENDING]) == (4, 1)
    assert not bench.dispatcher.has_servers()


def waited_for(condition: Callable[[], bool]) -> None:
    """Look until something is so that tells nobody when it comes to be."""
    for _ in range(int(LONG / 0.02)):
        if condition():
            return
        threading.Event().wait(0.02)
    raise AssertionError("it never came to be")
