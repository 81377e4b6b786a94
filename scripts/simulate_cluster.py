"""Simulates a thousand GPUs by the real scheduler and the real claims, and says what breaks first.

    python scripts/simulate_cluster.py                                    # one cluster, in words
    python scripts/simulate_cluster.py --sprites 10e6 --gpus-each 8 --json
    python scripts/simulate_cluster.py --measure postgresql://USER@HOST/DATABASE > costs.json
    python scripts/simulate_cluster.py --costs costs.json                 # and the database's load
    python scripts/simulate_cluster.py --seconds 3600 --part 600          # an hour, in six parts
    python scripts/simulate_cluster.py --head-start 0 --newcomers-first   # by the rules of batches
    python scripts/simulate_cluster.py --costs costs.json --sweep --plots docs/images > swept.json
    python scripts/simulate_cluster.py --drawn swept.json --plots docs/images

Servers, clients and time are played (scripts/cluster/simulation.py); who gets what, claims, windows
and fairness are the product's own code on a real record, SQLite in a temporary folder. `--measure`
needs a PostgreSQL of this machine: it asks it each kind of request some hundred times, in databases
of its own that it removes, and prints what one costs in CPU time of the database. With these costs
the load that a cluster is to a database follows from what the simulation counted. `--sweep` goes
through the numbers of docs/scaling.md and prints their tables; `--plots DIR` draws them.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from scripts.cluster.counting import CountingStore
from scripts.cluster.figures import ClusterFigures, figures_of
from scripts.cluster.simulation import Cluster, Simulation


def simulated(cluster: Cluster, costs: Mapping[str, float] | None = None) -> ClusterFigures:
    """One cluster, on a record of its own."""
    (figures,) = in_parts(cluster, cluster.seconds, costs)
    return figures


def in_parts(
    cluster: Cluster, each: float, costs: Mapping[str, float] | None = None
) -> Iterator[ClusterFigures]:
    """One cluster, on a record of its own, and its figures each `each` s."""
    place = "/dev/shm" if os.path.isdir("/dev/shm") else None
    with tempfile.TemporaryDirectory(dir=place) as folder:
        store = CountingStore.open(folder)
        assert isinstance(store, CountingStore)
        with store:
            left = cluster.seconds
            for outcome in Simulation(cluster, store).parts(each):
                yield figures_of(replace(cluster, seconds=min(each, left)), outcome, costs)
                left -= each


def swept(base: Cluster, seeds: Iterable[int]) -> dict[str, list[Cluster]]:
    """The clusters of docs/scaling.md, by what is varied in each series."""
    together = {
        "sprites": [
            replace(base, gpus=base.gpus // 10, sprites_a_day=n * 1e6, newcomers_first=first)
            for n in (0.5, 1.0, 1.5, 3.0)
            for first in (False, True)
        ],
        "workers": [replace(base, gpus_each=n) for n in (20, 4, 1)],
        "owners": [replace(base, owners=n) for n in (1, 50, 500)],
    }
    return {
        name: [replace(one, seed=seed) for one in clusters for seed in seeds]
        for name, clusters in together.items()
    }


def _measured(url: str) -> dict[str, Any]:
    from scripts.cluster import costs

    found: dict[str, Any] = {"python": platform.python_version(), "cores": os.cpu_count()}
    for owners in (1, 50, 500):
        with costs.emptied(url) as empty:
            found[f"cpu_ms_{owners}_owners"] = costs.measured(empty, owners)
            if owners == 50:
                found["connections"] = costs.connections(empty, 1000)
                most = found["connections"]["opened"] - 5
                counts = [n for n in (1, 10, 50, 100, 250, 500) if n < most]
                found["notifications"] = [costs.notifications(empty, n) for n in counts]
    return found


def _costs(path: Path | None, owners: int) -> dict[str, float] | None:
    if path is None:
        return None
    found = json.loads(path.read_text(encoding="utf-8"))
    known = [int(name.split("_")[2]) for name in found if name.startswith("cpu_ms_")]
    nearest = min(known, key=lambda count: abs(count - owners))
    costs: dict[str, float] = found[f"cpu_ms_{nearest}_owners"]
    return costs


def _sweep(base: Cluster, options: argparse.Namespace) -> dict[str, list[ClusterFigures]]:
    found: dict[str, list[ClusterFigures]] = {}
    for name, clusters in swept(base, options.seeds).items():
        if options.series and name not in options.series:
            continue
        found[name] = []
        for cluster in clusters:
            made = simulated(cluster, _costs(options.costs, cluster.owners))
            print(f"{name}: {made.words()}", file=sys.stderr, flush=True)
            found[name].append(made)
    return found


def _read(path: Path) -> dict[str, list[ClusterFigures]]:
    """What a sweep printed."""
    found = json.loads(path.read_text(encoding="utf-8"))
    return {
        name: [ClusterFigures(**{**one, "cluster": Cluster(**one["cluster"])}) for one in made]
        for name, made in found.items()
    }


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    usual = {field.name: field.default for field in fields(Cluster)}
    for name in ("gpus", "models", "owners", "together", "backlog", "lead"):
        parser.add_argument(f"--{name}", type=int, default=usual[name])
    parser.add_argument("--gpus-each", type=int, default=usual["gpus_each"], help="of a worker")
    parser.add_argument("--sprites", type=float, default=usual["sprites_a_day"], help="a day")
    parser.add_argument("--seconds", type=float, default=usual["seconds"], help="that are counted")
    parser.add_argument("--part", type=float, metavar="S", help="figures of so many s each")
    parser.add_argument("--warm-up", type=float, default=usual["warm_up"], help="s before them")
    parser.add_argument("--job", type=float, default=usual["job"], help="s of a job")
    parser.add_argument("--load", type=float, default=usual["load"], help="s to load a model")
    parser.add_argument("--wake", choices=["poll", "all", "model"], default=usual["wake"])
    parser.add_argument("--head-start", type=float, default=usual["head_start"], metavar="S")
    parser.add_argument("--newcomers-first", action="store_true", help="as in a batch")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1], help="a run for each")
    parser.add_argument("--costs", type=Path, metavar="FILE", help="what --measure printed")
    parser.add_argument("--measure", metavar="URL", help="measure the costs on a PostgreSQL")
    parser.add_argument("--sweep", action="store_true", help="the tables of docs/scaling.md")
    parser.add_argument("--series", nargs="+", help="only these of the sweep")
    parser.add_argument("--plots", type=Path, metavar="DIR", help="draw the sweep there")
    parser.add_argument("--drawn", type=Path, metavar="FILE", help="draw what --sweep printed")
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


def _cluster(options: argparse.Namespace) -> Cluster:
    values: dict[str, Any] = {one.name: getattr(options, one.name, 0) for one in fields(Cluster)}
    values |= {"sprites_a_day": options.sprites, "seed": options.seeds[0]}
    return Cluster(**values)


def main() -> None:
    arguments = _arguments()
    options = arguments.parse_args()
    if options.part is not None and not options.part > 0:
        arguments.error("--part takes more than 0 s")
    base = _cluster(options)
    if options.measure:
        print(json.dumps(_measured(options.measure), indent=2))
        return
    if options.sweep or options.drawn:
        found = _read(options.drawn) if options.drawn else _sweep(base, options)
        if options.plots:
            from scripts.cluster.plots import draw

            draw(found, options.plots)
        if options.sweep:
            print(json.dumps({name: [asdict(one) for one in made] for name, made in found.items()}))
        return
    costs = _costs(options.costs, base.owners)
    for seed in options.seeds:
        for one in in_parts(replace(base, seed=seed), options.part or base.seconds, costs):
            print(json.dumps(asdict(one)) if options.json else one.words(), flush=True)


if __name__ == "__main__":
    main()
