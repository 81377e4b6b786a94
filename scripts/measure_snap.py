"""How often `snap` finds the true pixels of fakes whose truth is known, and what it takes.

    python scripts/measure_snap.py --drawn 20 --seed 5
    python scripts/measure_snap.py --drawn 20 --seed 1 --tiles tiles.npz
    python scripts/measure_snap.py --folder ../shared/grid
    python scripts/measure_snap.py --blobs
    python scripts/measure_snap.py --beside --venvs DIR --tiles tiles.npz --folder ../shared/grid

What the columns say: scripts/snapping/judging.py. unsure: of the wrong and of the right sizes. CPU:
seconds of the process around the call, the median of the pictures.

With --beside the same pictures go through every other tool of scripts/snapping/contestants.py, too:
60 blobs and eight of 1024x1024 (seed 5), 180 drawn (seed 4242), and those of --folder. The tools
are installed from PyPI, each in an environment of its own below DIR, and run one after the other,
each with one thread, in a process that takes all pictures. The table is markdown.
"""

from __future__ import annotations

import argparse
import platform
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from comfy_nodes.ops.true_pixels import snap  # noqa: E402
from scripts.snapping import cases  # noqa: E402
from scripts.snapping.cases import FakeCase  # noqa: E402
from scripts.snapping.contestants import OURS, RIVALS, installed, outcomes  # noqa: E402
from scripts.snapping.judging import SnapTally, ToolOutcome, merged  # noqa: E402

_BLOBS, _OWN, _LARGE, _FOLDER = "60 blobs", "180 drawn", "1024x1024", "folder"
# of the 180
_SEED, _EACH = 4242, 20


def _snapped(case: FakeCase) -> ToolOutcome:
    begin = time.process_time()
    found = snap(case.picture)
    return ToolOutcome(found.picture, time.process_time() - begin, found.sure)


def _alone(several: Iterable[FakeCase]) -> None:
    """Measure and print a table, a row a kind."""
    tallies: dict[str, SnapTally] = defaultdict(SnapTally)
    for case in several:
        tallies[case.kind].add(case, _snapped(case))
    print(
        "kind       count  exact  solved   error   details        wrong unsure right unsure   CPU"
    )
    for kind, tally in (*tallies.items(), ("all", merged(tallies.values()))):
        print(_line(kind, tally))


def _line(name: str, tally: SnapTally) -> str:
    wrong = tally.count - tally.exact
    unsure = f"{tally.wrong_unsure} of {wrong}", f"{tally.right_unsure} of {tally.exact}"
    return (
        f"{name:10}{tally.count:6}{tally.exact:7}{tally.solved:8}{tally.error:8.2f}"
        f"{tally.kept:8}/{tally.details:<7}{unsure[0]:>10}{unsure[1]:>11}"
        f"{tally.median_seconds:8.3f}"
    )


# ------------------------------------------------------------------------------ side by side


