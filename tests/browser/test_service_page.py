"""The service's page in a real browser, over the embedded engine: from the first click to a sheet.

Needs a Chromium, and Playwright where this Python finds it (`pip install playwright`; no browser
download is needed).
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import requests
from PIL import Image

PATIENCE = 90_000
INPUTS = Path(__file__).resolve().parents[2] / "workflows" / "inputs"
PAGES = ("/", "/?workflow=inpaint", "/gallery", "/batches", "/servers", "/sign-in")


@pytest.fixture(scope="module")
def chromium(canvas_editor: Any) -> Iterator[Any]:
    with canvas_editor.chromium() as started:
        yield started


@pytest.fixture(scope="module")
def url(canvas_editor: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """`spriteworks serve` as it is started on a bare machine."""
    folder = tmp_path_factory.mktemp("serve")
    environment = {key: value for key, value in os.environ.items() if "SPRITEWORKS" not in key}
    command = [sys.executable, "-m", "orchestrator", "serve", "--port", "0", "--data", str(folder)]
    log = folder / "log.txt"
    with log.open("w") as target:
        process = subprocess.Popen(command, stderr=target, env=environment)
    try:
        yield _address(process, log)
    finally:
        process.terminate()
        process.wait(60)


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    late = time.monotonic() + 120
    while time.monotonic() < late and process.poll() is None:
        lines = log.read_text().splitlines()
        found = [line.split()[-1] for line in lines if line.startswith("serving on ")]
        with suppress(requests.RequestException):
            if found and requests.get(f"{found[0]}/ready", timeout=5).status_code == 200:
                return found[0]
        time.sleep(0.2)
    raise AssertionError(log.read_text())


class Visit:
    """A page that is watched: what it asks for, and what goes wrong in it."""

    def __init__(self, page: Any, url: str) -> None:
        self.page = page
        self.url = url
        self.asked: list[str] = []
        self.complaints: list[str] = []
        page.set_default_timeout(PATIENCE)
        page.on("request", lambda request: self.asked.append(request.url))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", self._heard)

    def _heard(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)

    def go(self, path: str) -> None:
        self.page.goto(self.url + path)

    def make(self, prompt: str, count: int = 1) -> None:
        """Fill the form, post it, and wait until the pictures are on the page."""
        page = self.page
        before = page.locator(".picture img").count()
        page.get_by_label("Prompt", exact=True).fill(prompt)
        page.get_by_label("How many").fill(str(count))
        page.get_by_role("button", name="Make", exact=True).click()
        self.wait_for(lambda: page.locator(".picture img").count() >= min(before + count, 12))

    def wait_for(self, is_so: Any) -> None:
        """Wait without a string of JavaScript, which the page's policy does not let in."""
        late = time.monotonic() + PATIENCE / 1000
        while not is_so():
            assert time.monotonic() < late, self.page.inner_text("main")
            self.page.wait_for_timeout(100)


@contextmanager
def visiting(chromium: Any, url: str, **options: Any) -> Iterator[Visit]:
    """A browser of its own; at the end nothing was complained of, and nothing asked elsewhere."""
    context = chromium.new_context(**{"viewport": {"width": 1280, "height": 860}, **options})
    try:
        visit = Visit(context.new_page(), url)
        yield visit
        assert visit.complaints == []
        # "blob:" is a picture of the page's own
        assert {one for one in visit.asked if not one.startswith((url, f"blob:{url}"))} == set()
    finally:
        context.close()


def test_from_the_first_click_to_the_sheet(chromium: Any, url: str) -> None:
    with visiting(chromium, url) as visit:
        page = visit.page
        visit.go("/")
        visit.make("a red potion, pixel art, game sprite", 3)
        assert page.locator(".queue").count() == 0
        assert visit.asked.count(f"{url}/") == 1
        page.get_by_role("link", name="Gallery").first.click()
        page.wait_for_url("**/gallery")
        cards = page.locator(".picture")
        assert cards.count() == 3
        picture = cards.first.locator("img")
        assert picture.evaluate("one => one.naturalWidth > 0")
        assert picture.evaluate("one => getComputedStyle(one).imageRendering") == "pixelated"
        stage = cards.first.locator(".stage")
        assert "gradient" in stage.evaluate("one => getComputedStyle(one).backgroundImage")
        for index in (0, 2):
            cards.nth(index).get_by_role("button", name="Pick").click()
            chosen = cards.nth(index)
            visit.wait_for(lambda chosen=chosen: chosen.get_attribute("data-mark") == "pick")
        visit.wait_for(lambda: page.locator(".picked-count").inner_text() == "2")
        with page.expect_download() as started:
            page.get_by_role("button", name="Download the sheet").click()
        content = Path(started.value.path()).read_bytes()
        assert started.value.suggested_filename == "sprites-sheet.zip"
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            frames = json.loads(archive.read("sprites.json"))["frames"]
            sheet = Image.open(io.BytesIO(archive.read("sprites.png"))).convert("RGBA")
        assert len(frames) == 2
        assert sheet.getchannel("A").getextrema() == (0, 255)
        with page.expect_download() as started:
            page.get_by_role("link", name="Export the pictures").click()
        assert zipfile.is_zipfile(started.value.path())
        cards.first.locator("a").first.click()
        page.wait_for_url("**/pictures/*")
        wide = page.locator("[data-enlarge]")
        visit.wait_for(lambda: " × " in page.inner_text("main"))
        size = page.locator("[data-true]").evaluate("one => [one.naturalWidth, one.clientWidth]")
        assert size[0] == size[1]
        visit.wait_for(lambda: wide.evaluate("one => one.clientWidth % one.naturalWidth") == 0)
        assert wide.evaluate("one => one.clientWidth") > 4 * size[0]


