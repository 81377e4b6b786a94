"""The report in a real browser: filter, zoom, keyboard, without JavaScript, and no request leaves.

Needs a Chromium, and Playwright where this Python finds it (`pip install playwright`; no browser
download is needed).
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from orchestrator.batch.reporting.report import page as report

DATA = Path(__file__).resolve().parent.parent / "data"


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, DATA / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def chromium(canvas_editor: Any) -> Iterator[Any]:
    with canvas_editor.chromium() as started:
        yield started


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("batch") / "out"
    load("batch_folder").make(made, 450)
    (made / "potion-red-3.png").unlink()
    report.write(made)
    return made


class Visit:
    """A page that is watched: what it asks for, and what goes wrong in it."""

    def __init__(self, page: Any, folder: Path) -> None:
        self.page = page
        self.folder = folder
        self.requests: list[str] = []
        self.complaints: list[str] = []
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", self._heard)
        page.goto((folder / "report.html").as_uri())

    def _heard(self, message: Any) -> None:
        if message.type in ("error", "warning") and "ERR_FILE_NOT_FOUND" not in message.text:
            self.complaints.append(message.text)

    @property
    def shown(self) -> str:
        return str(self.page.text_content("#shown"))

    def names(self) -> list[str]:
        return list(self.page.locator("#sheet figcaption").all_text_contents())


@pytest.fixture
def visit(chromium: Any, folder: Path) -> Iterator[Visit]:
    page = chromium.new_page(viewport={"width": 1300, "height": 900})
    made = Visit(page, folder)
    made.page.wait_for_selector("#sheet .stage")
    yield made
    assert made.complaints == []
    inside = folder.as_uri()
    assert [url for url in made.requests if not url.startswith((inside, "data:"))] == []
    page.close()


def test_texts_from_outside_are_only_texts(visit: Visit) -> None:
    assert visit.page.title() == "potions & <gems> – batch report"
    visit.page.locator("#sheet .stage").first.click()
    assert "onerror" in visit.page.text_content("#zoom-facts")
    assert visit.page.title() == "potions & <gems> – batch report"
    assert visit.page.locator("img[src=x]").count() == 0


def test_the_filter_narrows(visit: Visit) -> None:
    assert visit.shown == "1–200 of 450"
    visit.page.fill("#text", "GREEN cfg=7")
    assert visit.shown == "1–75 of 75 (450 in all)"
    assert all("green" in name for name in visit.names())
    visit.page.fill("#text", "steps=20 18446744073709551611")
    assert visit.names() == ["potion-green-4"]
    visit.page.fill("#text", "no such thing")
    assert visit.shown == "0 of 450"
    assert "No picture fits" in visit.page.text_content("#sheet")


def test_the_state_filter_shows_what_is_not_done(visit: Visit) -> None:
    visit.page.get_by_role("button", name="quarantined 1").click()
    assert visit.names() == ["potion-green-448"]
    visit.page.locator("#sheet .stage").click()
    facts = visit.page.text_content("#zoom-facts")
    assert "two servers died" in facts
    assert "server lost" in facts
    assert "it is quarantined" in visit.page.text_content("#zoom-stage")


def test_pages_hold_200(visit: Visit) -> None:
    visit.page.get_by_label("Next page").click()
    visit.page.get_by_label("Next page").click()
    assert visit.shown == "401–450 of 450"
    assert visit.page.get_by_label("Next page").is_disabled()
    assert visit.page.locator("#sheet figure").count() == 50


def test_a_click_zooms_and_shows_how_it_was_made(visit: Visit) -> None:
    visit.page.locator("#sheet .stage").nth(4).click()
    page = visit.page
    assert page.text_content("#zoom-name") == "potion-green-4"
    facts = page.text_content("#zoom-facts")
    for words in ("a green pötion", "18446744073709551611", "steps20", "gpu-", "KSampler", "24"):
        assert words in facts
    image = page.locator("#zoom-stage img")
    width, height = (image.evaluate(f"one => one.{side}") for side in ("width", "height"))
    assert (width % 16, height % 24) == (0, 0)
    assert width // 16 == height // 24 > 10
    assert image.evaluate("one => one.naturalWidth") == 16
    assert image.evaluate("one => getComputedStyle(one).imageRendering") == "pixelated"


def test_pictures_in_folders_with_odd_names_are_found(visit: Visit) -> None:
    image = visit.page.locator("#sheet img").nth(1)
    image.evaluate("one => one.decode()")
    assert image.evaluate("one => one.naturalWidth") == 16


def test_a_lost_file_is_said_to_be_missing(visit: Visit) -> None:
    stage = visit.page.locator("#sheet .stage").nth(3)
    stage.get_by_text("file is missing").wait_for()


def test_the_keyboard_is_enough(visit: Visit) -> None:
    page = visit.page
    page.keyboard.press("/")
    page.keyboard.type("red")
    assert visit.shown == "1–150 of 150 (450 in all)"
    page.locator("#sheet .stage").first.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    assert page.text_content("#zoom-name") == "potion-red-3"
    page.keyboard.press("ArrowRight")
    assert page.text_content("#zoom-name") == "potion-red-6"
    assert page.evaluate("location.hash") == "#/potion-red-6"
    page.keyboard.press("Escape")
    assert not page.locator("#zoom").is_visible()
    # The browser tells of the end of a dialog a moment after it.
    page.locator('[data-index="2"]:focus').wait_for()


def test_a_failure_links_to_its_picture(visit: Visit) -> None:
    visit.page.locator("#failures a").first.click()
    visit.page.locator("#zoom-name", has_text="potion-red-447").wait_for()
    assert "ran out of memory" in visit.page.text_content("#zoom-facts")


def test_every_picture_and_control_has_a_name(visit: Visit) -> None:
    nameless = """() => [...document.querySelectorAll("img, button, input")]
        .filter(one => !(one.alt || one.textContent.trim() || one.getAttribute("aria-label")
            || (one.labels && one.labels.length))).map(one => one.outerHTML)"""
    assert visit.page.evaluate(nameless) == []


@pytest.mark.parametrize("width", [360, 800, 1600])
def test_no_width_scrolls_sideways(visit: Visit, width: int) -> None:
    visit.page.set_viewport_size({"width": width, "height": 800})
    assert visit.page.evaluate("document.documentElement.scrollWidth") <= width


def test_without_javascript_the_essentials_are_there(chromium: Any, folder: Path) -> None:
    page = chromium.new_page(java_script_enabled=False)
    page.goto((folder / "report.html").as_uri())
    text = page.locator("main").inner_text()
    for words in ("447", "two servers died", "KSampler", "gpu-a"):
        assert words in text
    assert page.locator("#pictures img").count() == 447
    assert not page.locator("#filters").is_visible()
    page.close()


def test_dark_and_light_differ(chromium: Any, folder: Path) -> None:
    grounds = []
    for scheme in ("light", "dark"):
        page = chromium.new_page(color_scheme=scheme)
        page.goto((folder / "report.html").as_uri())
        grounds.append(page.evaluate("getComputedStyle(document.body).backgroundColor"))
        page.close()
    assert grounds[0] != grounds[1]
