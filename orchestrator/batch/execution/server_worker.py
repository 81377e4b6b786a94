"""One thread a server: sends the next job while the current one runs, collects, writes down.

The order inside is what keeps a server fed: as soon as a job has ended, the next but one is sent,
and only then its pictures are handed to the server's downloader, who brings them home beside us.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

from ...client.client import Client
from ...errors import (
    GraphError,
    JobError,
    JobLost,
    JobRefused,
    ResultWrong,
    ServerError,
    ServerFrozen,
    ServerLost,
    ServerStartFailed,
    ServerUnreachable,
    SpriteworksError,
    StoreUnreachable,
)
from ...protocol import Event, ExecutionStart, Graph, HistoryRecord, JobState, QueueState
from ...runs.submission import Submission
from ..logic.assignments import Assignment
from ..logic.messages import fault
from ..logic.pace import Pace
from ..logic.retry import FailureKind, classify
from .collecting import Collector
from .dispatcher import Dispatcher, Fate
from .downloader import Downloader, Judge, Load
from .fleet import FleetServer

# Looks for an attempt of an earlier run, and s between them: it may be on its way in, or on its way
# from the queue to the history.
_LOOKS, _BETWEEN = 3, 0.2
# Times that a server may be well, have a job of ours, and not tell what became of it.
_VISITS = 3
_STOPPED = "the run was stopped"
_CANCELLED = "a person cancelled it"


class Recipe(Judge, Protocol):
    """How jobs become graphs, and pictures are judged."""

    def check(self, client: Client) -> None:
        """Raise GraphError where a server lacks what the workflow needs."""

    def graph(self, assignment: Assignment, client: Client) -> Graph:
        """The graph to send, its input pictures uploaded."""

    def extra_data(self, graph: Graph) -> dict[str, Any]:
        """What its pictures shall carry besides the graph."""


@dataclass(kw_only=True)
class _Sent:
    """An attempt that is on the server, or may be."""

    assignment: Assignment
    # without its graph where it is one of an earlier run
    submission: Submission
    # s, monotonic
    since: float = field(default_factory=time.monotonic)
    started: bool = False
    # it ended well, and only its pictures are missing
    ran: bool = False
    # sent over the connection that stands, and not waited for yet: nothing can have been missed
    fresh: bool = False
    # whether the store was told that the server has it
    told: bool = False


class _Distrusted(Exception):
    """The server's pictures were wrong too often; the message says how."""


class _Leave(Exception):
    """The run ends, and what runs is not waited for."""


class _Dropped(Exception):
    """What is waited for is not wanted any more, or is another orchestrator's."""


