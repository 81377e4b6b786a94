"""Which modules decide, and which tests hold each to its word."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent


@dataclass(frozen=True)
class MutationTarget:
    """Modules, as patterns below the repository, and the unit tests of them, by name."""

    name: str
    modules: tuple[str, ...]
    tests: str

    def module_paths(self) -> Iterator[str]:
        """The modules, relative to the repository, with forward slashes."""
        for pattern in self.modules:
            for path in sorted(ROOT.glob(pattern)):
                if path.name != "__init__.py":
                    yield path.relative_to(ROOT).as_posix()

    def test_paths(self) -> list[str]:
        return [f"tests/unit/test_{name}.py" for name in self.tests.split()]


# Coverage says which of these tests run a line; the table keeps that question short.
TARGETS = (
    MutationTarget(
        "workflow",
        ("orchestrator/workflow/*.py",),
        "conversion graph roles texts canvas layout signatures embeddings catalogue documents "
        "numbering promotion values absent_values batch_graphs workflows workflow_damage "
        "hostile_json editor_recordings conversion_judge",
    ),
    MutationTarget("retry", ("orchestrator/batch/logic/retry.py",), "retry scheduler"),
    MutationTarget("scheduler", ("orchestrator/batch/logic/scheduler.py",), "scheduler dispatcher"),
    MutationTarget(
        "claims",
        (
            "orchestrator/batch/execution/claims.py",
            "orchestrator/batch/execution/job_queue.py",
            "orchestrator/batch/execution/leases.py",
            "orchestrator/batch/execution/store/statements.py",
        ),
        "job_queue store leases worker dispatcher fairness",
    ),
    MutationTarget("gates", ("orchestrator/batch/logic/gates.py",), "gates judging"),
    MutationTarget("hub", ("comfy_nodes/hub/checking.py",), "hub_checking hub"),
    MutationTarget("settings", ("comfy_nodes/settings.py",), "pack_settings settings_inputs"),
)


def chosen(only: str | None) -> list[tuple[MutationTarget, str]]:
    """Targets with a module each; `only` names a target, or a module by its path or its end.

    Raises:
        LookupError: nothing has that name.
    """
    pairs = [(target, path) for target in TARGETS for path in target.module_paths()]
    if only is None:
        return pairs
    wanted = only.replace("\\", "/")
    found = [
        (target, path)
        for target, path in pairs
        if wanted == target.name or f"/{path}".endswith(f"/{wanted}")
    ]
    if not found:
        names = ", ".join(target.name for target in TARGETS)
        raise LookupError(f"{only} is none of {names}, nor a module of theirs")
    return found
