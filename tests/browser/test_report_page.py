"""The report in a real browser: filter, zoom, keyboard, without JavaScript, and no request leaves.

Needs a Chromium, and Playwright where this Python finds it (`pip install playwright`; no browser
download is needed).
"""

from __future__ import annotations

import importlib.util
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from typer.testing import CliRunner

from orchestrator.batch.execution.store.store import Store
from orchestrator.batch.logic.jobs import State
from orchestrator.batch.reporting.report import page as report
from orchestrator.cli import app

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
        shown = self.page.locator("#sheet figcaption .name").all_text_contents()
        return [text.split(" · ")[0] for text in shown]


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


# ------------------------------------------------------------------ captions, sizes, comparing


def test_prompts_are_captions(visit: Visit) -> None:
    captions = visit.page.locator("#sheet figcaption .prompt").all_text_contents()
    assert captions[3:6] == ["a red pötion", "a green pötion", "a blue pötion"]


def test_pixels_at_their_true_size_and_four_times(visit: Visit) -> None:
    image = visit.page.locator("#sheet img").nth(5)
    sizes = {}
    for name in ("true size", "4×", "fit"):
        visit.page.locator("#scales").get_by_label(name).check()
        sizes[name] = image.evaluate("one => [one.width, one.height]")
    assert sizes["true size"] == [16, 24]
    assert sizes["4×"] == [64, 96]
    assert sizes["fit"] == [80, 120]
    visit.page.locator("#sheet .stage").nth(5).click()
    visit.page.locator("#zoom-scales").get_by_label("4×").check()
    large = visit.page.locator("#zoom-stage img")
    assert large.evaluate("one => [one.width, one.height]") == [64, 96]


def test_a_screen_with_odd_pixels_still_shows_whole_ones(chromium: Any, folder: Path) -> None:
    context = chromium.new_context(device_scale_factor=1.5)
    page = context.new_page()
    page.goto((folder / "report.html").as_uri())
    page.locator("#scales").get_by_label("4×").check()
    box = page.locator("#sheet img").nth(5).bounding_box()
    # Two pixels of the screen for one, four times.
    assert box["width"] * 1.5 == pytest.approx(16 * 8, abs=0.01)
    context.close()


def test_two_seeds_side_by_side(visit: Visit) -> None:
    page = visit.page
    page.locator("#sheet .stage").nth(4).click()
    page.get_by_role("button", name="Compare", exact=True).click()
    # The next seed of the same text and parameters.
    assert page.text_content("#zoom-name") == "potion-green-4 and potion-green-10"
    assert page.locator("#zoom-stage img").count() == 2
    table = page.locator(".differences")
    assert table.locator("tbody th").all_text_contents() == ["seed"]
    assert table.locator("td").all_text_contents() == [str(2**64 - 5), str(2**64 - 11)]
    page.locator("#zoom-name").focus()
    page.keyboard.press("ArrowRight")
    assert page.text_content("#zoom-name") == "potion-green-4 and potion-green-16"
    page.get_by_label("Compare with").select_option("potion-green-22")
    assert page.text_content("#zoom-name") == "potion-green-4 and potion-green-22"
    page.keyboard.press("Escape")


def test_any_two_are_compared_by_the_keyboard(visit: Visit) -> None:
    page = visit.page
    page.locator("#sheet .stage").nth(6).focus()
    page.keyboard.press("c")
    assert "potion-red-6 is held" in page.locator("#held").inner_text()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("c")
    assert page.text_content("#zoom-name") == "potion-red-6 and potion-green-7"
    names = page.locator(".differences tbody th").all_text_contents()
    assert names == ["seed", "cfg", "prompt"]
    page.keyboard.press("Escape")


# ------------------------------------------------------------------ picking and rejecting


@pytest.fixture
def judged(chromium: Any, tmp_path: Path) -> Iterator[Visit]:
    """A batch of its own, in a folder whose name a shell must be shown."""
    made = tmp_path / "it's päckchen 1"
    load("batch_folder").make(made, 12)
    report.write(made)
    context = chromium.new_context(viewport={"width": 1300, "height": 900})
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    visit = Visit(context.new_page(), made)
    yield visit
    assert visit.complaints == []
    context.close()


