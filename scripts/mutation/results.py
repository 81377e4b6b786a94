"""What became of mutants: kept between calls, added up, told."""

from __future__ import annotations

import enum
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from scripts.mutation.mutants import Mutant

# of the mutants that are no equivalents
WANTED = 0.95
EQUIVALENTS = Path(__file__).resolve().parent / "equivalents.yaml"


class MutantFate(str, enum.Enum):
    """How a mutant ended."""

    KILLED = "killed"
    TIMED_OUT = "timed out"
    SURVIVED = "survived"
    # its tests took too long without it, too: to be tried again
    UNDECIDED = "undecided"


@dataclass(frozen=True)
class MutantResult:
    """How a mutant ended, and `by` which test.

    It holds for as long as the digests of the module and of the tests do: of the file of that test
    where one killed it, else of all tests of its target.
    """

    key: str
    module: str
    tests: str
    fate: MutantFate
    by: str = ""
    # s of the processor, where the tests came to an end
    cpu: float = 0.0


class MutantRecord:
    """The last result of each mutant, a line each in a file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._results: dict[str, MutantResult] = {}
        if path.is_file():
            for line in path.read_text(encoding="utf-8").splitlines():
                # the last line of a call that was killed may be half of one
                if line.endswith("}"):
                    fields = json.loads(line)
                    result = MutantResult(**{**fields, "fate": MutantFate(fields["fate"])})
                    self._results[result.key] = result

    def get(self, key: str) -> MutantResult | None:
        return self._results.get(key)

    def add(self, result: MutantResult) -> None:
        self._results[result.key] = result
        with self._path.open("a", encoding="utf-8") as file:
            file.write("\n" + json.dumps(asdict(result)))


class Equivalents:
    """Mutants that do what the code does, each with the reason why no test can tell."""

    def __init__(self, path: Path = EQUIVALENTS) -> None:
        entries = yaml.safe_load(path.read_text(encoding="utf-8")) or []
        self._reasons = {
            (entry["file"], entry["operator"], entry["before"], entry["after"]): entry["reason"]
            for entry in entries
        }

    def reason(self, mutant: Mutant) -> str | None:
        key = (mutant.path, mutant.operator, mutant.before, mutant.after)
        return self._reasons.get(key)


@dataclass(frozen=True)
class MutationReport:
    """All that a call knows: mutants with their results, `asked` of them in all."""

    asked: int
    tried: Sequence[tuple[Mutant, MutantResult]]
    equivalents: Equivalents

    @property
    def share(self) -> float:
        """Of the mutants that are no equivalents, the part that was killed; 1 for none."""
        judged = self._counts(self.tried)
        real = judged["mutants"] - judged["equivalent"]
        return (judged["killed"] + judged["timed out"]) / real if real else 1.0

    def survivors(self) -> list[tuple[Mutant, str | None]]:
        """Those that no test killed, with their reasons."""
        return [
            (mutant, self.equivalents.reason(mutant))
            for mutant, result in self.tried
            if result.fate is MutantFate.SURVIVED
        ]

    def _counts(self, results: Sequence[tuple[Mutant, MutantResult]]) -> Counter[str]:
        counts: Counter[str] = Counter()
        for mutant, result in results:
            counts["mutants"] += 1
            known = (
                result.fate is MutantFate.SURVIVED and self.equivalents.reason(mutant) is not None
            )
            counts["equivalent" if known else result.fate.value] += 1
        return counts

    def modules(self) -> dict[str, Counter[str]]:
        paths = sorted({mutant.path for mutant, _ in self.tried})
        return {
            path: self._counts([one for one in self.tried if one[0].path == path]) for path in paths
        }

    def as_json(self) -> dict[str, Any]:
        return {
            "asked": self.asked,
            "tried": len(self.tried),
            "share": round(self.share, 4),
            "modules": {path: dict(counts) for path, counts in self.modules().items()},
            "survivors": [
                {
                    "file": mutant.path,
                    "line": mutant.line,
                    "operator": mutant.operator,
                    "before": mutant.before,
                    "after": mutant.after,
                    "reason": reason,
                }
                for mutant, reason in self.survivors()
            ],
        }

    def as_text(self) -> str:
        columns = ("mutants", "killed", "timed out", "survived", "equivalent", "undecided")
        rows: list[tuple[str, ...]] = [("module", *columns)]
        for path, counts in [*self.modules().items(), ("all", self._counts(self.tried))]:
            rows.append((path, *(str(counts[column]) for column in columns)))
        width = max(len(row[0]) for row in rows)
        lines = [
            "  ".join([row[0].ljust(width), *(cell.rjust(10) for cell in row[1:])]) for row in rows
        ]
        for mutant, reason in self.survivors():
            lines += ["", f"{mutant}", f"    {mutant.operator}"]
            lines.append(f"    equivalent: {reason}" if reason else "    no test fails")
        total = self._counts(self.tried)
        real = total["mutants"] - total["equivalent"]
        killed = total["killed"] + total["timed out"]
        lines += [
            "",
            f"{killed} of {real} killed, {self.share:.1%}; {total['equivalent']} equivalent.",
        ]
        return "\n".join(lines)