class ServerWorker(threading.Thread):
    """Feeds one server until nothing is left to do."""

    def __init__(
        self,
        server: FleetServer,
        dispatcher: Dispatcher,
        recipe: Recipe,
        collector: Collector,
        *,
        adopted: Sequence[Assignment] = (),
        whose: str = "of an earlier run",
    ) -> None:
        """`adopted` are attempts that the server may have, and `whose` they were."""
        super().__init__(name=server.name, daemon=True)
        self.server = server
        self._dispatcher = dispatcher
        self._recipe = recipe
        self._held = [self._adopted(one) for one in adopted]
        self._unsorted = bool(adopted)
        self._whose = whose
        self._downloader = Downloader(server, dispatcher, recipe, collector)
        self._pace = Pace(server.care.patience)
        self._client: Client | None = None
        self._abandon = False
        self._retired = False
        # attempts given to others while the server was away, that it may still have
        self._abandoned: list[str] = []
        # s, monotonic, since which it is set aside
        self._away_since: float | None = None
        # the job that did not move on, and that has to go before the server is well again
        self._stuck = ""
        self._graphs = 0
        # times it was found well since one of its jobs came to an end
        self._visits = 0
        # whether it was found to have what the workflow needs
        self._fit = False
        # whether it had nothing to do since the last job that ended well
        self._paused = True
        self._queue: QueueState | None = None

    def abandon(self) -> None:
        """From any thread: wait no longer for a server that says nothing, as all is over."""
        self._abandon = True
        if self._client is not None:
            self._client.abort()
        self._downloader.abandon()

    def retire(self) -> None:
        """From any thread: take nothing more, and end when what the server has is done."""
        self._retired = True
        self._dispatcher.nudge()

    def run(self) -> None:
        """Serve until nothing is left; never raises."""
        self._downloader.start()
        try:
            self._work()
        except SpriteworksError as error:
            self._dispatcher.stop(error)
        except Exception as error:  # noqa: BLE001  (the last place before the thread ends)
            self._dispatcher.stop(fault(error, self.server.name))
        finally:
            self._downloader.finish()
            self._pass_on_the_rest()
            self._part()

    def _part(self) -> None:
        """Nothing more is to be done for the server."""
        self._dispatcher.leave(self.server.name)
        self.server.stop()

    def _pass_on_the_rest(self) -> None:
        """Let others make what could not be fetched at the very end; a stopped run leaves it."""
        self._take_returned()
        if not self._dispatcher.stopping:
            words = f"{self.server.name} did not bring what it made, and is given up"
            self._release(FailureKind.JOB_LOST, words)

    # ------------------------------------------------------------ the server's day

    def _work(self) -> None:
        delays = self.server.care.timeouts.delays()
        failed_starts = 0
        while (self._held or not self._is_over()) and not self._abandon:
            try:
                self.server.start()
                failed_starts = 0
                with self.server.connected() as client:
                    self._client = client
                    self._come_back(client)
                    delays = self.server.care.timeouts.delays()
                    self._serve(client)
            except _Leave:
                return
            except _Distrusted as error:
                self._give_up_server(ResultWrong(f"{error}; the others do its jobs"))
                return
            except GraphError as error:
                self._give_up_server(error)
                return
            except ServerError as error:
                failed_starts += isinstance(error, ServerStartFailed)
                if failed_starts >= self.server.care.starts:
                    self._give_up_server(error)
                    return
                self._set_aside(error)
                if not self._rest(next(delays)):
                    return

    def _serve(self, client: Client) -> None:
        while True:
            self._take_returned()
            if why := self._dispatcher.distrust_of(self.server.name):
                self._hand_on(client)
                raise _Distrusted(why)
            self._fill(client)
            worn = self._wear()
            if self._held:
                if worn and self._dispatcher.has_more():
                    self.server.prepare(client)
                self._collect(client)
            elif worn:
                # What it made goes with it; what could not be fetched is waited for once more.
                self._downloader.drain()
                self._take_returned()
                if not self._held:
                    if not self._is_over():
                        self._recycle(worn)
                    return
            elif self._is_over():
                return
            else:
                self._paused = True
                self._dispatcher.pause()

    def _is_over(self) -> bool:
        return self._retired or self._dispatcher.stopping or self._dispatcher.is_over()

    def _take_returned(self) -> None:
        """Wait again for jobs whose pictures could not be fetched: the server may be gone."""
        while not self._downloader.returned.empty():
            load = self._downloader.returned.get()
            sent = self._adopted(load.assignment, load.graph)
            sent.ran = True
            self._held.append(sent)

    def _fill(self, client: Client) -> None:
        while not (self._retired or self._wear()):
            assignment = self._dispatcher.take(self.server.name)
            if assignment is None:
                return
            self._send(client, assignment)

    def _wear(self) -> str:
        """Why the server is to be started anew before it gets more; "" where it is not."""
        return self.server.worn_out(self._graphs)

    def _recycle(self, why: str) -> None:
        self._graphs, self._paused = 0, True
        self._dispatcher.say(f"{self.server.name} is started anew: {why}", server=self.server.name)
        self.server.retire()

    # ------------------------------------------------------------------ one job

    def _send(self, client: Client, assignment: Assignment) -> None:
        if self._dispatcher.fate(assignment) is not Fate.GO_ON:
            self._dispatcher.give_back(assignment, _CANCELLED)
            return
        try:
            graph = self._recipe.graph(assignment, client)
            if assignment.degradation.free:
                client.free()
        except ServerError as error:
            self._dispatcher.failed(assignment, FailureKind.NOT_SENT, str(error))
            raise
        except StoreUnreachable as error:
            # What is to be sent is in the record, too.
            self._dispatcher.give_back(assignment, str(error))
            return
        except SpriteworksError as error:
            self._failed(assignment, classify(error), str(error))
            return
        extra, prompt_id = self._recipe.extra_data(graph), assignment.attempt.prompt_id
        submission = Submission(prompt_id, graph, extra_data=extra)
        sent = self._heard(_Sent(assignment=assignment, submission=submission, fresh=True))
        # From here on the server may have it, whatever happens.
        self._held.append(sent)
        try:
            submission.submit(client)
        except (JobRefused, ServerUnreachable) as error:
            # It was not let in, or nobody was there: others may have it at once.
            self._held.remove(sent)
            self._failed(assignment, classify(error), str(error))
            if isinstance(error, ServerUnreachable):
                raise
        self._graphs += 1

    def _collect(self, client: Client) -> None:
        sent = self._held[0]
        try:
            record = self._wait(client, sent)
            self._visits = 0
        except JobError as error:
            self._visits = 0
            self._held.remove(sent)
            self._paused = True
            self._failed(sent.assignment, self._kind(error, sent), str(error))
            return
        except _Dropped:
            self._visits = 0
            self._paused = True
            return
        seconds = time.monotonic() - sent.since
        self._held.remove(sent)
        self._dispatcher.ended(sent.assignment)
        try:
            # The next one runs by now; send the one after it before anything else.
            self._fill(client)
        finally:
            load = Load(
                assignment=sent.assignment,
                record=record,
                watch=sent.submission.watch,
                graph=sent.submission.graph,
                seconds=seconds,
                paused=self._paused,
                urgent=not (self._held and self._pace.is_brisk),
            )
            self._paused = False
            self._downloader.carry(load)

    def _wait(self, client: Client, sent: _Sent) -> HistoryRecord | None:
        """Wait until a job has ended well; None where that is known from the server's word."""
        self._pace.began(time.monotonic(), sent.assignment.jobs[0].model)
        self.server.blinks = 0
        self._queue = None

        begin = time.monotonic()
        fresh, sent.fresh = sent.fresh, False
        record: HistoryRecord | None

        def turn() -> None:
            self._turn(client, sent)

        if fresh:
            record = sent.submission.hear_out(client, on_turn=turn, gather=self._pace.gather)
        else:
            record = sent.submission.wait(client, on_turn=turn)
        self._pace.ended(time.monotonic() - begin)
        return record

    def _adopted(self, assignment: Assignment, graph: Graph | None = None) -> _Sent:
        """An attempt that the server has; one of an earlier run is known without its graph."""
        submission = Submission(assignment.attempt.prompt_id)
        submission.graph = graph
        return self._heard(_Sent(assignment=assignment, submission=submission))

    def _heard(self, sent: _Sent) -> _Sent:
        """The same, with all that is heard of it noted."""
        assignment = sent.assignment

        def on_event(event: Event) -> None:
            self._pace.sign(time.monotonic())
            begins = not sent.started and isinstance(event, ExecutionStart)
            sent.started = sent.started or begins
            self._dispatcher.heard(assignment, event, begins=begins)

        sent.submission.observers.append(on_event)
        return sent

    def _turn(self, client: Client, sent: _Sent) -> None:
        """Look up now and then while a job takes its time."""
        if self._dispatcher.hurried:
            self._take_back(client, self._held, _STOPPED)
            raise _Leave
        if self._dispatcher.stopping:
            self._take_back(client, [one for one in self._held if one is not sent], _STOPPED)
        if not sent.told:
            sent.told = self._dispatcher.submitted(sent.assignment)
        self._drop_unwanted(client)
        if sent not in self._held:
            raise _Dropped
        if self._pace.is_overdue(time.monotonic()):
            self._doubt(client, sent)

    def _drop_unwanted(self, client: Client | None) -> None:
        """Take from the server what a person cancelled, and leave what is another's to him.

        Without a client the server is away, and is told when it is back.
        """
        for sent in reversed(list(self._held)):
            fate = self._dispatcher.fate(sent.assignment)
            if fate is Fate.GO_ON:
                continue
            if fate is Fate.CALLED_OFF:
                prompt_id = sent.assignment.attempt.prompt_id
                if client is None:
                    self._abandoned.append(prompt_id)
                else:
                    client.cancel(prompt_id)
                self._dispatcher.give_back(sent.assignment, _CANCELLED)
                # The record may have kept us waiting, for which the others are not to blame.
                self._pace.sign(time.monotonic())
            self._held.remove(sent)

    def _doubt(self, client: Client, sent: _Sent) -> None:
        """Decide whether a server that says nothing is frozen or busy with others' jobs."""
        queue = client.queue()
        if not sent.started and queue != self._queue:
            self._queue = queue
            self._pace.sign(time.monotonic())
            return
        silence = self._pace.silence(time.monotonic())
        raise ServerFrozen(
            f"{self.server.name} answers, and {sent.assignment.label} has not moved on for "
            f"{silence:.0f} s (its jobs took at most {self._pace.bound:.0f} s so far)"
        )

    def _failed(self, assignment: Assignment, kind: FailureKind, error: str) -> None:
        self._dispatcher.failed(assignment, kind, error, possible=self._recipe.rungs(assignment))

    def _kind(self, error: JobError, sent: _Sent) -> FailureKind:
        """The first job in line that is lost after its server was away may have brought it down."""
        if isinstance(error, JobLost) and not sent.ran and self.server.blinks:
            return FailureKind.SERVER_LOST
        return classify(error)

    # ------------------------------------------------------------ away and back

    def _come_back(self, client: Client) -> None:
        """See that the server is well, and what became of the jobs that it had."""
        client.system_stats()
        if not self._fit:
            self._recipe.check(client)
            self._fit = True
        if self._stuck and self._stuck in client.queue().running:
            raise ServerFrozen(f"{self.server.name} still has not moved on")
        self._stuck = ""
        self._visits += 1
        # The last first: a server that loses what it runs begins the next one at once.
        for prompt_id in reversed(self._abandoned):
            client.cancel(prompt_id)
        self._abandoned.clear()
        if self._unsorted:
            self._sort_out(client)
        self._unsorted = False
        for sent in self._held:
            sent.fresh = False
        if self._away_since is not None:
            away = time.monotonic() - self._away_since
            words = f"{self.server.name} is back after {away:.0f} s"
            self._dispatcher.set_open(self.server.name, True, words)
        self._away_since = None

    def _sort_out(self, client: Client) -> None:
        """Tell the attempts of an earlier run that the server has from those that it has not."""
        lost = [sent for sent in self._held if not self._is_there(client, sent)]
        for sent in lost:
            self._held.remove(sent)
            self._dispatcher.failed(
                sent.assignment,
                FailureKind.NOT_SENT,
                f"it is {self._whose}, written down for this server, which does not have it",
            )
        for sent in self._held:
            self._dispatcher.say(
                f"{self.server.name} still has {sent.assignment.label} {self._whose}",
                server=self.server.name,
            )

    def _is_there(self, client: Client, sent: _Sent) -> bool:
        for look in range(_LOOKS):
            if look:
                time.sleep(_BETWEEN)
            if client.state(sent.assignment.attempt.prompt_id) is not JobState.UNKNOWN:
                return True
        return False

    def _set_aside(self, error: SpriteworksError) -> None:
        self._paused = True
        self._take_returned()
        if self._away_since is None:
            self._away_since = time.monotonic()
            words = f"{self.server.name} is set aside: {str(error).splitlines()[0]}"
            self._dispatcher.set_open(self.server.name, False, words)
        if isinstance(error, ServerFrozen):
            self._interrupt(error)
        elif self._held and self._visits >= _VISITS:
            label = self._held[0].assignment.label
            words = f"{self.server.name} answers, and does not tell what became of {label}: {error}"
            # All of them, or the next in line would come back to be waited for as long.
            self._release(FailureKind.RESULT_WRONG, words, all_guilty=True)
            self._visits = 0
        if self.server.is_ours and isinstance(error, ServerLost | ServerFrozen):
            # Its jobs go with it, and starting it anew is the surest cure.
            self._release(FailureKind.SERVER_LOST, str(error))
            self.server.retire()
            self._graphs = 0
            self._abandoned.clear()
            self._stuck = ""

    def _interrupt(self, error: ServerFrozen) -> None:
        """Interrupt what does not move, and let others have it."""
        if self._stuck or not self._held:
            return
        self._stuck = self._held[0].assignment.attempt.prompt_id
        with suppress(ServerError), self.server.connected() as client:
            client.cancel(self._stuck)
        self._release(FailureKind.FROZEN, str(error))

    def _rest(self, seconds: float) -> bool:
        """Leave a server alone; when that takes too long, others get its jobs.

        False where the run ends: what the server has, the next run will look for.
        """
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            if self._dispatcher.stopping:
                return False
            self._drop_unwanted(None)
            self._dispatcher.pause(left)
        self._take_returned()
        away = time.monotonic() - (self._away_since or until)
        if away > self.server.care.grace and self._dispatcher.others_open(self.server.name):
            self._release(
                FailureKind.SERVER_LOST, f"{self.server.name} has been away for {away:.0f} s"
            )
        return True

    def _release(self, kind: FailureKind, error: str, *, all_guilty: bool = False) -> None:
        """Let others have the jobs; only the first in line may be to blame, or all of them.

        Whether it ran cannot be asked: a server that dies at once takes the word of it along.
        """
        for sent in self._held:
            self._abandoned.append(sent.assignment.attempt.prompt_id)
            guilty = all_guilty or (sent is self._held[0] and not sent.ran)
            self._failed(sent.assignment, kind if guilty else FailureKind.JOB_LOST, error)
        self._held = []

    def _take_back(self, client: Client, those: Sequence[_Sent], why: str) -> None:
        """Take jobs from the server, to be sent again: by others, or by the next run."""
        # The last first: a server that loses what it runs begins the next one at once.
        for sent in reversed(list(those)):
            # Where that fails the attempt stays open, and the next run looks for it.
            with suppress(ServerError):
                client.cancel(sent.assignment.attempt.prompt_id)
                self._dispatcher.give_back(sent.assignment, why)
            self._held.remove(sent)

    def _hand_on(self, client: Client) -> None:
        """Let others have what the server was given, whether or not it lets go of it."""
        for sent in reversed(self._held):
            with suppress(ServerError):
                client.cancel(sent.assignment.attempt.prompt_id)
            self._dispatcher.give_back(sent.assignment, "its server is given up")
        self._held = []

    def _give_up_server(self, error: SpriteworksError) -> None:
        self._release(FailureKind.SERVER_LOST, str(error))
        words = f"{self.server.name} is given up: {error}"
        self._dispatcher.set_open(self.server.name, False, words)
        self._dispatcher.leave(self.server.name, error)