def test_what_is_rejected_is_a_file_for_retry(judged: Visit, tmp_path: Path) -> None:
    page = judged.page
    page.locator("#sheet .stage").nth(1).focus()
    page.keyboard.press("x")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("p")
    page.get_by_role("button", name="Reject potion-red-3").click()
    assert page.locator("#review-count").inner_text() == "1 picked, 2 rejected"
    with page.expect_download() as expected:
        page.get_by_role("button", name="Save the review").click()
    saved = tmp_path / expected.value.suggested_filename
    expected.value.save_as(saved)
    page.get_by_role("button", name="Copy the command").click()
    page.get_by_role("button", name="Copied").wait_for()
    words = shlex.split(page.evaluate("navigator.clipboard.readText()"))
    assert words == ["spriteworks", "batch", "retry", str(judged.folder), "--rejected", saved.name]
    result = CliRunner().invoke(app, [*words[1:-1], str(saved)])
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("2 jobs wait again")
    with Store.open(judged.folder) as store:
        waiting = [one.job.item_id for one in store.entries(State.PENDING) if one.job.roll]
        assert len(waiting) == 2
    told = json.loads(saved.read_text("utf-8"))
    assert [one["name"] for one in told["picked"]] == ["potion-blue-2"]


def test_a_review_outlives_the_page_but_not_the_picture(judged: Visit) -> None:
    page = judged.page
    for name in ("potion-red-3", "potion-blue-2"):
        page.get_by_role("button", name=f"Reject {name}").click()
    page.reload()
    assert page.locator("#review-count").inner_text() == "0 picked, 2 rejected"
    # Another picture in its place, as after the next run.
    with Store.open(judged.folder) as store:
        (artifact,) = (one for one in store.artifacts() if one.path == "potion-red-3.png")
        store.record_artifact(replace(artifact, sha256="0" * 64))
    report.write(judged.folder)
    page.reload()
    assert page.locator("#review-count").inner_text() == "0 picked, 1 rejected"
    pressed = page.get_by_role("button", name="Reject potion-blue-2")
    assert pressed.get_attribute("aria-pressed") == "true"


def test_only_what_was_picked_is_shown(judged: Visit) -> None:
    page = judged.page
    page.locator("#sheet .stage").nth(4).click()
    page.keyboard.press("p")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("x")
    page.keyboard.press("Escape")
    names = {}
    for button in ("picked 1", "rejected 1", "not judged 7"):
        page.locator("#opinions").get_by_role("button", name=button).click()
        names[button] = judged.names()
    assert names["picked 1"] == ["potion-green-4"]
    assert names["rejected 1"] == ["potion-blue-5"]
    assert len(names["not judged 7"]) == 7
    page.get_by_role("button", name="Clear").click()
    assert not page.locator("#review").is_visible()


# ------------------------------------------------------------------ a real batch


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Path:
    """The shipped frames, made by an engine of our own."""
    out: Path = tmp_path_factory.mktemp("frames") / "out"
    manifest = repository / "workflows" / "batches" / "frames.yaml"
    command = [sys.executable, "-m", "orchestrator", "batch", "run", str(manifest)]
    done = subprocess.run(
        [*command, "--out", str(out), "--engines", "1"],
        capture_output=True,
        text=True,
        encoding="utf-8",
        cwd=out.parent,
        env={**os.environ, "PYTHONPATH": str(repository)},
        timeout=280,
    )
    assert done.returncode == 0, done.stderr
    return out


@pytest.mark.timeout(400)
def test_the_frames_of_a_real_batch_play(chromium: Any, walk: Path) -> None:
    page = chromium.new_page(viewport={"width": 1300, "height": 900})
    visit = Visit(page, walk)
    player = page.locator("#players figure")
    player.scroll_into_view_if_needed()
    assert player.locator(".prompt").inner_text() == "walk"
    shown = player.locator(".name")
    first = shown.inner_text()
    page.wait_for_function(
        "was => document.querySelector('#players .name').textContent !== was", arg=first
    )
    player.get_by_role("button", name="Pause walk").click()
    frames = len(list((walk / "walk").glob("*.png")))
    player.get_by_label("Frame of walk").fill("0")
    assert shown.inner_text() == f"frame 1 of {frames}, 10 a second"
    # The finished frame, which the export aligned on its canvas of 32 by 38.
    read = """canvas => [canvas.width, canvas.height]"""
    assert player.locator("canvas").evaluate(read) == [32, 38]
    drawn = player.locator("canvas").screenshot()
    player.get_by_label("Frame of walk").fill("1")
    assert player.locator("canvas").screenshot() != drawn
    player.get_by_role("button", name="Play walk").click()
    assert visit.complaints == []
    inside = walk.as_uri()
    assert [url for url in visit.requests if not url.startswith((inside, "data:"))] == []
    page.close()


@pytest.mark.timeout(400)
def test_a_person_who_wants_no_motion_gets_none(chromium: Any, walk: Path) -> None:
    page = chromium.new_page(reduced_motion="reduce")
    page.goto((walk / "report.html").as_uri())
    page.locator("#players").scroll_into_view_if_needed()
    assert page.get_by_role("button", name="Play walk").is_visible()
    page.close()
