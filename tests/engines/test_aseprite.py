"""Two readers by other people open the .aseprite file, and find what was put in."""

from __future__ import annotations

import base64
import io
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from comfy_nodes.formats.sheets import aseprite
from comfy_nodes.ops.sheet import common_canvas
from sample_sheet import animations, frames, on_ground

Decode = Callable[[dict[str, Any]], np.ndarray]


def opened(python: Path, file: Path, content: bytes) -> Any:
    file.write_bytes(content)
    script = Path(__file__).parent / "read_aseprite.py"
    done = subprocess.run([python, script, file], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


def check(found: Any, decoded: Decode) -> None:
    canvas = common_canvas(frames())
    point = int(canvas.pivot[0]), int(canvas.pivot[1])
    first, second = found["aseprite"], found["reader"]
    durations = [frame.duration for frame in frames()]
    assert first["size"] == list(canvas.size)
    assert [frame["duration"] for frame in first["frames"]] == durations
    assert second["durations"] == durations
    for index, frame in enumerate(frames()):
        wanted = on_ground(frame, canvas.size, point)
        np.testing.assert_array_equal(decoded(first["frames"][index]), wanted, frame.name)
        picture = second["frames"][index]
        # aseprite-reader cannot draw a cel that is linked to another frame's
        assert (picture is None) == (frame.name == "idle_2")
        if picture is not None:
            pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(picture))))
            np.testing.assert_array_equal(pixels, wanted, frame.name)
    tags = [
        ["walk", 0, 3, "ping_pong", 0],
        ["idle", 4, 5, "forward", 0],
        ["hit", 6, 7, "reverse", 1],
    ]
    assert first["tags"] == tags
    assert second["tags"] == [tag[:3] for tag in tags]
    assert first["pivots"] == [list(point)] * len(frames())


def test_both_readers_find_what_was_put_in(
    aseprite_python: Path, tmp_path: Path, decoded: Decode
) -> None:
    content = aseprite.picture(frames(), animations())
    check(opened(aseprite_python, tmp_path / "hero.aseprite", content), decoded)


@pytest.mark.parametrize("fault", ["duration", "place", "tag", "pivot"])
def test_a_planted_fault_is_seen(
    aseprite_python: Path, tmp_path: Path, decoded: Decode, fault: str
) -> None:
    content = bytearray(aseprite.picture(frames(), animations()))
    cel = content.index(b"\x05\x20", 128) + 2
    at = {
        "duration": 128 + 8,
        "place": cel + 2,
        "tag": content.index(b"\x18\x20", 128) + 2 + 10 + 2,
        "pivot": content.index(b"\x05\x00pivot", 128) + 7 + 20,
    }[fault]
    content[at] += 1
    found = opened(aseprite_python, tmp_path / "hero.aseprite", bytes(content))
    with pytest.raises(AssertionError):
        check(found, decoded)
