"""The nodes' help pages: one a node and language, with a picture and names that hold."""

from __future__ import annotations

import asyncio
import json
import re
import runpy
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from PIL import Image

from comfy_nodes.native.help import PAGES, WEB, help_file, serve_help
from comfy_nodes.native.web_files import serve_web

REPOSITORY = Path(__file__).resolve().parent.parent.parent
BUILD = runpy.run_path(str(REPOSITORY / "scripts" / "build_locales.py"))
LANGUAGES: tuple[str, ...] = BUILD["LANGUAGES"]
# How the editor finds what a page links to: beside the English pages, in every language.
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
BOLD = re.compile(r"\*\*(.+?)\*\*")


def definitions(language: str) -> dict[str, Any]:
    path = BUILD["LOCALES"] / language / "nodeDefs.json"
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


NODES = sorted(definitions("en"))


def page(node: str, language: str) -> str:
    return str(BUILD["page_path"](node, language).read_text(encoding="utf-8"))


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("node", NODES)
def test_a_page_has_its_picture_and_a_recipe(node: str, language: str) -> None:
    text = page(node, language)
    links = LINK.findall(text)
    assert f"{node}/{BUILD['PICTURE']}" in links
    for link in links:
        assert (PAGES / link).is_file(), link
    recipe = text.partition(BUILD["BEGIN"])[2].partition(BUILD["END"])[0]
    assert len(re.findall(r"^\d\. ", recipe, re.MULTILINE)) >= 2


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("node", NODES)
def test_what_a_recipe_names_is_on_the_canvas_in_that_language(node: str, language: str) -> None:
    known = definitions(language)
    labels = {entry["display_name"] for entry in known.values()}
    for one in (*known[node]["inputs"].values(), *known[node]["outputs"].values()):
        labels.add(one.get("name"))
    # Some recipes tell which output of another node is linked.
    others = {one.get("name") for entry in known.values() for one in entry["outputs"].values()} | {
        one["name"] for entry in known.values() for one in entry["inputs"].values()
    }
    recipe = page(node, language).partition(BUILD["BEGIN"])[2].partition(BUILD["END"])[0]
    assert set(BOLD.findall(recipe)) <= labels | others


def test_every_file_is_a_page_or_a_picture_of_a_node() -> None:
    files = {path.relative_to(PAGES).as_posix() for path in PAGES.rglob("*") if path.is_file()}
    pages = {BUILD["page_path"](node, one) for node in NODES for one in LANGUAGES}
    wanted = {path.relative_to(PAGES).as_posix() for path in pages}
    assert files == wanted | {f"{node}/{BUILD['PICTURE']}" for node in NODES}


def test_pictures_are_small_enough_to_come_with_the_pack() -> None:
    sizes = {path: path.stat().st_size for path in PAGES.rglob("*.png")}
    assert max(sizes.values()) < 80_000
    for path in sizes:
        with Image.open(path) as picture:
            assert 100 < picture.width <= 1200


# ------------------------------------------------------------------------- the page for artists

ARTISTS = (REPOSITORY / "docs" / "artists.md").read_text(encoding="utf-8")


def test_the_page_for_artists_names_nodes_settings_and_templates_that_are_there() -> None:
    known = definitions("en").values()
    nodes = {one["display_name"] for one in known}
    assert set(BOLD.findall(ARTISTS)) <= nodes
    named = re.findall(r"templates? \*(\w+)\*(?:, or \*(\w+)\*)?", ARTISTS)
    templates = {one for pair in named for one in pair if one}
    assert len(templates) >= 6
    assert templates <= {path.stem for path in (REPOSITORY / "workflows").glob("*.json")}
    settings = {name for one in known for name in one["inputs"]}
    assert set(re.findall(r"\*([a-z]+_[a-z_]+)\*", ARTISTS)) <= settings | templates


def test_the_page_for_artists_has_its_pictures_and_short_chapters() -> None:
    for link in LINK.findall(ARTISTS):
        if not link.startswith("#"):
            assert (REPOSITORY / "docs" / link.partition("#")[0]).is_file(), link
    chapters = ARTISTS.split("\n## ")[1:]
    pictured = [one for one in chapters if "](images/" in one]
    assert len(pictured) == 6
    # Two screens of a browser at its usual size.
    assert max(len(one.splitlines()) for one in chapters) <= 45


# ------------------------------------------------------------------------- how they are served


def test_a_language_without_a_page_gets_the_english_one() -> None:
    assert help_file("SpriteworksSnap", "zh.md") == PAGES / "SpriteworksSnap" / "zh.md"
    assert help_file("SpriteworksSnap", "ko.md") == PAGES / "SpriteworksSnap.md"
    assert help_file("SpriteworksSnap", "en.md") == PAGES / "SpriteworksSnap.md"
    assert help_file("SpriteworksSnap", "ko.png") is None
    assert help_file("SpriteworksNothing", "en.md") is None


def test_without_comfyuis_server_nothing_is_served(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "server", raising=False)
    serve_help()
    monkeypatch.setitem(sys.modules, "server", SimpleNamespace(PromptServer=SimpleNamespace()))
    serve_help()


def test_the_server_answers_for_pages_and_for_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    routes = web.RouteTableDef()
    server = SimpleNamespace(PromptServer=SimpleNamespace(instance=SimpleNamespace(routes=routes)))
    served = {"my-sprites-1.2": str(WEB), "sprites (1) ö": str(WEB), "other": str(WEB.parent)}
    monkeypatch.setitem(sys.modules, "server", server)
    monkeypatch.setitem(sys.modules, "nodes", SimpleNamespace(EXTENSION_WEB_DIRS=served))
    serve_help()
    serve_help()  # the pack is installed twice
    assert len(routes) == 3
    serve_web(WEB, WEB)

    async def answers(*paths: str) -> list[tuple[int, str]]:
        application = web.Application()
        application.add_routes(routes)
        # As ComfyUI does it, after the routes of packs.
        for name, folder in served.items():
            application.add_routes([web.static(f"/extensions/{name}", folder)])
        async with TestClient(TestServer(application)) as client:
            return [
                (answer.status, (await answer.text())[:6] if answer.status == 200 else "")
                for answer in [await client.get(f"/extensions/{path}") for path in paths]
            ]

    found = asyncio.run(
        answers(
            "my-sprites-1.2/docs/SpriteworksSnap/en.md",
            "my-sprites-1/docs/SpriteworksSnap/pt-BR.md",
            "my-sprites-1.2/docs/SpriteworksSnap/ja.md",
            "my-sprites-1.2/docs/SpriteworksSnap.md",
            "sprites%20(1)%20%C3%B6/docs/SpriteworksSnap/ja.md",
            "sprites%20(1)%20%C3%B6/docs/SpriteworksSnap/ko.md",
            "my-sprites-1.2/docs/SpriteworksNothing/en.md",
            "my-sprites-1.2/docs/SpriteworksSnap/..%2F..%2F..%2Fsnap.py",
            "other/docs/SpriteworksSnap/en.md",
        )
    )
    english, japanese = page("SpriteworksSnap", "en")[:6], page("SpriteworksSnap", "ja")[:6]
    wanted = (english, english, japanese, english, japanese, english)
    assert found[:6] == [(200, one) for one in wanted]
    assert [status for status, _ in found[6:]] == [404, 404, 404]
