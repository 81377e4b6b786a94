"""A mutant: one module with one change."""

from __future__ import annotations

from dataclasses import dataclass

from scripts.mutation.targets import MutationTarget


@dataclass(frozen=True)
class Mutant:
    """One change of one module. `occurrence` counts what the operator finds in the module."""

    target: MutationTarget
    path: str
    line: int
    operator: str
    occurrence: int
    # what is changed, and what to
    before: str
    after: str
    code: str

    @property
    def key(self) -> str:
        """The same wherever its line stands in the module."""
        what = (self.path, self.operator, self.occurrence, self.before, self.after)
        return repr(what)

    def __str__(self) -> str:
        return f"{self.path}:{self.line}  {self.before}  ->  {self.after}"
