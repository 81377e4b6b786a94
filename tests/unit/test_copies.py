"""Which of several copies of the pack is used, and its files under whatever name."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from urllib.parse import quote

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from yarl import URL

from comfy_nodes import copies
from comfy_nodes.native import web_files


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """What ComfyUI's module `nodes` has when packs are loaded."""
    made = SimpleNamespace(NODE_CLASS_MAPPINGS={}, EXTENSION_WEB_DIRS={})
    monkeypatch.setitem(sys.modules, "nodes", made)  # type: ignore[arg-type]
    return made


def give(host: SimpleNamespace, package: str, file: Path, pack: str) -> Iterator[None]:
    """A node class of a copy that is loaded already."""
    module = ModuleType(f"{package}.saving")
    module.__file__ = str(file)
    sys.modules[module.__name__] = module
    attributes = {"__module__": module.__name__, "RELATIVE_PYTHON_MODULE": f"custom_nodes.{pack}"}
    host.NODE_CLASS_MAPPINGS["SpriteworksSaveSprite"] = type("SaveSprite", (), attributes)
    yield
    del sys.modules[module.__name__]


@pytest.fixture
def other(host: SimpleNamespace, tmp_path: Path) -> Iterator[Path]:
    """Another copy, in custom_nodes/other."""
    root = tmp_path / "custom_nodes" / "other"
    file = root / "comfy_nodes" / "saving.py"
    for _ in give(host, f"{root}.comfy_nodes", file, "other"):
        yield root


def test_the_first_copy_is_used(host: SimpleNamespace) -> None:
    assert copies.folder_in_use() is None
    assert Path(copies.web_directory("x")) == copies.folder() / "comfy_nodes" / "web"


def test_a_second_one_stands_aside(other: Path) -> None:
    assert copies.folder_in_use() == other
    unused = copies.folder() / "comfy_nodes" / "web_of_unused"
    assert Path(copies.web_directory("spriteworks")) == unused
    assert (unused / "twice.js").is_file()


def test_of_two_with_one_name_the_first_ones_scripts_stay(other: Path) -> None:
    assert Path(copies.web_directory("other")) == other / "comfy_nodes" / "web"


def test_its_own_nodes_and_those_of_others_are_no_second_copy(
    host: SimpleNamespace, tmp_path: Path
) -> None:
    for package in (copies.__package__, "custom_nodes.another", "comfy_extras"):
        assert package is not None
        for _ in give(host, package, tmp_path / "saving.py", "x"):
            assert copies.folder_in_use() is None


@pytest.mark.parametrize(
    "name",
    [
        "Größe 画像",
        "a b",
        "un{balanced",
        "spriteworks (1)",
        "a & b",
        "C++ art",
        "it's, mine",
        "100%",
        "größe {1}",
        "[a]=b;c@d!",
    ],
)
def test_files_are_found_as_either_side_writes_the_name(
    host: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    routes = web.RouteTableDef()
    server = SimpleNamespace(PromptServer=SimpleNamespace(instance=SimpleNamespace(routes=routes)))
    monkeypatch.setitem(sys.modules, "server", server)  # type: ignore[arg-type]
    folder = copies.web_folder()
    host.EXTENSION_WEB_DIRS.update({name: str(folder), "another (1)": "/elsewhere"})
    web_files.serve_web(folder, copies.folder() / "workflows")
    assert len(list(routes)) == 2
    # As ComfyUI lists scripts, and as JavaScript's encodeURIComponent writes a name.
    spellings = {quote(name), quote(name, safe="!~*'()")}
    for spelling in spellings:
        there = ("extensions/{}/panel.js", "workflow_templates/{}/sprite.json")
        assert statuses(routes, *(path.format(spelling) for path in there)) == [200, 200]
        gone = ("extensions/{}/%2e%2e/__init__.py", "extensions/{}/none.js")
        assert statuses(routes, *(path.format(spelling) for path in gone)) == [404, 404]


def statuses(routes: web.RouteTableDef, *paths: str) -> list[int]:
    async def ask() -> list[int]:
        app, found = web.Application(), []
        app.add_routes(routes)
        async with TestClient(TestServer(app)) as client:
            for path in paths:
                async with client.get(URL(f"/{path}", encoded=True)) as answer:
                    found.append(answer.status)
        return found

    return asyncio.run(ask())


@pytest.mark.parametrize("name", ["spriteworks", "ComfyUI_Spriteworks", "sprite.works-main"])
def test_what_comfyui_finds_itself_is_left_to_it(
    host: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    routes = web.RouteTableDef()
    server = SimpleNamespace(PromptServer=SimpleNamespace(instance=SimpleNamespace(routes=routes)))
    monkeypatch.setitem(sys.modules, "server", server)  # type: ignore[arg-type]
    host.EXTENSION_WEB_DIRS[name] = str(copies.web_folder())
    web_files.serve_web(copies.web_folder(), copies.folder() / "workflows")
    assert not list(routes)


def test_nothing_leads_out_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "web").mkdir()
    (tmp_path / "secret").write_text("x")
    for path in ("../secret", "/etc/passwd", "a/../../secret", ".", ""):
        assert web_files.file_in(tmp_path / "web", path) is None
    assert re.fullmatch(web_files.written("a (1)"), "a%20%281%29")