def _beside(sets: Mapping[str, list[FakeCase]], venvs: Path) -> None:
    """Measure every tool on every set, and print both tables."""
    pythons = {OURS: Path(sys.executable)}
    pythons |= {rival.name: installed(rival, venvs) for rival in RIVALS}
    every = [case for several in sets.values() for case in several]
    found: dict[str, dict[str, dict[str, SnapTally]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for tool, python in pythons.items():
            print(f"running {tool}", file=sys.stderr)
            results = iter(outcomes(tool, python, every, Path(folder)))
            found[tool] = {}
            for name, several in sets.items():
                tallies: dict[str, SnapTally] = defaultdict(SnapTally)
                for case in several:
                    tallies[case.kind].add(case, next(results))
                found[tool][name] = tallies
    print("\n".join([*_counts(found), "", *_kinds(found), "", *_failures(found), "", _where()]))


def _named(tool: str) -> str:
    return next((f"{one.name} {one.version}" for one in RIVALS if one.name == tool), "Spriteworks")


def _counts(found: Mapping[str, Mapping[str, Mapping[str, SnapTally]]]) -> list[str]:
    sets = [name for name in next(iter(found.values())) if name != _LARGE]
    heads = [f"{name}: exact, solved" for name in sets]
    heads += ["eight of 1024x1024", "CPU s, 180", "CPU s, 1024x1024"]
    heads += ["error, exact ones", "error, all", "details kept"]
    lines = [_row(["", *heads]), _row(["---"] * (len(heads) + 1))]
    for tool, by_set in found.items():
        whole = {name: merged(tallies.values()) for name, tallies in by_set.items()}
        cells = [f"{whole[name].exact}, {whole[name].solved}" for name in sets]
        cells.append(f"{whole[_LARGE].exact}, {whole[_LARGE].solved}")
        cells += [f"{whole[name].median_seconds:.3f}" for name in (_OWN, _LARGE)]
        drawn = whole[_OWN]
        cells += [f"{drawn.error:.2f}", f"{drawn.error_of_all:.2f}"]
        cells.append(f"{drawn.kept} of {drawn.details}")
        lines.append(_row([_named(tool), *cells]))
    return lines


def _kinds(found: Mapping[str, Mapping[str, Mapping[str, SnapTally]]]) -> list[str]:
    kinds = list(next(iter(found.values()))[_OWN])
    lines = [_row(["180 drawn, exact of 20", *kinds]), _row(["---"] * (len(kinds) + 1))]
    for tool, by_set in found.items():
        counts = [str(by_set[_OWN][kind].exact) for kind in kinds]
        lines.append(_row([_named(tool), *counts]))
    return lines


def _failures(found: Mapping[str, Mapping[str, Mapping[str, SnapTally]]]) -> list[str]:
    lines = []
    for tool, by_set in found.items():
        whole = merged(tally for tallies in by_set.values() for tally in tallies.values())
        for error, count in whole.failures.most_common(3):
            lines.append(f"- {_named(tool)} failed on {count} of {whole.count}: `{error}`")
    return lines


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _where() -> str:
    """The machine, in words, and what was measured."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True
    ).stdout.strip()
    versions = f"{platform.system()} {platform.machine()}, Python {platform.python_version()}"
    return f"{versions}, {_processor()}, one thread a tool; commit {commit or 'unknown'}."


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor() or "an unknown processor"
    named = (line.split(":", 1)[1].strip() for line in text.splitlines() if "model name" in line)
    return next(named, platform.machine())


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--folder", type=Path, help="in/, truth/ and truth.json")
    parser.add_argument("--drawn", type=int, default=0, help="fakes of each kind to draw")
    parser.add_argument("--blobs", action="store_true", help="60 blobs and eight of 1024x1024")
    parser.add_argument("--seed", type=int, default=5)
    parser.add_argument("--tiles", type=Path, help="an NPZ with sprites: pixels [n, h, w, 4]")
    parser.add_argument("--beside", action="store_true", help="and every other tool")
    parser.add_argument("--venvs", type=Path, help="where the other tools are installed")
    given = parser.parse_args()
    if given.beside:
        if given.venvs is None:
            parser.error("--beside needs --venvs DIR, for the environments of the other tools")
        sets = {
            _BLOBS: list(cases.blobs(given.seed)),
            _OWN: list(cases.drawn(_SEED, given.drawn or _EACH, given.tiles)),
            _LARGE: list(cases.large(given.seed)),
        }
        if given.folder:
            sets[_FOLDER] = list(cases.in_folder(given.folder))
        _beside(sets, given.venvs)
    elif given.folder:
        _alone(cases.in_folder(given.folder))
    elif given.blobs:
        _alone([*cases.blobs(given.seed), *cases.large(given.seed)])
    else:
        _alone(cases.drawn(given.seed, given.drawn or 20, given.tiles))


if __name__ == "__main__":
    main()
