"""Who gets what: one pure function chooses the next jobs for a server. No I/O, no clock.

The order of the rules is: what a server can run, and what had better avoid it; fairness between
owners, who are the users of a service; an owner's own priorities; model affinity; the order of
arrival. Affinity may let one owner run ahead of another by `Rules.lead` jobs, because
loading a model costs more than a job, but never before the first job of one who has just come.
Nobody waits for ever.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """A job that waits, with what the choice depends on."""

    key: str
    # whose it is: a user of a service, "" in a batch
    batch: str = ""
    # higher goes first, among those of one owner
    priority: int = 0
    # place in the manifest, or of arrival; lower goes first
    order: int = 0
    # the model that it needs, "" where the workflow names none
    model: str = ""
    # jobs of one group differ in nothing but the seed; "" is alone
    group: str = ""
    seed: int = 0
    # at most so many pictures in one graph
    batch_size: int = 1
    # not before this moment, in s on the caller's monotonic clock
    not_before: float = 0.0
    # since when it is known to wait, on the same clock
    since: float = 0.0
    # servers on which it failed
    avoid: frozenset[str] = frozenset()
    # servers that can run it; None where any can
    only: frozenset[str] | None = None


@dataclass(frozen=True, kw_only=True)
class ServerState:
    """A server as the choice sees it."""

    url: str
    # the model of the last job sent there
    model: str = ""
    # graphs that it has and that have not ended
    held: int = 0
    # False while it is set aside
    open: bool = True


@dataclass(frozen=True, kw_only=True)
class Rules:
    """Numbers of the choice."""

    # graphs on a server besides the one that runs, so that it never waits for us
    look_ahead: int = 1
    # jobs by which affinity may let an owner run ahead of the one that has had the fewest
    lead: int = 4
    # jobs of an owner that affinity may let pass before the owner's first; None is any number, for
    # batches, which end
    passing: int | None = None
    # s that a job is left to servers that have its model, before one loads it; for records on which
    # several orchestrators work, none of whom sees what the servers of the others have loaded
    head_start: float = 0.0
    # whether the first job of one who has just come goes before affinity; where many orchestrators
    # work on a record, everybody has just come to each of them
    newcomers_first: bool = True


@dataclass(frozen=True, kw_only=True)
class Situation:
    """All that a choice is made from."""

    # a window of the waiting jobs; those further down the manifest need not be in it
    waiting: Sequence[Waiting]
    servers: Mapping[str, ServerState]
    # jobs sent so far, by owner
    served: Mapping[str, int] = field(default_factory=dict)
    # owners who have had nothing since they came, in the order in which they came
    fresh: Sequence[str] = ()
    # jobs that went before the first one of their owner since it is the first, by owner
    passed: Mapping[str, int] = field(default_factory=dict)
    now: float = 0.0
    rules: Rules = Rules()


def choose(url: str, situation: Situation) -> tuple[Waiting, ...]:
    """The jobs that the server `url` gets next as one graph; empty where it gets none now."""
    server_state = situation.servers[url]
    if not server_state.open or server_state.held > situation.rules.look_ahead:
        return ()
    ready = [
        job
        for job in situation.waiting
        if job.not_before <= situation.now and (job.only is None or url in job.only)
    ]
    if situation.rules.head_start:
        ready = [job for job in ready if _may_begin(job, server_state, situation)]
    if server_state.held and len(ready) <= _idle(situation, ready, besides=url):
        # The last jobs go to servers that could begin at once.
        return ()
    # Hardly any job has servers to avoid, and there are hundreds.
    allowed = [
        job for job in ready if not (job.avoid and _should_avoid(job, server_state, situation))
    ]
    if not allowed:
        return ()
    return _with_its_group(_fairest(server_state, _most_urgent(allowed), situation), allowed)


def alternatives(url: str, chosen: Waiting, situation: Situation, most: int) -> tuple[Waiting, ...]:
    """Jobs that `url` may have as well as the one chosen, should that be another's by now.

    They are the same owner's, as urgent and of the same model, behind `chosen` in their order; at
    most `most`.
    """
    server_state = situation.servers[url]
    alike = (chosen.batch, chosen.priority, chosen.model)
    found = [
        job
        for job in situation.waiting
        if (job.batch, job.priority, job.model) == alike
        and job.order > chosen.order
        and job.not_before <= situation.now
        and (job.only is None or url in job.only)
        and not (job.avoid and _should_avoid(job, server_state, situation))
    ]
    return tuple(sorted(found, key=lambda job: job.order)[:most])


def due(waiting: Iterable[Waiting]) -> float | None:
    """The moment at which the next job may go out; None where none waits."""
    return min((job.not_before for job in waiting), default=None)


def _idle(situation: Situation, ready: Sequence[Waiting], besides: str) -> int:
    """How many other servers could begin with one of `ready` at once; 0 if fewer than there are."""
    idle = [
        server_state.url
        for server_state in situation.servers.values()
        if server_state.open and not server_state.held and server_state.url != besides
    ]
    if len(idle) < len(ready):
        # too few in any case
        return 0
    return sum(any(job.only is None or url in job.only for job in ready) for url in idle)


def _may_begin(job: Waiting, server_state: ServerState, situation: Situation) -> bool:
    """Say whether a server has a job's model, or others that may have it had time to take it."""
    is_loaded = not job.model or job.model == server_state.model
    return is_loaded or situation.now - job.since >= situation.rules.head_start


