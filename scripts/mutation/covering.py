"""Which tests run a line, asked of coverage once for each state of modules and tests."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from coverage import CoverageData

from scripts.mutation.mutants import Mutant
from scripts.mutation.targets import MutationTarget
from scripts.mutation.trying import Copy, Observed

# s for the tests of one target, which take 10 s on a free core
LIMIT = 900.0


class MutationFailed(Exception):
    """One sentence for the person who called."""


@dataclass(frozen=True)
class Covering:
    """Of one target: s that each test took, and the contexts that coverage has for each line."""

    seconds: dict[str, float]
    lines: dict[str, dict[str, list[str]]]

    def tests(self, mutant: Mutant) -> list[str]:
        """The tests that run its line, the quickest first; all of them for what an import runs."""
        contexts = self.lines.get(mutant.path, {}).get(str(mutant.line), [])
        found: set[str] = set()
        for context in contexts:
            test, _, phase = context.rpartition("|")
            if phase == "run":
                found.add(test)
            else:
                # A fixture may serve every test of the file, and an import every test at all.
                file = test.partition("::")[0]
                found.update(one for one in self.seconds if one.startswith(file))
        return sorted(found & set(self.seconds), key=lambda one: (self.seconds[one], one))


def digest(tree: Path, paths: Iterable[str]) -> str:
    """What stands in these files of a tree."""
    found = hashlib.sha256()
    for path in paths:
        found.update(hashlib.sha256((tree / path).read_bytes()).digest())
    return found.hexdigest()[:16]


def covering(target: MutationTarget, copy: Copy, cache: Path) -> Covering:
    """Run the tests of `target` with coverage, unless that has been done.

    Raises:
        Failed: they do not pass as they are.
    """
    modules, tests = list(target.module_paths()), target.test_paths()
    kept = cache / f"{target.name}-{digest(copy.tree, [*modules, *tests])}.json"
    if kept.is_file():
        return Covering(**json.loads(kept.read_text(encoding="utf-8")))
    print(f"Asking coverage about the tests of {target.name}.", file=sys.stderr, flush=True)
    data = copy.folder / "coverage"
    packages = sorted({path.partition("/")[0] for path in modules})
    options = [f"--cov={package}" for package in packages]
    options += ["--cov-context=test", "--cov-report=", "--cov-fail-under=0"]
    # the core that Python 3.14 prefers knows no contexts
    environment = {"COVERAGE_FILE": str(data), "COVERAGE_CORE": "ctrace"}
    observed = copy.run([*options, *tests], LIMIT, environment)
    if not observed.passed:
        raise MutationFailed(_why(target, observed, copy))
    found = Covering(observed.seconds, _lines(data, copy, modules))
    kept.write_text(json.dumps(asdict(found)), encoding="utf-8")
    return found


def _lines(data: Path, copy: Copy, modules: list[str]) -> dict[str, dict[str, list[str]]]:
    record = CoverageData(basename=str(data))
    record.read()
    return {
        path: {
            str(line): sorted(contexts)
            for line, contexts in record.contexts_by_lineno(str(copy.tree / path)).items()
        }
        for path in modules
    }


def _why(target: MutationTarget, observed: Observed, copy: Copy) -> str:
    what = observed.failed or f"all of it (no answer within {LIMIT:.0f} s)"
    tail = copy.log.read_text(encoding="utf-8", errors="replace")[-2000:]
    return f"the tests of {target.name} fail as they are: {what}\n{tail}"
