"""Who gets what: one pure function chooses the next jobs for a server. No I/O, no clock.

The order of the rules is: priority; servers a job had better avoid; fairness between batches;
model affinity; the order of the manifest. Affinity may let one batch run ahead of another by
`Rules.lead` jobs, because loading a model costs more than a job; no batch waits for ever.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """A job that waits, with what the choice depends on."""

    key: str
    batch: str = ""
    # higher goes first
    priority: int = 0
    # place in the manifest; lower goes first
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
    # servers on which it failed
    avoid: frozenset[str] = frozenset()


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
    # jobs by which affinity may let a batch run ahead of the one that has had the fewest
    lead: int = 16


@dataclass(frozen=True, kw_only=True)
class Situation:
    """All that a choice is made from."""

    # a window of the waiting jobs; those further down the manifest need not be in it
    waiting: Sequence[Waiting]
    servers: Mapping[str, ServerState]
    # jobs sent so far, by batch
    served: Mapping[str, int] = field(default_factory=dict)
    now: float = 0.0
    rules: Rules = Rules()


def choose(url: str, situation: Situation) -> tuple[Waiting, ...]:
    """The jobs that the server `url` gets next as one graph; empty where it gets none now."""
    server_state = situation.servers[url]
    if not server_state.open or server_state.held > situation.rules.look_ahead:
        return ()
    ready = [job for job in situation.waiting if job.not_before <= situation.now]
    if server_state.held and len(ready) <= _idle(situation, besides=url):
        # The last jobs go to servers that could begin at once.
        return ()
    # Hardly any job has servers to avoid, and there are hundreds.
    allowed = [
        job for job in ready if not (job.avoid and _should_avoid(job, server_state, situation))
    ]
    if not allowed:
        return ()
    highest = max([job.priority for job in allowed])
    first = _fairest(server_state, [job for job in allowed if job.priority == highest], situation)
    return _with_its_group(first, allowed)


def due(waiting: Iterable[Waiting]) -> float | None:
    """The moment at which the next job may go out; None where none waits."""
    return min((job.not_before for job in waiting), default=None)


def _idle(situation: Situation, besides: str) -> int:
    servers = situation.servers.values()
    return sum(
        server_state.open and not server_state.held and server_state.url != besides
        for server_state in servers
    )


def _should_avoid(job: Waiting, server_state: ServerState, situation: Situation) -> bool:
    """A job keeps away from servers on which it failed, as long as another one is open."""
    if server_state.url not in job.avoid:
        return False
    return any(one.open and one.url not in job.avoid for one in situation.servers.values())


def _fairest(server_state: ServerState, jobs: list[Waiting], situation: Situation) -> Waiting:
    served = {batch: situation.served.get(batch, 0) for batch in {job.batch for job in jobs}}
    behind = min(served.values())
    kept = [job for job in jobs if served[job.batch] - behind < situation.rules.lead]
    same = [job for job in kept if job.model == server_state.model]
    if same:
        # Among batches with the loaded model, too, the one that has had less goes first.
        return min(same, key=lambda job: (served[job.batch], job.order))
    turn = [job for job in jobs if served[job.batch] == behind]
    return _to_load(turn, situation)


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
