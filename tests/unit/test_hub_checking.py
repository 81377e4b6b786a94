"""Files of a model, judged by themselves, where no hub is asked."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest

from comfy_nodes.hub.checking import header_of, is_sound

TENSORS = {
    "a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]},
    "b": {"dtype": "F32", "shape": [2], "data_offsets": [4, 12]},
}


def safetensors(header: Any, length: int | None = None, data: bytes = bytes(12)) -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


@pytest.mark.parametrize(
    ("name", "content", "sound"),
    [
        ("config.json", b'{"a": 1}', True),
        ("config.json", b'{"a": ', False),
        ("config.json", b"\xff", False),
        ("config.json", b"", False),
        # of these it is known only that they hold something
        ("merges.txt", b"#", True),
        ("merges.txt", b"", False),
        ("model.bin", b"x", True),
        ("model.bin", b"", False),
        ("model.safetensors", safetensors(TENSORS), True),
        ("model.safetensors", safetensors(TENSORS)[:-1], False),
        ("model.safetensors", safetensors(TENSORS) + b"x", False),
        ("model.safetensors", safetensors({"__metadata__": {"a": "b"}, **TENSORS}), True),
        # the shortest there is
        ("model.safetensors", safetensors({}, data=b""), True),
        ("model.safetensors", safetensors({}, data=b"x"), False),
        ("model.safetensors", b"", False),
        ("model.safetensors", bytes(8), False),
        ("model.safetensors", safetensors({}, length=3, data=b""), False),
        ("model.safetensors", safetensors({}, length=2**63, data=b""), False),
        ("model.safetensors", safetensors([]), False),
        ("model.safetensors", safetensors({"a": {"dtype": "F32"}}), False),
        ("model.safetensors", safetensors({"a": {"data_offsets": [0]}}), False),
        ("model.safetensors", safetensors({"a": {"data_offsets": ["0", "x"]}}), False),
        ("model.safetensors", safetensors({"a": 1}), False),
    ],
)
def test_a_file_is_sound_by_what_it_says_of_itself(
    name: str, content: bytes, sound: bool, tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    assert is_sound(path) is sound


def test_what_is_not_there_is_not_sound(tmp_path: Path) -> None:
    for name in ("config.json", "merges.txt", "model.safetensors"):
        assert not is_sound(tmp_path / name)


def test_the_header_names_tensors_and_no_metadata(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(safetensors({"__metadata__": {"a": "b"}, **TENSORS}))
    assert header_of(path) == TENSORS
    path.write_bytes(safetensors({}, data=b""))
    assert header_of(path) == {}
    for content in (b"", bytes(8), safetensors([]), struct.pack("<Q", 1) + b"1"):
        path.write_bytes(content)
        assert header_of(path) is None