def test_re_roll_and_reuse_and_cancel(chromium: Any, url: str) -> None:
    with visiting(chromium, url) as visit:
        page = visit.page
        visit.go("/")
        visit.make("a golden key, pixel art, game sprite")
        first = page.locator(".picture").first
        id = first.get_attribute("id")
        first.get_by_role("button", name="Re-roll").click()
        visit.wait_for(lambda: page.locator(".picture").first.get_attribute("id") != id)
        page.locator(".picture").first.get_by_role("link", name="Reuse").click()
        page.wait_for_url("**reuse=*")
        prompt = page.get_by_label("Prompt", exact=True)
        assert prompt.input_value() == "a golden key, pixel art, game sprite"
        assert page.get_by_label("Seed", exact=True).input_value().isdigit()
        page.get_by_label("Seed", exact=True).fill("")
        page.get_by_label("Steps", exact=True).fill("3000")
        page.get_by_role("button", name="Make", exact=True).click()
        # a long one: a preview, a step, and the time that is left
        preview = page.locator(".queue img")
        preview.wait_for()
        visit.wait_for(lambda: preview.evaluate("one => one.naturalWidth > 0"))
        assert "step" in page.inner_text(".queue")
        assert page.locator("progress").count() == 1
        page.get_by_role("button", name="Cancel a golden key").click()
        page.locator(".queue").wait_for(state="detached")


def test_a_picture_is_dropped_and_a_mask_painted(chromium: Any, url: str) -> None:
    with visiting(chromium, url) as visit:
        page = visit.page
        visit.go("/?workflow=inpaint")
        content = list((INPUTS / "spriteworks_potion.png").read_bytes())
        page.locator("#file-image").evaluate(
            """(input, bytes) => {
              const dropped = new DataTransfer();
              dropped.items.add(new File([new Uint8Array(bytes)], 'p.png', {type: 'image/png'}));
              input.closest('[data-drop]').dispatchEvent(
                new DragEvent('drop', {dataTransfer: dropped, bubbles: true, cancelable: true}));
            }""",
            content,
        )
        canvas = page.locator("canvas")
        canvas.wait_for()
        canvas.scroll_into_view_if_needed()
        told = page.locator("[data-painted]")
        assert told.inner_text() == "Nothing is painted yet."
        box = canvas.bounding_box()
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] * 0.6
        page.mouse.move(x, y)
        page.mouse.down()
        page.mouse.move(x + 40, y + 20, steps=4)
        page.mouse.up()
        visit.wait_for(lambda: "made anew" in told.inner_text())
        drawn = told.inner_text()
        # the rest by keyboard: one more dot, taken back again
        canvas.press("ArrowUp")
        for _ in range(6):
            canvas.press("ArrowUp")
        canvas.press("Space")
        assert told.inner_text() != drawn
        canvas.press("z")
        assert told.inner_text() == drawn
        count = "input => input.files.length"
        visit.wait_for(lambda: page.locator("#file-mask").evaluate(count) == 1)
        page.get_by_role("button", name="Make", exact=True).click()
        page.locator(".notice").wait_for()
        visit.wait_for(lambda: page.locator(".picture figcaption", has_text="blue").count() == 1)
        page.locator(".picture").first.get_by_role("link", name="Reuse").click()
        page.wait_for_url("**reuse=*")
        assert page.locator("input[name=mask_asset]").count() == 1
        canvas.wait_for()


def test_a_batch_is_watched(chromium: Any, url: str) -> None:
    manifest = "name: gems\nworkflow: sprite\nseeds: {base: 5, count: 3}\n"
    manifest += "items: [{id: gem, prompt: a green gem}]\n"
    with visiting(chromium, url) as visit:
        page = visit.page
        visit.go("/batches")
        page.get_by_label("Manifest").fill(manifest)
        page.get_by_role("button", name="Start").click()
        page.wait_for_url("**/batches/*")
        visit.wait_for(lambda: "3 of 3 done" in page.inner_text("main"))
        assert page.locator(".picture img").count() == 3
        visit.go("/servers")
        assert "spriteworks-starter" in page.inner_text("main")
        assert page.locator("meter").count() == 1


