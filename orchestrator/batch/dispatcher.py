"""Where workers meet: hands out jobs, writes down what becomes of them, knows when all is over.

Every public method may be called from any thread. What a method changes is in the store before it
returns; what is kept here only saves asking the store again.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from ..errors import IllegalTransition, OutputError, SpriteworksError
from ..protocol import new_prompt_id
from .assignments import Assignment, Rejection, packed, unpacked
from .jobs import Artifact, Attempt, Job, Outcome, Shot, State, Timing, counted
from .messages import Observer, failure_event, failure_words
from .retry import Decision, Degradation, Kind, Limits, Past, Rung, Step, decide
from .scheduler import Rules, ServerState, Situation, Waiting, choose, due
from .store.store import Store

# Jobs looked at for one choice, and how few may be left before more are read from the store.
_WINDOW, _LOW = 192, 64
# s after which a waiting thread looks again by itself
_PULSE = 1.0
_AS_IS = Degradation()


@dataclass(kw_only=True)
class _Note:
    """What is remembered of a job that failed."""

    degradation: Degradation = _AS_IS
    not_before: float = 0.0
    avoid: frozenset[str] = frozenset()
    # servers that sent another picture, and would send it from their cache again
    wrong_from: frozenset[str] = frozenset()


@dataclass(kw_only=True)
class ServerCounts:
    """What one server did in this run."""

    pictures: int = 0
    failures: int = 0
    # s that it ran our jobs, and that it waited for us while there was work, by its own clock
    busy: float = 0.0
    idle: float = 0.0
    now: str = ""
    words: str = ""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How jobs are handed out."""

    rules: Rules = field(default_factory=Rules)
    limits: Limits = field(default_factory=Limits)
    # pictures in one graph, where jobs differ in nothing but the seed
    batch_size: int = 1
    # the batch's name, for fairness between several
    batch: str = ""


@dataclass(frozen=True, kw_only=True)
class Finished:
    """An attempt that ended well: its pictures are in the folder, those rejected are not."""

    assignment: Assignment
    artifacts: Sequence[Artifact]
    rejections: Sequence[Rejection] = ()
    # s from submission to the end
    seconds: float
    spans: Sequence[Timing]


