"""Which jobs a server gets next: chosen among those that wait, and claimed in the record."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from ...errors import IllegalTransition
from ...protocol import new_prompt_id
from ..logic.assignments import Assignment, packed, unpacked
from ..logic.dispatch_settings import DispatchSettings
from ..logic.jobs import Attempt, Job, Shot
from ..logic.notes import Notes
from ..logic.scheduler import Situation, Waiting, alternatives, choose
from ..logic.server_states import ServerStates
from .job_queue import JobQueue
from .store.statements import CANDIDATES
from .store.store import Store

# s after which a waiting thread looks again by itself, also for what other processes posted
PULSE = 1.0
# s, for each owner, after which it is looked for jobs that go before those that are known
_EVERYWHERE = 0.1
# Claims after one that came too late for which others are thought to be claiming, too, and jobs
# that are as good as the one that was chosen.
_RIVALRY, _ALTERNATIVES = 64, CANDIDATES - 1


class Claims:
    """Chooses and claims jobs for the servers of a run; for one thread at a time."""

    def __init__(
        self,
        store: Store,
        settings: DispatchSettings,
        servers: ServerStates,
        notes: Notes,
        *,
        can_batch: Callable[[Job], bool],
        fits: Callable[[Job, str], bool] | None,
        clock: Callable[[], float],
    ) -> None:
        """`can_batch` and `fits` are those of `Dispatcher`."""
        self.queue = JobQueue(store, self._look_at)
        self._store = store
        self._settings = settings
        self._servers = servers
        self._notes = notes
        self._can_batch = can_batch
        self._fits = fits
        self._clock = clock
        # claims for which to be ready that another orchestrator is quicker
        self._rivals = 0
        self._looked = self._looked_everywhere = clock()

    def next(self, server: str) -> Assignment | None:
        """The next jobs for a server, claimed for it; None where it gets none now.

        Raises StoreUnreachable; the record may have a claim then, whose answer was lost.
        """
        if self._settings.is_shared:
            self._look_now_and_then()
        while chosen := self._choose(server):
            try:
                return self._assign(server, chosen)
            except IllegalTransition:
                # Another orchestrator has claimed some of them, or a person cancelled them.
                self.queue.lost(chosen)
                self._rivals = _RIVALRY
        return None

    def look_again(self) -> None:
        """Look anew for all that waits, before the next choice."""
        self._looked = self._looked_everywhere = self._clock()
        self.queue.look_again()

    def sort_anew(self) -> None:
        """Find out again which servers can run what waits."""
        if self._fits is not None:
            for waiting in list(self.queue.window.values()):
                job = self.queue.job(waiting.key)
                self.queue.change(replace(waiting, only=self._servers_for(job)))

    def wait(self, job: Job, order: int | None = None) -> None:
        """A job waits from now on, in this order among those of its priority; None: in its own."""
        waiting = self._look_at(job)
        self.queue.put(job, waiting if order is None else replace(waiting, order=order))

    # --------------------------------------------------------------- privates

    def _choose(self, server: str) -> tuple[Waiting, ...]:
        """The jobs for a server; where it has nothing to do, they are looked for far and wide."""
        self.queue.refill()
        chosen = choose(server, self._situation())
        while not chosen and self._servers.is_idle(server) and self.queue.widen():
            self.queue.refill()
            chosen = choose(server, self._situation())
        return chosen

    def _situation(self) -> Situation:
        return Situation(
            waiting=list(self.queue.window.values()),
            servers=self._servers.states,
            served=self.queue.served,
            fresh=self.queue.fresh,
            passed=self.queue.passed,
            now=self._clock(),
            rules=self._settings.rules,
        )

    def _look_now_and_then(self) -> None:
        """Look for what other processes posted, and more seldom for what is more urgent.

        The latter reads some jobs of each owner: 12,500 reads a second where 250 orchestrators do
        so each second for 50 owners.
        """
        now = self._clock()
        if now - self._looked_everywhere >= max(PULSE, _EVERYWHERE * self.queue.owners):
            self.look_again()
        elif now - self._looked >= PULSE:
            self._looked = now
            self.queue.arrived()

    def _servers_for(self, job: Job) -> frozenset[str] | None:
        fits = self._fits
        return (
            None
            if fits is None
            else frozenset(one for one in self._servers.states if fits(job, one))
        )

    def _look_at(self, job: Job) -> Waiting:
        note = self._notes.of(job)
        size = min(self._settings.batch_size, note.degradation.most or self._settings.batch_size)
        group = ""
        if size > 1 and not job.roll and job.seed is not None and self._can_batch(job):
            group = f"{job.group}{note.degradation}"
        return Waiting(
            key=job.key,
            batch=job.owner,
            priority=job.priority,
            order=job.order,
            model=job.model,
            group=group,
            seed=job.seed_now or 0,
            batch_size=size,
            not_before=note.not_before,
            since=self._clock(),
            avoid=note.avoid,
            only=self._servers_for(job),
        )

    def _assign(self, server: str, chosen: Sequence[Waiting]) -> Assignment:
        """Claim what was chosen; raises IllegalTransition where it is another's by now."""
        owner, lease = self._settings.owner, self._settings.lease
        if self._rivals and len(chosen) == 1:
            chosen, attempt = self._claim_among(server, chosen[0])
        else:
            attempt = self._attempt(server, chosen)
            number = self._store.claim(attempt, owner=owner, seconds=lease)
            attempt = replace(attempt, id=number, owner=owner)
        self._rivals = max(0, self._rivals - 1)
        jobs = tuple(self.queue.job(one.key) for one in chosen)
        self.queue.sent(chosen)
        self._servers.took(server, jobs[0].model)
        degradation = unpacked(attempt.degraded)
        return Assignment(attempt=attempt, jobs=jobs, degradation=degradation)

    def _claim_among(self, server: str, first: Waiting) -> tuple[Sequence[Waiting], Attempt]:
        """Claim the job that was chosen, or where others were quicker one that is as good."""
        others = alternatives(server, first, self._situation(), _ALTERNATIVES)
        candidates = {one.key: one for one in (first, *others)}
        attempt = self._store.claim_first(
            list(candidates),
            lambda key: self._attempt(server, [candidates[key]]),
            owner=self._settings.owner,
            seconds=self._settings.lease,
        )
        got = attempt.shots[0].key
        # Those before it are others' now, or will be found again.
        passed = list(candidates)[: list(candidates).index(got)]
        self.queue.remove(passed)
        if passed:
            self._rivals = _RIVALRY
        return [candidates[got]], attempt

    def _attempt(self, server: str, chosen: Sequence[Waiting]) -> Attempt:
        """An attempt at these jobs, to be written down."""
        jobs = [self.queue.job(one.key) for one in chosen]
        return Attempt(
            prompt_id=new_prompt_id(),
            server=server,
            shots=tuple(
                Shot(key=job.key, seed=job.seed_now, index=index) for index, job in enumerate(jobs)
            ),
            degraded=packed(self._notes.degradation(jobs, server)),
        )