def test_all_of_it_by_keyboard(chromium: Any, url: str) -> None:
    with visiting(chromium, url) as visit:
        page = visit.page
        visit.go("/")
        page.keyboard.press("Tab")
        assert page.evaluate("() => document.activeElement.textContent") == "To the content"
        page.keyboard.press("Enter")
        _tab_to(page, "textarea[name=prompt]")
        page.keyboard.press("Control+A")
        page.keyboard.type("a blue shield, pixel art, game sprite")
        page.keyboard.press("Control+Enter")
        cards = page.locator(".picture figcaption", has_text="a blue shield")
        visit.wait_for(lambda: cards.count() == 1)
        visit.go("/gallery")
        page.keyboard.press("ArrowRight")
        page.keyboard.press("ArrowRight")
        page.keyboard.press("ArrowLeft")
        assert page.evaluate("() => document.activeElement.closest('.picture') !== null")
        first = page.locator(".picture").first
        page.keyboard.press("p")
        visit.wait_for(lambda: first.get_attribute("data-mark") == "pick")
        # the same picture has the focus still, and another key works on
        page.keyboard.press("x")
        visit.wait_for(lambda: first.get_attribute("data-mark") == "reject")
        page.keyboard.press("p")
        visit.wait_for(lambda: first.get_attribute("data-mark") == "pick")
        visit.go("/gallery?show=pick")
        _tab_to(page, ".export button")
        with page.expect_download() as started:
            page.keyboard.press("Enter")
        assert zipfile.is_zipfile(started.value.path())
        page.keyboard.press("ArrowRight")
        page.keyboard.press("Enter")
        page.wait_for_url("**/pictures/*")


def _tab_to(page: Any, selector: str) -> None:
    for _ in range(80):
        if page.evaluate("selector => document.activeElement.matches(selector)", selector):
            # whoever gets there sees it
            style = "() => getComputedStyle(document.activeElement).outlineStyle"
            assert page.evaluate(style) != "none"
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"no Tab leads to {selector}")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 390, 1280])
def test_every_page_fits_and_can_be_read(chromium: Any, url: str, scheme: str, width: int) -> None:
    size = {"width": width, "height": 780}
    with visiting(chromium, url, viewport=size, color_scheme=scheme) as visit:
        page = visit.page
        visit.go("/gallery")
        paths = list(PAGES)
        if page.locator(".picture a").count():
            page.locator(".picture").first.get_by_role("button", name="Pick").click()
            paths.append(page.locator(".picture a").first.get_attribute("href"))
        ground = None
        for path in paths:
            visit.go(path)
            assert page.evaluate("() => document.documentElement.scrollWidth") <= width, path
            assert page.evaluate(_WITHOUT_NAME) == [], path
            assert page.evaluate(_HARD_TO_READ) == [], path
            assert page.locator("h1").count() == 1, path
            ground = page.evaluate("() => getComputedStyle(document.body).backgroundColor")
            if width < 500:
                assert page.evaluate(_TOO_SMALL) == [], path
        assert ground == {"light": "rgb(246, 246, 244)", "dark": "rgb(22, 24, 28)"}[scheme]


# Controls that a screen reader has no name for.
_WITHOUT_NAME = """() => [...document.querySelectorAll(
    'a[href], button, input:not([type=hidden]), select, textarea, canvas, img, progress, meter')]
  .filter(one => !(one.getAttribute('aria-label') || one.getAttribute('alt')
    || one.labels?.[0]?.textContent.trim() || one.textContent.trim()
    || one.querySelector('img[alt]:not([alt=""])')))
  .map(one => one.outerHTML.slice(0, 200))"""

# Texts with a contrast below 4.5 (WCAG 2.2, 1.4.3), by the formula of relative luminance there.
_HARD_TO_READ = """() => {
  const parse = text => (text.match(/[\\d.]+/g) || []).map(Number);
  const share = value => value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  const light = ([red, green, blue]) => 0.2126 * share(red / 255) + 0.7152 * share(green / 255)
    + 0.0722 * share(blue / 255);
  const ground = one => {
    for (let at = one; at; at = at.parentElement) {
      const [red, green, blue, alpha = 1] = parse(getComputedStyle(at).backgroundColor);
      if (alpha === 1) return [red, green, blue];
    }
    return [255, 255, 255];
  };
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const one = walker.currentNode.parentElement;
    if (!walker.currentNode.textContent.trim() || !one.checkVisibility()) continue;
    if (one.closest('script, option, .sr, .skip')) continue;
    const [first, second] = [light(parse(getComputedStyle(one).color)), light(ground(one))];
    const contrast = (Math.max(first, second) + 0.05) / (Math.min(first, second) + 0.05);
    if (contrast < 4.5) found.push([contrast.toFixed(2), one.outerHTML.slice(0, 120)]);
  }
  return found;
}"""

# Buttons that a finger misses (WCAG 2.2, 2.5.8 asks for 24 px).
_TOO_SMALL = """() => [...document.querySelectorAll(
    'button, .button, nav a, input:not([type=hidden])')]
  .filter(one => one.checkVisibility() && one.getBoundingClientRect().width)
  .filter(one => !one.matches('[type=checkbox]') && one.getBoundingClientRect().height < 32)
  .map(one => one.outerHTML.slice(0, 120))"""