def _should_avoid(job: Waiting, server_state: ServerState, situation: Situation) -> bool:
    """A job keeps away from servers on which it failed, as long as another one is open to it."""
    if server_state.url not in job.avoid:
        return False
    return any(
        one.open and one.url not in job.avoid and (job.only is None or one.url in job.only)
        for one in situation.servers.values()
    )


def _most_urgent(jobs: list[Waiting]) -> list[Waiting]:
    """Each owner's jobs of the highest priority that it has among `jobs`."""
    highest: dict[str, int] = {}
    for job in jobs:
        if job.priority > highest.get(job.batch, job.priority - 1):
            highest[job.batch] = job.priority
    return [job for job in jobs if job.priority == highest[job.batch]]


def _fairest(server_state: ServerState, jobs: list[Waiting], situation: Situation) -> Waiting:
    served = {batch: situation.served.get(batch, 0) for batch in {job.batch for job in jobs}}
    behind = min(served.values())
    newcomer = next((one for one in situation.fresh if served.get(one) == behind), None)
    if newcomer is not None and situation.rules.newcomers_first:
        jobs = [job for job in jobs if job.batch == newcomer]
    jobs = _patient(jobs, situation)
    kept = [job for job in jobs if served[job.batch] - behind < situation.rules.lead]
    same = [job for job in kept if job.model == server_state.model]
    if same:
        # Among owners with the loaded model, too, the one that has had less goes first.
        return min(same, key=lambda job: (served[job.batch], job.order))
    return _to_load([job for job in jobs if served[job.batch] == behind], situation)


def _patient(jobs: list[Waiting], situation: Situation) -> list[Waiting]:
    """The same, with nothing but the first of those owners whose first was passed often enough."""
    most = situation.rules.passing
    if most is None or not any(count >= most for count in situation.passed.values()):
        return jobs
    first: dict[str, Waiting] = {}
    for job in jobs:
        if job.batch not in first or job.order < first[job.batch].order:
            first[job.batch] = job
    return [
        job for job in jobs if situation.passed.get(job.batch, 0) < most or first[job.batch] is job
    ]


def _to_load(jobs: list[Waiting], situation: Situation) -> Waiting:
    """The job whose model is worth loading: one that no other server has, and most wanted."""
    loaded = {
        server_state.model for server_state in situation.servers.values() if server_state.open
    }
    wanted = Counter(job.model for job in jobs)
    return min(jobs, key=lambda job: (job.model in loaded, -wanted[job.model], job.order))


def _with_its_group(first: Waiting, jobs: list[Waiting]) -> tuple[Waiting, ...]:
    """`first` and the jobs whose seeds follow on, up to the batch size; alone without a group."""
    if not first.group or first.batch_size < 2:
        return (first,)
    kin = {
        job.seed: job
        for job in reversed(jobs)
        if (job.group, job.batch, job.priority) == (first.group, first.batch, first.priority)
    }
    size = min(first.batch_size, *(job.batch_size for job in kin.values()))
    chosen = [first]
    while len(chosen) < size and (following := kin.get(chosen[-1].seed + 1)) is not None:
        chosen.append(following)
    return tuple(chosen)
