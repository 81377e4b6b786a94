"""GIFs and APNGs as Chromium shows them: every pixel, every duration, and whether they loop."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from comfy_nodes.formats import apng, gif
from comfy_nodes.ops.frames import Frame

# Frames as the browser's own decoder gives them, with durations in µs (W3C, WebCodecs).
DECODE = """async ([type, text]) => {
  const data = Uint8Array.from(atob(text), (one) => one.charCodeAt(0));
  const decoder = new ImageDecoder({data, type});
  await decoder.tracks.ready;
  await decoder.completed;
  const track = decoder.tracks.selectedTrack;
  const frames = [];
  for (let frameIndex = 0; frameIndex < track.frameCount; frameIndex++) {
    const {image} = await decoder.decode({frameIndex});
    const canvas = new OffscreenCanvas(image.displayWidth, image.displayHeight);
    const context = canvas.getContext("2d");
    context.drawImage(image, 0, 0);
    const {data: pixels} = context.getImageData(0, 0, canvas.width, canvas.height);
    frames.push({duration: image.duration, pixels: Array.from(pixels)});
  }
  return {frames, repetitions: track.repetitionCount};
}"""


@pytest.fixture(scope="module")
def page(canvas_editor: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    # decoders of pictures are there on pages of a file, not on about:blank
    blank = tmp_path_factory.mktemp("animated") / "blank.html"
    blank.write_text("<!doctype html>", encoding="utf-8")
    with canvas_editor.chromium() as started:
        opened = started.new_page()
        opened.goto(blank.as_uri())
        yield opened


def frames(shared: bool) -> list[Frame]:
    """Three frames; what one shows the next does not. All in one table of colours, or in three."""
    random = np.random.default_rng(2)
    made = []
    for index in range(3):
        picture = np.zeros((20, 30, 4), np.uint8)
        part = picture[2 : 18 - index, 3 + 4 * index : 20 + 3 * index]
        top = 6 if shared else 200
        part[..., :3] = random.integers(0, top, (*part.shape[:2], 1)) + np.array(
            [30, 0, 20 * index]
        )
        part[..., 3] = 255
        made.append(Frame.whole(str(index), picture, duration=30 + 50 * index))
    return made


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("loop", [True, False])
@pytest.mark.parametrize(("format", "kind"), [(gif, "image/gif"), (apng, "image/png")])
def test_chromium_shows_every_pixel(
    page: Any, format: Any, kind: str, loop: bool, shared: bool
) -> None:
    given = frames(shared)
    content = format.write(given, loop)

    seen = page.evaluate(DECODE, [kind, base64.b64encode(content).decode("ascii")])

    assert [one["duration"] for one in seen["frames"]] == [30_000, 80_000, 130_000]
    # how often it is shown again; the browser has no number for "for ever" in JSON
    assert (seen["repetitions"] == 0) is not loop
    for frame, one in zip(given, seen["frames"], strict=True):
        shown = np.array(one["pixels"], np.uint8).reshape(frame.picture.shape)
        assert np.array_equal(shown, frame.picture)
