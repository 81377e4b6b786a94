"""Where workers meet: hands out jobs, writes down what becomes of them, knows when all is over.

Every public method may be called from any thread. What a method changes is in the store before it
returns; what is kept here only saves asking the store again.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from enum import Enum
from typing import TypeVar

from ...errors import (
    LeaseLost,
    OutputError,
    SpriteworksError,
    StoreError,
    StoreUnreachable,
)
from ...protocol import Event
from ..logic.assignments import Assignment, unpacked
from ..logic.dispatch_settings import DispatchSettings as DispatchSettings
from ..logic.jobs import Attempt, Job, State, counted
from ..logic.messages import BatchObserver
from ..logic.notes import Notes
from ..logic.retry import Decision, FailureKind, Rung, Step
from ..logic.scheduler import due
from ..logic.server_states import ServerCounts, ServerStates
from .claims import PULSE, Claims
from .endings import Endings, Move, Written
from .endings import Finished as Finished
from .outages import Outages
from .run_log import RunLog
from .store.store import Store

# what observers are told of a job whose server has begun with it
RUNNING = "running"


T = TypeVar("T")


class Fate(Enum):
    """What is to become of an attempt that has not ended."""

    GO_ON = "go on"
    # a person does not want it any more
    CALLED_OFF = "called off"
    # another orchestrator took it over, and decides
    LOST = "lost"


class Dispatcher:
    """The jobs of a batch or a service on their way through the servers.

    Observers are told of every change: "state" (key, state, server, reason), where state is a
    `State`'s value or "running", once the server has begun; "progress" (server, key, event) with
    all that a server says of a job.
    """

    def __init__(
        self,
        store: Store,
        observer: BatchObserver,
        settings: DispatchSettings | None = None,
        *,
        can_batch: Callable[[Job], bool] = lambda job: False,
        fits: Callable[[Job, str], bool] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`fits` says whether a server can run a job, without asking it; None: any can any."""
        self.store = store
        self.settings = settings or DispatchSettings()
        # why the run ends before everything is done; None while it goes on
        self.stop_error: SpriteworksError | None = None
        # why the last server was given up
        self.last_error: SpriteworksError | None = None
        self._clock = clock
        self._changed = threading.Condition(threading.RLock())
        self.outages = Outages(
            lambda text, warning: self.tell(text, warning=warning),
            self._rest,
            lambda: self._stopping,
        )
        self._log = RunLog(store, observer, self.outages, lambda: self._is_away)
        self._counts = dict.fromkeys(State, 0)
        self._servers = ServerStates(self.settings.limits.wrong_in_a_row)
        self._notes = Notes()
        self._claims = Claims(
            store,
            self.settings,
            self._servers,
            self._notes,
            can_batch=can_batch,
            fits=fits,
            clock=clock,
        )
        self._queue = self._claims.queue
        self._endings = Endings(store, self.settings.owner, self.settings.limits)
        # attempts whose end is being written down, by id
        self._ending: set[int] = set()
        # attempts whose outcome is not known yet, by prompt_id
        self._open: dict[str, Assignment] = {}
        # keys of jobs of theirs that a person wants no longer
        self._called_off: set[str] = set()
        # when all of them were held for a lease, by the clocks of `moments`
        self._renewed = moments()
        # those of them that their server is done with
        self._fetching: set[str] = set()
        self._stopping = False
        self._hurried = False

    # ---------------------------------------------------------------- servers

    @property
    def server_counts(self) -> Mapping[str, ServerCounts]:
        """What each server did in this run, those that have left it, too."""
        return self._servers.counts

    def join(self, server: str, *, is_open: bool = True) -> None:
        """A server belongs to the fleet from now on; also in the middle, and once more."""
        with self._changed:
            self._servers.join(server, is_open)
            self._sort_anew()

    def leave(self, server: str, error: SpriteworksError | None = None) -> None:
        """A server will not come back in this run, and why."""
        with self._changed:
            self.last_error = error or self.last_error
            self._servers.leave(server)
            self._sort_anew()

    def set_open(self, server: str, is_open: bool, words: str) -> None:
        """Set a server aside, or take it back."""
        with self._changed:
            if not self._servers.set_open(server, is_open, words):
                return
            self.say(words, server=server, warning=not is_open)
            self._log.observer.happened("server", server=server, open=is_open, words=words)
            self._changed.notify_all()

    def others_open(self, server: str) -> bool:
        """Say whether another server could take a job of this one."""
        with self._changed:
            return self._servers.others_open(server)

    def distrust_of(self, server: str) -> str:
        """Why a server gets no more jobs in this run, in words; "" where it does."""
        with self._changed:
            return self._servers.distrust_of(server)

    def sort_anew(self) -> None:
        """What `fits` says has changed."""
        with self._changed:
            self._sort_anew()

    def has_servers(self) -> bool:
        """Say whether any server is left, open or set aside."""
        with self._changed:
            return bool(self._servers.states)

    # ------------------------------------------------------------------- jobs

    def adopt(self, attempts: Iterable[Attempt]) -> list[Assignment]:
        """Take over attempts that were left open; their jobs are on their servers.

        Those need not be of the fleet.
        """
        with self._changed:
            found = [self._adopted(attempt) for attempt in attempts]
            self._open.update((one.attempt.prompt_id, one) for one in found)
            return found

    def take_over(self, *, all: bool = False, dead: Collection[str] = ()) -> list[Assignment]:
        """Adopt what others had and let run out, and what the record says is ours and we forgot.

        `all` and `dead` as in `Store.take_over`. Raises StoreUnreachable.
        """
        owner, lease = self.settings.owner, self.settings.lease
        with self._changed:
            if self._stopping:
                return []
            known = [one.attempt.id for one in self._open.values()]
            return self.adopt(self.store.take_over(owner, lease, all=all, dead=dead, held=known))

    def recall(self, rungs: Callable[[Assignment], Sequence[Rung]]) -> None:
        """Remember what earlier runs learnt of jobs that failed and wait: how to make them easier.

        `rungs` says what could be made easier about an assignment.
        """
        with self._changed:
            since = self.store.retried_after()
            # The latest attempt of a job is what counts.
            latest = {
                shot.key: attempt
                for attempt in self.store.failed_attempts(since)
                for shot in attempt.shots
            }
            for key, attempt in latest.items():
                self._recall(key, attempt, rungs)

    def take(self, server: str) -> Assignment | None:
        """The next jobs for a server, written down for it; None where it gets none now."""
        with self._changed:
            if self._stopping or self._is_away or not self._servers.takes_jobs(server):
                return None
            try:
                assignment = self._claims.next(server)
            except StoreUnreachable as error:
                # A claim whose answer was lost is found by `take_over`.
                self.outages.began(error)
                return None
            if assignment is not None:
                self._open[assignment.attempt.prompt_id] = assignment
                self._log.moved(
                    [(job.key, State.CLAIMED.value, "") for job in assignment.jobs], server
                )
            return assignment

    def arrived(self) -> None:
        """There are new jobs in the store."""
        with self._changed:
            self._queue.arrived()
            self._changed.notify_all()

    def cancel(self, key: str) -> State:
        """Give a job up; returns its state then, which is a running one until its server let go.

        Raises StoreError where there is no such job.
        """
        before = self.store.entry(key).state
        found = self.store.cancel([key])[key]
        with self._changed:
            self._queue.remove([key])
            if found.is_running:
                self._heed([key])
            elif before is State.PENDING and found is State.CANCELLED:
                self._log.moved([(key, found.value, self.store.entry(key).reason)])
        return found

    def fate(self, assignment: Assignment) -> Fate:
        """Say whether an attempt shall go on; costs nothing, so it may be asked often."""
        with self._changed:
            if assignment.attempt.prompt_id not in self._open:
                return Fate.LOST
            if all(job.key in self._called_off for job in assignment.jobs):
                return Fate.CALLED_OFF
            return Fate.GO_ON

    def heard(self, assignment: Assignment, event: Event, *, begins: bool = False) -> None:
        """A server said something of an attempt; `begins` where it is the first sign of its run."""
        server, keys = assignment.attempt.server, [job.key for job in assignment.jobs]
        if begins:
            self._log.moved([(key, RUNNING, "") for key in keys], server)
        self._log.observer.happened("progress", server=server, key=keys[0], event=event)

    def submitted(self, assignment: Assignment) -> bool:
        """The server has had an attempt for a while; may be said again after a break.

        False where that could not be written down for now.
        """
        attempt = assignment.attempt
        if self._is_away:
            return False
        try:
            is_new = self.store.mark_submitted(attempt.id, owner=self.settings.owner)
        except StoreUnreachable as error:
            self.outages.began(error)
            return False
        except LeaseLost as error:
            self._lose([assignment], str(error))
            return True
        if is_new:
            submitted = State.SUBMITTED.value
            moves = [(job.key, submitted, "") for job in assignment.jobs]
            self._log.moved(moves, attempt.server)
        return True

    def ended(self, assignment: Assignment) -> None:
        """The server has run an attempt to its end; its pictures are still to be fetched."""
        with self._changed:
            server = assignment.attempt.server
            if assignment.attempt.prompt_id in self._fetching or server not in self._servers.states:
                return
            self._fetching.add(assignment.attempt.prompt_id)
            self._servers.let_go(server)

    def done(self, *finished: Finished) -> None:
        """Attempts ended well; all that is written down of them is one transaction."""
        with self._changed:
            attempts = [one.assignment.attempt for one in finished]
            written = self._write(lambda: [*map(self._endings.done, finished)], attempts)
            for one, what in zip(finished, written, strict=True):
                if what is None:
                    self._lose([one.assignment])
                    continue
                self._servers.came_right(one.assignment.attempt.server)
                self._heed_rolls(one, what)
                self._closed(one.assignment)
                self._count(one)
                self._log.done(one, what)

    def failed(
        self,
        assignment: Assignment,
        kind: FailureKind,
        error: str,
        *,
        possible: Sequence[Rung] = (Rung.FREE,),
    ) -> Decision | None:
        """An attempt failed; decides and writes down what happens to its jobs.

        None where another orchestrator has taken it over, who decides.
        """
        with self._changed:
            attempt, server = assignment.attempt, assignment.attempt.server
            try:
                decided = self._write(
                    lambda: self._endings.failed(assignment, kind, error, possible), [attempt]
                )
            except LeaseLost:
                self._lose([assignment])
                return None
            decision = decided[0][0]
            self._log.failed(assignment, kind, error, decision)
            for (one, move), job in zip(decided, assignment.jobs, strict=True):
                self._heed_decision(one, move, kind, job, attempt)
            self._closed(assignment)
            self._log.moved([move for _, move in decided], server)
            self._servers.counts_of(server).failures += kind is not FailureKind.NOT_SENT
            if kind is FailureKind.RESULT_WRONG:
                self._servers.came_wrong(server, error)
            if decision.step is Step.STOP:
                self.stop(OutputError(error))
            return decision

    def give_back(self, assignment: Assignment, reason: str) -> None:
        """An attempt was taken from its server before it ran, or stopped; its jobs wait again.

        Those that a person cancelled are cancelled.
        """
        with self._changed:
            attempt = assignment.attempt
            try:
                moves = self._write(lambda: self._endings.given_back(attempt, reason), [attempt])
            except LeaseLost:
                self._lose([assignment])
                return
            self._closed(assignment)
            self._claims.look_again()
            self._log.moved(moves, attempt.server)

    # --------------------------------------------------------------- leases

    def renew(self) -> None:
        """Hold what is ours for another lease, and heed what was cancelled from elsewhere.

        Raises StoreError where the store cannot be reached; then what is ours stays so for now.
        """
        owner, lease = self.settings.owner, self.settings.lease
        if lease is None:
            self.look_for_cancelled()
            return
        with self._changed:
            held = {one.attempt.id: one for one in self._open.values()}
        began = moments()
        # Not under our lock: workers and downloaders go on while the store takes its time.
        renewed = self.store.renew(owner, lease, held)
        with self._changed:
            self._renewed = began
            self._heed(renewed.cancelled)
        self._lose([held[number] for number in renewed.lost])

    def look_for_cancelled(self) -> None:
        """Heed what was cancelled from elsewhere; raises StoreError."""
        found = self.store.called_off(self.settings.owner)
        if found:
            with self._changed:
                self._heed(found)

    def holds(self, assignment: Assignment) -> bool:
        """Say whether an attempt is still ours, before its pictures take their place.

        The store is asked only where the last renewal is so long ago that others may have it.
        """
        lease = self.settings.lease
        if lease is not None and any(
            now - then >= lease for now, then in zip(moments(), self._renewed, strict=True)
        ):
            try:
                self.renew()
            except StoreError:
                # Whoever writes will find out.
                return True
        return self.fate(assignment) is not Fate.LOST

    def counts(self) -> dict[str, int]:
        """How many jobs are where; see `jobs.counted`. As last known while the record is away."""
        try:
            self._counts = self._counts if self._is_away else self.store.counts()
        except StoreUnreachable as error:
            self.outages.began(error)
        return counted(self._counts)

    def patiently(self, work: Callable[[], T]) -> T:
        """Do what needs the record and may be repeated, see `Outages.patiently`."""
        return self.outages.patiently(work)

    # ---------------------------------------------------------------- the end

    def stop(self, error: SpriteworksError | None = None, *, hurry: bool = False) -> None:
        """Hand out nothing more; with `hurry` what runs is not waited for."""
        with self._changed:
            self._stopping = True
            self._hurried = self._hurried or hurry
            self.stop_error = self.stop_error or error
            self._changed.notify_all()

    @property
    def stopping(self) -> bool:
        """True once nothing more is handed out."""
        return self._stopping

    @property
    def hurried(self) -> bool:
        """True once what runs is not waited for either."""
        return self._hurried

    def is_over(self) -> bool:
        """Say whether nothing is left to do, or nothing more will be handed out."""
        with self._changed:
            if self._open:
                return False
            if self._stopping:
                return True
            if self.settings.endless or self._queue.window or self._is_away:
                return False
            try:
                return self._is_all_done()
            except StoreUnreachable as error:
                self.outages.began(error)
                return False

    def _is_all_done(self) -> bool:
        # A person may have asked for a job again, from another process.
        self._claims.look_again()
        self._queue.refill()
        if self._queue.window:
            return False
        # What another orchestrator has may come back to us, and so does a claim of which the
        # answer was lost.
        return not (self.settings.is_shared and self.store.has_open_attempts())

    def has_more(self) -> bool:
        """Say whether jobs are known to wait that are still to be handed out."""
        with self._changed:
            return not self._stopping and bool(self._queue.window)

    def pause(self, seconds: float = PULSE) -> None:
        """Wait until something changes, a job's pause ends, or `seconds` have passed."""
        with self._changed:
            soonest = due(self._queue.window.values())
            left = seconds if soonest is None else soonest - self._clock()
            # A job that may go out and that nobody took is another server's.
            self._changed.wait(min(seconds, left) if left > 0 else seconds)

    def nudge(self) -> None:
        """Wake the threads that wait: something has changed for one of them."""
        with self._changed:
            self._changed.notify_all()

    def say(self, text: str, *, warning: bool = False, server: str = "", key: str = "") -> None:
        """Write a sentence into the batch's log and tell the observer."""
        self._log.say(text, warning=warning, server=server, key=key)

    def write_log(self) -> None:
        """Write the sentences that wait into the batch's log, if the record is there."""
        self._log.write()

    def tell(self, text: str, *, warning: bool = True, server: str = "", key: str = "") -> None:
        """Tell the observer a sentence, and write nothing; `key` is of the job it is about."""
        self._log.tell(text, warning=warning, server=server, key=key)

    # --------------------------------------------------------------- privates

    @property
    def _is_away(self) -> bool:
        """Whether to leave the record alone: whoever renews leases finds out when it is back."""
        return self.settings.lease is not None and self.outages.is_away

    def _rest(self, seconds: float) -> None:
        """Wait, while others go on."""
        until = time.monotonic() + seconds
        with self._changed:
            while (left := until - time.monotonic()) > 0:
                self._changed.wait(left)

    def _write(self, work: Callable[[], T], attempts: Sequence[Attempt]) -> T:
        """Do `work`, which ends attempts, in one transaction, and again until it is written.

        While the record is away others go on, so `work` changes nothing here.
        """
        owner, made, ids = self.settings.owner, list[T](), {one.id for one in attempts}

        def once() -> T:
            with self.store.transaction():
                # The answer to the last try may have been lost behind its commit.
                if made and any(self.store.has_ended(one, owner) for one in ids):
                    return made[-1]
                made.append(work())
            return made[-1]

        self._ending |= ids
        try:
            return self.outages.patiently(once)
        finally:
            self._ending -= ids

    def _sort_anew(self) -> None:
        self._claims.sort_anew()
        self._changed.notify_all()

    def _adopted(self, attempt: Attempt) -> Assignment:
        jobs = tuple(self.store.entry(shot.key).job for shot in attempt.shots)
        self._servers.took(attempt.server, jobs[0].model)
        return Assignment(attempt=attempt, jobs=jobs, degradation=unpacked(attempt.degraded))

    def _closed(self, assignment: Assignment) -> None:
        server = assignment.attempt.server
        self._open.pop(assignment.attempt.prompt_id, None)
        self._called_off.difference_update(job.key for job in assignment.jobs)
        if assignment.attempt.prompt_id in self._fetching:
            self._fetching.discard(assignment.attempt.prompt_id)
        else:
            self._servers.let_go(server)
        if not self._queue.window:
            self._claims.look_again()
        self._changed.notify_all()

    def _heed(self, keys: Collection[str]) -> None:
        """Let workers know that jobs are not wanted any more."""
        if not self._called_off.issuperset(keys):
            self._called_off.update(keys)
            self._changed.notify_all()

    def _lose(self, assignments: Iterable[Assignment], why: str = "") -> None:
        """Others have taken attempts over; what comes of them here counts for nothing."""
        with self._changed:
            for one in assignments:
                is_ending = one.attempt.id in self._ending
                if self._open.get(one.attempt.prompt_id) is not one or is_ending:
                    # It ended while that was being found out, or whoever writes finds out.
                    continue
                self._closed(one)
                words = f"{one.label} was taken over by another orchestrator"
                self.say(f"{words}: {why}" if why else words, warning=True)

    def _recall(
        self, key: str, attempt: Attempt, rungs: Callable[[Assignment], Sequence[Rung]]
    ) -> None:
        entries = [self.store.entry(shot.key) for shot in attempt.shots]
        if all(entry.job.key != key or entry.state is not State.PENDING for entry in entries):
            return
        jobs = tuple(entry.job for entry in entries)
        assignment = Assignment(attempt=attempt, jobs=jobs, degradation=unpacked(attempt.degraded))
        decision = self._endings.decide(key, assignment, rungs(assignment))
        self._notes.recall(key, attempt, decision)

    def _heed_decision(
        self, decision: Decision, move: Move, kind: FailureKind, job: Job, attempt: Attempt
    ) -> None:
        if move[1] != State.PENDING.value:
            self._notes.pop(job.key, None)
            return
        self._notes.take(job, attempt, decision, kind, self._clock())
        # Before all that was not tried yet: the night's end should not be full of old trouble.
        self._claims.wait(job, order=-1)

    def _heed_rolls(self, one: Finished, written: Written) -> None:
        """Let those wait that are rolled again; the others have their end."""
        again = {key for key, state, _ in written.moves if state == State.PENDING.value}
        for job in one.assignment.jobs:
            if job.key in again:
                self._claims.wait(replace(job, roll=job.roll + 1), order=-1)
            else:
                self._notes.pop(job.key, None)

    def _count(self, one: Finished) -> None:
        counts_of = self._servers.counts_of(one.assignment.attempt.server)
        counts_of.pictures += len(one.assignment.jobs) - len(one.rejections)
        by_name = {span.span: span.seconds for span in one.spans}
        counts_of.busy += by_name.get("run", one.seconds)
        counts_of.idle += by_name.get("idle", 0.0)


def moments() -> tuple[float, float]:
    """Now, in s by two clocks: one stands still while a computer sleeps, one may be set back."""
    return time.monotonic(), time.time()
