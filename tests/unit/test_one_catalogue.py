"""What an input or a node is, is decided in `orchestrator.workflow`, and nowhere else."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent / "orchestrator"
# Who may have the undecoded answer in hand: those that fetch it, read it from a file, or make it.
CARRIERS = {
    "client/client.py",
    "runs/converting.py",
    "cli.py",
    "library.py",
    "testing",
    "engine/host",
    "engine/nodes",
    "engine/serving",
    "workflow/catalogue.py",
    "workflow/inputs.py",
}
# What stands in declarations and nowhere else.
DECLARED = {
    "control_after_generate",
    "image_upload",
    "forceInput",
    "dynamicPrompts",
    "multiselect",
    "socketless",
    "widgetType",
    "slotType",
    "output_node",
    "input_order",
}
# The tables of what no server says.
TABLES = {"core_nodes.py", "editor.py"}


NAMES = sorted(path.relative_to(ROOT).as_posix() for path in ROOT.rglob("*.py"))


def nodes_of(name: str) -> Iterator[ast.AST]:
    return ast.walk(ast.parse((ROOT / name).read_text(encoding="utf-8")))


def carries(name: str) -> bool:
    return any(name == one or name.startswith(f"{one}/") for one in CARRIERS)


@pytest.mark.parametrize("name", NAMES)
def test_nobody_else_reads_declarations(name: str) -> None:
    if carries(name):
        return
    for node in nodes_of(name):
        names = {getattr(node, key, None) for key in ("id", "attr", "arg")}
        assert "object_info" not in names, f"{name} has an undecoded /object_info in hand"
        if name.startswith("workflow/"):
            continue
        assert not (isinstance(node, ast.Attribute) and node.attr == "extra"), (
            f"{name}, line {node.lineno}, reads a declaration: ask the Input"
        )
        assert not (isinstance(node, ast.Constant) and node.value in DECLARED), (
            f"{name}, line {node.lineno}, knows {node.value!r}: ask the Input"
        )


@pytest.mark.parametrize("name", NAMES)
def test_nobody_else_lists_classes(name: str) -> None:
    """Collections of names of node classes: two or more of ComfyUI's or ours in one place."""
    if name.startswith(("engine/", "testing/")) or name.removeprefix("workflow/") in TABLES:
        return
    known = {"KSampler", "VAEDecode", "SaveImage", "LoadImage", "CheckpointLoaderSimple"}
    for node in nodes_of(name):
        if isinstance(node, ast.Set | ast.List | ast.Tuple | ast.Dict):
            parts = node.keys if isinstance(node, ast.Dict) else node.elts
            texts = [part.value for part in parts if isinstance(part, ast.Constant)]
            listed = [
                text
                for text in texts
                if text in known or (isinstance(text, str) and text.startswith("Spriteworks"))
            ]
            assert not listed, f"{name}, line {node.lineno}, lists {listed}: ask the catalogue"
