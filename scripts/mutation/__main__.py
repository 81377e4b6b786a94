"""Changes the code that decides in small ways, and looks whether a test fails at each.

    scripts/mutate
    scripts/mutate --only retry --count 20
    scripts/mutate --only graph.py --minutes 5 --json

What it changes and by which tests: scripts/mutation/targets.py. The mutants are cosmic-ray's, drawn
by the seed; each runs the tests that run its line, in a copy of the tree, then, where none of them
fails, the others of its target. Those that a person found to be no change at all stand with the
reason in scripts/mutation/equivalents.yaml. Results are kept in build/mutants for as long as the
module and its tests stay the same, so the same command goes on where the last one ended.

Exit status: 0 where at least 95% of the mutants that are no equivalents were killed, 1 below, 2
where it cannot work, 3 where the time was up before all were tried.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))


def main() -> int:
    options = _options()
    try:
        from scripts.mutation import judging
    except ModuleNotFoundError as error:
        if error.name != "cosmic_ray":
            print(f"mutate: {error.name} is missing; ./scripts/test makes .venv", file=sys.stderr)
        else:
            line = f"{sys.executable} -m pip install cosmic-ray"
            print(f"mutate: cosmic-ray is missing: {line}", file=sys.stderr)
        return 2
    return judging.judge(
        seed=options.seed,
        count=options.count,
        seconds=options.minutes * 60,
        only=options.only,
        as_json=options.json,
    )


def _options() -> argparse.Namespace:
    description, _, rest = (__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser(
        prog="scripts/mutate",
        description=description,
        epilog=rest,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seed", type=int, default=1, help="which mutants are drawn (1)")
    parser.add_argument("--count", type=_positive(int), default=300, help="how many (300)")
    parser.add_argument(
        "--minutes", type=_positive(float), default=40.0, help="when no more are begun (40)"
    )
    parser.add_argument(
        "--only", metavar="MODULE", help="a target, or a module by the end of its path"
    )
    parser.add_argument("--json", action="store_true", help="the results as JSON on stdout")
    return parser.parse_args()


def _positive(kind: type[int] | type[float]) -> Callable[[str], float]:
    def read(text: str) -> float:
        value = kind(text)
        if not 0 < value < 1_000_000:
            raise argparse.ArgumentTypeError(f"{text} is not above 0")
        return value

    read.__name__ = kind.__name__
    return read


if __name__ == "__main__":
    sys.exit(main())