class Dispatcher:
    """The jobs of one batch on their way through the servers."""

    def __init__(
        self,
        store: Store,
        observer: Observer,
        settings: Settings | None = None,
        *,
        can_batch: Callable[[Job], bool] = lambda job: False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.store = store
        self.settings = settings or Settings()
        self.server_counts: dict[str, ServerCounts] = {}
        # why the run ends before everything is done; None while it goes on
        self.stop_error: SpriteworksError | None = None
        # why the last server was given up
        self.last_error: SpriteworksError | None = None
        self._observer = observer
        self._can_batch = can_batch
        self._clock = clock
        self._changed = threading.Condition(threading.RLock())
        self._window: dict[str, Waiting] = {}
        self._jobs: dict[str, Job] = {}
        self._notes: dict[str, _Note] = {}
        self._servers: dict[str, ServerState] = {}
        self._served: Counter[str] = Counter()
        # attempts whose outcome is not known yet
        self._open: set[str] = set()
        # those of them that their server is done with
        self._fetching: set[str] = set()
        # by server, wrong pictures since the last right one
        self._wrong: Counter[str] = Counter()
        # servers that get no more jobs for it, and the last of what came
        self._distrusted: dict[str, str] = {}
        self._drained = False
        self._stopping = False
        self._hurried = False

    # ---------------------------------------------------------------- servers

    def join(self, server: str, *, is_open: bool = True) -> None:
        """A server belongs to the fleet from now on."""
        with self._changed:
            self._servers[server] = ServerState(url=server, open=is_open)
            self.server_counts[server] = ServerCounts()

    def leave(self, server: str, error: SpriteworksError | None = None) -> None:
        """A server will not come back in this run, and why."""
        with self._changed:
            self.last_error = error or self.last_error
            self._servers.pop(server, None)
            self._changed.notify_all()

    def set_open(self, server: str, is_open: bool, words: str) -> None:
        """Set a server aside, or take it back."""
        with self._changed:
            server_state = self._servers.get(server)
            if server_state is None:
                return
            self._servers[server] = replace(server_state, open=is_open)
            self.server_counts[server].words = "" if is_open else words
            self.say(words, server=server, warning=not is_open)
            self._observer.happened("server", server=server, open=is_open, words=words)
            self._changed.notify_all()

    def others_open(self, server: str) -> bool:
        """Say whether another server could take a job of this one."""
        with self._changed:
            return any(
                server_state.open for name, server_state in self._servers.items() if name != server
            )

    def distrust_of(self, server: str) -> str:
        """Why a server gets no more jobs in this run, in words; "" where it does."""
        with self._changed:
            return self._distrusted.get(server, "")

    def has_servers(self) -> bool:
        """Say whether any server is left, open or set aside."""
        with self._changed:
            return bool(self._servers)

    # ------------------------------------------------------------------- jobs

    def adopt(self, attempts: Iterable[Attempt]) -> list[Assignment]:
        """Take over attempts that an earlier run left open; their jobs are on their servers."""
        with self._changed:
            found = [self._adopted(attempt) for attempt in attempts]
            self._open.update(one.attempt.prompt_id for one in found)
            return found

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
            gone = server not in self._servers or server in self._distrusted
            if self._stopping or gone:
                return None
            self._refill()
            chosen = choose(server, self._situation())
            try:
                return self._assign(server, chosen) if chosen else None
            except IllegalTransition:
                # A person has cancelled some of them from another process; look again.
                self._forget_waiting()
                return None

    def submitted(self, assignment: Assignment) -> None:
        """The server has had an attempt for a while; may be said again after a break."""
        with self.store.transaction():
            if self.store.entry(assignment.jobs[0].key).state is State.CLAIMED:
                self.store.mark_submitted(assignment.attempt.id)

    def ended(self, assignment: Assignment) -> None:
        """The server has run an attempt to its end; its pictures are still to be fetched."""
        with self._changed:
            server = assignment.attempt.server
            if assignment.attempt.prompt_id in self._fetching or server not in self._servers:
                return
            self._fetching.add(assignment.attempt.prompt_id)
            server_state = self._servers[server]
            self._servers[server] = replace(server_state, held=max(0, server_state.held - 1))

    def done(self, *finished: Finished) -> None:
        """Attempts ended well; all that is written down of them is one transaction."""
        with self._changed:
            with self.store.transaction():
                words = [self._write_down(one) for one in finished]
            for one, said in zip(finished, words, strict=True):
                self._wrong.pop(one.assignment.attempt.server, None)
                self._closed(one.assignment)
                self._count(one)
                self._tell_done(one, said)

    def failed(
        self,
        assignment: Assignment,
        kind: Kind,
        error: str,
        *,
        possible: Sequence[Rung] = (Rung.FREE,),
    ) -> Decision:
        """An attempt failed; decides and writes down what happens to its jobs."""
        with self._changed:
            decisions = []
            with self.store.transaction():
                attempt = assignment.attempt
                outcome = Outcome.NEVER_SENT if kind is Kind.NOT_SENT else Outcome.FAILED
                self.store.close_attempt(attempt.id, outcome, failure=kind.value, error=error)
                for job in assignment.jobs:
                    decision = decide(
                        self._past(job.key, assignment), possible, self.settings.limits
                    )
                    self._apply(decision, kind, job, attempt, error)
                    decisions.append(decision)
                self.say(
                    failure_words(assignment, error, decisions[0]),
                    warning=True,
                    server=attempt.server,
                    key=assignment.jobs[0].key,
                )
                event = failure_event(assignment, kind, error, decisions[0])
                self._observer.happened("failed", **event)
            self._closed(assignment)
            self.server_counts[attempt.server].failures += kind is not Kind.NOT_SENT
            if kind is Kind.RESULT_WRONG:
                self._came_wrong(attempt.server, error)
            if decisions[0].step is Step.STOP:
                self.stop(OutputError(error))
            return decisions[0]

    def give_back(self, assignment: Assignment, reason: str) -> None:
        """An attempt was taken from its server before it ran, or stopped; its jobs wait again."""
        with self._changed:
            with self.store.transaction():
                self.store.close_attempt(assignment.attempt.id, Outcome.CANCELLED, error=reason)
                self.store.move([job.key for job in assignment.jobs], State.PENDING)
            self._closed(assignment)

    def counts(self) -> dict[str, int]:
        """How many jobs are where; see `jobs.counted`."""
        return counted(self.store.counts())

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
            # A person may have asked for a job again, from another process.
            self._drained = False
            self._refill()
            return not self._window

    def pause(self, seconds: float = _PULSE) -> None:
        """Wait until something changes, a job's pause ends, or `seconds` have passed."""
        with self._changed:
            soonest = due(self._window.values())
            left = seconds if soonest is None else soonest - self._clock()
            # A job that may go out and that nobody took is another server's.
            self._changed.wait(min(seconds, left) if left > 0 else seconds)

    def nudge(self) -> None:
        """Wake the threads that wait: something has changed for one of them."""
        with self._changed:
            self._changed.notify_all()

    def say(self, text: str, *, warning: bool = False, server: str = "", key: str = "") -> None:
        """Write a sentence into the batch's log and tell the observer."""
        self.store.log(text, warning=warning, server=server, key=key)
        self._observer.happened("note", text=text, warning=warning, server=server)

    # --------------------------------------------------------------- privates

    def _situation(self) -> Situation:
        return Situation(
            waiting=list(self._window.values()),
            servers=self._servers,
            served=self._served,
            now=self._clock(),
            rules=self.settings.rules,
        )

    def _refill(self) -> None:
        if len(self._window) >= _LOW or self._drained:
            return
        found = self.store.pending(_WINDOW - len(self._window), exclude=self._window.keys())
        for job in found:
            self._wait(job)
        # Jobs come back only through this dispatcher, so a store that is empty once stays empty.
        self._drained = not found

    def _forget_waiting(self) -> None:
        self._window.clear()
        self._jobs.clear()
        self._drained = False

    def _wait(self, job: Job, order: int | None = None) -> None:
        note = self._notes.get(job.key) or _Note()
        self._jobs[job.key] = job
        size = min(self.settings.batch_size, note.degradation.most or self.settings.batch_size)
        group = ""
        if size > 1 and not job.roll and job.seed is not None and self._can_batch(job):
            group = f"{job.group}{note.degradation}"
        self._window[job.key] = Waiting(
            key=job.key,
            batch=self.settings.batch,
            priority=job.priority,
            order=len(self._served) + self._served.total() + len(self._window)
            if order is None
            else order,
            model=job.model,
            group=group,
            seed=job.seed_now or 0,
            batch_size=size,
            not_before=note.not_before,
            avoid=note.avoid,
        )

    def _assign(self, server: str, chosen: Sequence[Waiting]) -> Assignment:
        jobs = tuple(self._jobs[one.key] for one in chosen)
        note = self._notes.get(jobs[0].key)
        degradation = note.degradation if note else _AS_IS
        if any(server in self._notes[job.key].wrong_from for job in jobs if job.key in self._notes):
            degradation = replace(degradation, free=True)
        attempt = Attempt(
            prompt_id=new_prompt_id(),
            server=server,
            shots=tuple(
                Shot(key=job.key, seed=job.seed_now, index=index) for index, job in enumerate(jobs)
            ),
            degraded=packed(degradation),
        )
        attempt = replace(attempt, id=self.store.claim(attempt))
        for job in jobs:
            del self._window[job.key]
            del self._jobs[job.key]
        server_state = self._servers[server]
        self._servers[server] = replace(
            server_state, held=server_state.held + 1, model=jobs[0].model
        )
        self._served[self.settings.batch] += len(jobs)
        self._open.add(attempt.prompt_id)
        return Assignment(attempt=attempt, jobs=jobs, degradation=degradation)

    def _adopted(self, attempt: Attempt) -> Assignment:
        jobs = tuple(self.store.entry(shot.key).job for shot in attempt.shots)
        server_state = self._servers[attempt.server]
        self._servers[attempt.server] = replace(
            server_state, held=server_state.held + 1, model=jobs[0].model
        )
        return Assignment(attempt=attempt, jobs=jobs, degradation=unpacked(attempt.degraded))

    def _closed(self, assignment: Assignment) -> None:
        server = assignment.attempt.server
        self._open.discard(assignment.attempt.prompt_id)
        server_state = self._servers.get(server)
        if assignment.attempt.prompt_id in self._fetching:
            self._fetching.discard(assignment.attempt.prompt_id)
        elif server_state is not None:
            self._servers[server] = replace(server_state, held=max(0, server_state.held - 1))
        self._drained = False if not self._window else self._drained
        self._changed.notify_all()

    def _recall(
        self, key: str, attempt: Attempt, rungs: Callable[[Assignment], Sequence[Rung]]
    ) -> None:
        entries = [self.store.entry(shot.key) for shot in attempt.shots]
        if all(entry.job.key != key or entry.state is not State.PENDING for entry in entries):
            return
        jobs = tuple(entry.job for entry in entries)
        assignment = Assignment(attempt=attempt, jobs=jobs, degradation=unpacked(attempt.degraded))
        decision = decide(self._past(key, assignment), rungs(assignment), self.settings.limits)
        note = self._notes.setdefault(key, _Note())
        note.degradation = decision.degradation
        if decision.step is Step.ELSEWHERE:
            note.avoid = frozenset({attempt.server})
        if attempt.failure == Kind.RESULT_WRONG.value:
            note.wrong_from = frozenset({attempt.server})

    def _came_wrong(self, server: str, error: str) -> None:
        """Charge a wrong picture to its server; the only one that is open goes on all the same."""
        self._wrong[server] += 1
        times = self._wrong[server]
        if times >= self.settings.limits.wrong_in_a_row and self.others_open(server):
            words = f"its pictures were wrong {times} times in a row ({error})"
            # What it had made by then may come home behind it.
            self._distrusted.setdefault(server, words)

    def _past(self, key: str, assignment: Assignment) -> Past:
        since = self.store.retried_after()
        kinds = [
            Kind(one.failure)
            for one in self.store.attempts_of(key)
            if one.failure and one.id > since
        ]
        return Past(kinds=kinds, degradation=assignment.degradation, together=len(assignment.jobs))

    def _apply(
        self, decision: Decision, kind: Kind, job: Job, attempt: Attempt, error: str
    ) -> None:
        match decision.step:
            case Step.GIVE_UP:
                self.store.move([job.key], State.FAILED, reason=f"{error} ({decision.reason})")
            case Step.QUARANTINE:
                self.store.move([job.key], State.QUARANTINED, reason=f"{error} ({decision.reason})")
            case _:
                self.store.move([job.key], State.PENDING)
                self._remember(decision, kind, job, attempt)

    def _remember(self, decision: Decision, kind: Kind, job: Job, attempt: Attempt) -> None:
        note = self._notes.setdefault(job.key, _Note())
        note.degradation = decision.degradation
        note.not_before = self._clock() + decision.delay
        if decision.step is Step.ELSEWHERE:
            note.avoid |= {attempt.server}
        if kind is Kind.RESULT_WRONG:
            note.wrong_from |= {attempt.server}
        # Before all that was not tried yet: the night's end should not be full of old trouble.
        self._wait(job, order=-1)

    def _reject(self, job: Job, rejected: dict[str, str]) -> str:
        reason = rejected.get(job.key)
        if reason is None:
            return ""
        if job.has_rolls:
            self.store.reroll(job.key)
            self._wait(replace(job, roll=job.roll + 1), order=-1)
            return f"{job.name} is rolled again ({job.roll + 1} of {job.rerolls}): {reason}"
        self.store.move([job.key], State.FAILED, reason=reason)
        return f"{job.name} failed: {reason}"

    def _write_down(self, one: Finished) -> list[str]:
        """Write an attempt's end into the store; returns what is to be said of it."""
        attempt, jobs = one.assignment.attempt, one.assignment.jobs
        rejected = {rejection.key: rejection.reason for rejection in one.rejections}
        for artifact in one.artifacts:
            self.store.record_artifact(artifact)
        self.store.move([job.key for job in jobs if job.key not in rejected], State.DONE)
        words = [self._reject(job, rejected) for job in jobs]
        outcome = Outcome.REJECTED if rejected else Outcome.DONE
        self.store.close_attempt(attempt.id, outcome, seconds=one.seconds)
        self.store.record_timings(attempt.id, one.spans)
        return [text for text in words if text]

    def _count(self, one: Finished) -> None:
        counts_of = self.server_counts[one.assignment.attempt.server]
        counts_of.pictures += len(one.assignment.jobs) - len(one.rejections)
        by_name = {span.span: span.seconds for span in one.spans}
        counts_of.busy += by_name.get("run", one.seconds)
        counts_of.idle += by_name.get("idle", 0.0)

    def _tell_done(self, one: Finished, words: Iterable[str]) -> None:
        server = one.assignment.attempt.server
        for text in words:
            self.say(text, warning=True, server=server)
        for artifact in one.artifacts:
            self._observer.happened(
                "done", path=artifact.path, seed=artifact.seed, server=server, seconds=one.seconds
            )
