"""The import contracts of pyproject.toml hold for modules that nobody has named in them."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("importlinter", reason="no import-linter: pip install -e '.[dev]'")

ROOT = Path(__file__).parents[2]
LOGIC = ROOT / "orchestrator" / "batch" / "logic"
LINT = "from importlinter.cli import lint_imports_command as lint; lint()"

# A new module, what it imports, and what is said of it. The name is that of no module there is.
WRONG = {
    "a package of the orchestrator": ("orchestrator/newcomer.py", "json", "newcomer"),
    "a room of a batch": ("orchestrator/batch/newcomer.py", "json", "batch.newcomer"),
    "a part of the engine": ("orchestrator/engine/newcomer.py", "json", "engine.newcomer"),
    "a network in what decides": (
        "orchestrator/batch/logic/newcomer.py",
        "requests",
        "batch.logic.newcomer -> requests",
    ),
    "a file, in a package below it": (
        "orchestrator/batch/logic/manifest/newcomer.py",
        "tempfile",
        "logic.manifest.newcomer -> tempfile",
    ),
    "a clock": ("orchestrator/batch/logic/clocked.py", "time", "logic.clocked -> time"),
    "a database, by way of another module": (
        "orchestrator/batch/logic/indirect.py",
        "orchestrator.batch.execution.store.store",
        "logic.indirect -> orchestrator.batch.execution.store.store",
    ),
    "what shows in what runs": (
        "orchestrator/batch/execution/newcomer.py",
        "orchestrator.batch.reporting.live",
        "execution.newcomer -> orchestrator.batch.reporting.live",
    ),
    "a command in a client": (
        "orchestrator/client/newcomer.py",
        "orchestrator.runs.run",
        "client.newcomer -> orchestrator.runs.run",
    ),
    "the engine": (
        "orchestrator/service/newcomer.py",
        "orchestrator.engine.folders",
        "service.newcomer -> orchestrator.engine.folders",
    ),
    "a test's server": (
        "orchestrator/bench/newcomer.py",
        "orchestrator.testing.server",
        "bench.newcomer -> orchestrator.testing.server",
    ),
    "a drawing library": ("orchestrator/runs/newcomer.py", "rich", "runs.newcomer -> rich"),
    "the orchestrator in the pack": (
        "comfy_nodes/newcomer.py",
        "orchestrator.errors",
        "comfy_nodes.newcomer -> orchestrator.errors",
    ),
    "ComfyUI's inside": (
        "comfy_nodes/ops/newcomer.py",
        "folder_paths",
        "ops.newcomer -> folder_paths",
    ),
    "a network in the pack's functions": (
        "comfy_nodes/ops/measures/newcomer.py",
        "requests",
        "measures.newcomer -> requests",
    ),
}


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What import-linter says of a copy of the tree with all wrong modules in it."""
    copy = tmp_path_factory.mktemp("tree")
    shutil.copy(ROOT / "pyproject.toml", copy)
    for package in ("comfy_nodes", "orchestrator"):
        no_code = shutil.ignore_patterns("*.pyc", "web", "data")
        shutil.copytree(ROOT / package, copy / package, ignore=no_code)
    for path, imported, _ in WRONG.values():
        (copy / path).write_text(f"import {imported}\n", encoding="utf-8")
    # Two modules that import each other, in a package without layers of its own.
    for one, other in (("first", "second"), ("second", "first")):
        text = f"from . import round_{other}\n"
        (copy / "orchestrator/sprites" / f"round_{one}.py").write_text(text, encoding="utf-8")
    command = [sys.executable, "-c", LINT, "--no-cache"]
    done = subprocess.run(
        command, cwd=copy, capture_output=True, text=True, encoding="utf-8", timeout=120
    )
    assert done.returncode == 1, done.stderr
    return " ".join((done.stdout + done.stderr).split())


@pytest.mark.parametrize("wrong", WRONG)
def test_a_new_module_is_under_the_contracts(said: str, wrong: str) -> None:
    assert WRONG[wrong][2] in said


def test_modules_that_import_each_other_are_refused(said: str) -> None:
    assert "No cycles are allowed in orchestrator.sprites" in said


@pytest.mark.parametrize("path", sorted(LOGIC.rglob("*.py")), ids=lambda path: path.stem)
def test_what_decides_opens_no_file(path: Path) -> None:
    """`open` takes no import that a contract sees; `pathlib` and `io` are for names and texts."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    calls = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
    called = {function.id for function in calls if isinstance(function, ast.Name)}
    assert not called & {"open", "print", "input", "__import__"}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module in ("pathlib", "io"):
            assert {one.name for one in node.names} <= {"PurePath", "PurePosixPath", "StringIO"}
        if isinstance(node, ast.Import):
            assert "pathlib" not in {one.name for one in node.names}
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            assert node.value.id != "io" or node.attr == "StringIO"
