"""What a simulated cluster comes to, in figures and words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from .simulation import Cluster, SimulationOutcome

# s between two renewals of a worker's leases, and two looks for cancelled jobs (see
# `batch.execution.leases`)
_RENEWED, _LOOKED = 10.0, 0.5


@dataclass(frozen=True, kw_only=True)
class ClusterFigures:
    """What a cluster comes to. Rates are a virtual second."""

    cluster: Cluster
    done: float
    # share of the time that servers worked, and of it that they loaded models
    busy: float
    loading: float
    # loads of models for 100 jobs
    loads: float
    # s from posting to beginning
    wait_p50: float
    wait_p99: float
    # the worst and the best owner's median wait, of those who had 20 jobs begun at least
    owner_worst: float
    owner_best: float
    window: int
    # requests to the record, by kind
    requests: Mapping[str, float] = field(default_factory=dict)
    # cores of the database's machine that they keep busy, by kind; empty where costs are not known
    cores: Mapping[str, float] = field(default_factory=dict)

    def words(self) -> str:
        """One line for people."""
        cluster = self.cluster
        text = (
            f"{cluster.sprites_a_day / 1e6:g} million a day, {cluster.gpus} GPUs, "
            f"{cluster.workers} workers, {cluster.owners} owners, head start "
            f"{cluster.head_start:g} s, seed {cluster.seed}: {self.done:.1f} done/s, "
            f"{self.busy:.0%} busy, {self.loads:.0f} loads for 100, wait {self.wait_p50:.2f} s "
            f"(p99 {self.wait_p99:.1f} s), owners' medians {self.owner_best:.2f} to "
            f"{self.owner_worst:.2f} s, {self.requests['late']:.1f} late claims/s, "
            f"window {self.window}"
        )
        if self.cores:
            most = max(self.cores, key=lambda kind: self.cores[kind])
            text += (
                f"; database {sum(self.cores.values()):.2f} cores, most of it "
                f'"{most}" ({self.cores[most]:.2f})'
            )
        return text


def figures_of(
    cluster: Cluster, outcome: SimulationOutcome, costs: Mapping[str, float] | None = None
) -> ClusterFigures:
    """The figures of what came of a cluster; `costs` are those of `costs.measured`, in ms."""
    seconds = cluster.seconds
    kinds = ("claim", "late", "submitted", "done", "owners", "read", "rows", "still")
    requests = {kind: outcome.asked[kind] / seconds for kind in kinds}
    # What leases ask for does not depend on jobs, and is counted, not played.
    requests["renew"] = cluster.workers / _RENEWED
    requests["called_off"] = cluster.workers / _LOOKED
    medians = [_part(waits, 0.5) for waits in outcome.waits_of.values() if len(waits) >= 20]
    total = cluster.gpus * seconds
    return ClusterFigures(
        cluster=cluster,
        done=outcome.done / seconds,
        busy=min(1.0, outcome.busy / total),
        loading=outcome.loading / max(1e-9, outcome.busy),
        loads=100 * outcome.loads / max(1, len(outcome.waits)),
        wait_p50=_part(outcome.waits, 0.5),
        wait_p99=_part(outcome.waits, 0.99),
        owner_worst=max(medians, default=0.0),
        owner_best=min(medians, default=0.0),
        window=outcome.window,
        requests=requests,
        cores={} if costs is None else _cores(requests, costs, outcome, cluster.owners),
    )


def _cores(
    requests: Mapping[str, float],
    costs: Mapping[str, float],
    outcome: SimulationOutcome,
    owners: int,
) -> dict[str, float]:
    """A look at who waits costs little where nobody does, and more the more owners there are."""
    found = {kind: rate * costs[kind] / 1000 for kind, rate in requests.items()}
    waiting = outcome.asked["owners_seen"] / max(1, outcome.asked["owners"])
    part = min(1.0, waiting / owners)
    look = costs["owners_idle"] + part * (costs["owners"] - costs["owners_idle"])
    found["owners"] = requests["owners"] * look / 1000
    return found


def _part(values: Sequence[float], part: float) -> float:
    """The value that so many are below, or at; 0 where there is none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))] if ordered else 0.0
