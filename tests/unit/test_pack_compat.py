"""The list of ComfyUI's names that the pack uses: that it is whole, and what it says."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from comfy_nodes import folders
from comfy_nodes.errors import UnsupportedHost
from comfy_nodes.native import compat
from orchestrator.engine import host

host.install()

# Modules whose names every ComfyUI has had: arguments, constants of formats, a bar of progress.
PLAIN = {"comfy.cli_args", "comfy.latent_formats"}
THROUGH_OBJECTS = {"LoadedModel", "unet_offload_device", "disable_weight_init"}


def used(source: str) -> Iterator[tuple[str, str]]:
    """(module, first name) of ComfyUI's that a file imports or reaches through a module."""
    tree = ast.parse(source)
    modules: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for one in node.names:
                if one.name.split(".")[0] in ("comfy", "folder_paths"):
                    modules[one.asname or one.name] = one.name
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("comfy."):
            yield from ((str(node.module), one.name) for one in node.names)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) in modules:
            yield modules[ast.unparse(node.value)], node.attr


def test_all_that_is_used_is_listed(repository: Path) -> None:
    listed = {(one.module, one.name.split(".")[0]) for one in compat.NAMES}
    modules = {one.module for one in compat.NAMES}
    found = {
        pair
        for path in (repository / "comfy_nodes" / "native").glob("*.py")
        for pair in used(path.read_text(encoding="utf-8"))
        if pair[0] not in PLAIN and ".".join(pair) not in modules
    }
    assert found - listed == set()
    assert {name for _, name in listed - found} <= THROUGH_OBJECTS


def test_a_name_that_is_gone_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    gone = (
        compat.Name("json", "no_such.thing", "tests"),
        compat.Name("no_such_module", "thing", "tests"),
    )
    there = compat.Name("json", "JSONDecoder.decode", "tests")
    monkeypatch.setattr(compat, "NAMES", (there, *gone))
    compat.missing.cache_clear()
    try:
        with pytest.raises(UnsupportedHost) as caught:
            compat.require_host()
        assert compat.missing() == gone
    finally:
        compat.missing.cache_clear()
    said = str(caught.value)
    assert "has no json.no_such.thing and 1 more, which Spriteworks needs for tests: update" in said
    assert compat.OLDEST in said
    assert compat.NEWEST in said


def test_the_newer_memory_management_is_switched_off_where_there_is_one() -> None:
    def old(path: str) -> None: ...

    def new(path: str, disable_dynamic: bool = False) -> None: ...

    assert compat.without_dynamic_memory(old) == {}
    assert compat.without_dynamic_memory(new) == {"disable_dynamic": True}
    assert not compat.is_dynamic(object())


def test_choices_are_given_as_the_oldest_host_takes_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """As words in a list: 0.3.64 hands an Enum on as it is, and cannot write it as JSON."""
    from comfy_api.latest import io

    from comfy_nodes.extension import NODES

    given: list[tuple[Any, Any]] = []

    class Watched(io.Combo.Input):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            given.append((kwargs["options"], kwargs.get("default", "")))
            super().__init__(*args, **kwargs)

    monkeypatch.setattr(io.Combo, "Input", Watched)
    empty = SimpleNamespace(roots=lambda kind: [], checkpoint_names=lambda: ["one.safetensors"])
    monkeypatch.setattr(folders, "current", lambda: empty)
    for node in NODES:
        node.define_schema()
    assert len(given) > len(NODES)
    kinds = [(type(options), {type(one) for one in (*options, plain)}) for options, plain in given]
    assert kinds == [(list, {str})] * len(given)
