"""Pictures as a server may send them in place of the right one, from which each is made."""

from __future__ import annotations

import io
import json
import struct
import zlib
from collections.abc import Callable, Mapping
from typing import Any

from PIL import Image

SIGNATURE = b"\x89PNG\r\n\x1a\n"
SCRIPT = b"\n#!/bin/sh\necho gotcha > ~/gotcha\n"
EPS = (
    b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%Pages: 1\n%%EndComments\n"
    b"%%BeginProlog\n%%EndProlog\n%%Page: 1 1\n0 0 8 8 rectfill\nshowpage\n%%EOF\n"
)
OTHER = {"1": {"class_type": "EmptyImage", "inputs": {"width": 8, "height": 8, "color": 999}}}


def chunk(kind: bytes, data: bytes) -> bytes:
    """A chunk of a PNG with its right sum."""
    return struct.pack(">I4s", len(data), kind) + data + struct.pack(">I", zlib.crc32(kind + data))


def png(
    width: int, height: int, data: bytes | None, *, depth: int = 8, texts: Mapping[str, Any] = {}
) -> bytes:
    """A gray PNG of these bytes; without the chunk of pixels where `data` is None."""
    parts = [chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, 0, 0, 0, 0))]
    parts += [
        chunk(b"tEXt", name.encode() + b"\0" + json.dumps(value).encode())
        for name, value in texts.items()
    ]
    parts += [] if data is None else [chunk(b"IDAT", data)]
    return SIGNATURE + b"".join(parts) + chunk(b"IEND", b"")


def saved(image: Image.Image, kind: str, **more: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **more)
    return stream.getvalue()


def graph_in(right: bytes) -> Any:
    """The graph that a right picture carries."""
    with Image.open(io.BytesIO(right)) as image:
        return json.loads(image.info["prompt"])


def size_of(right: bytes) -> tuple[int, int]:
    with Image.open(io.BytesIO(right)) as image:
        return image.size


def with_graph(graph: Any, size: tuple[int, int]) -> bytes:
    """A plain picture that carries a graph."""
    width, height = size
    rows = zlib.compress((b"\0" + b"\x7f" * width) * height)
    return png(width, height, rows, texts={"prompt": graph})


def another_jobs(right: bytes) -> bytes:
    graph = graph_in(right)
    for node in graph.values():
        if "color" in node["inputs"]:
            node["inputs"]["color"] += 1000
    return with_graph(graph, size_of(right))


def of_another_size(right: bytes) -> bytes:
    width, height = size_of(right)
    return with_graph(graph_in(right), (width + 1, height))


def header_and_end(right: bytes) -> bytes:
    return png(*size_of(right), None, texts={"prompt": graph_in(right)})


def garbage(right: bytes) -> bytes:
    return png(*size_of(right), bytes(range(256)), texts={"prompt": graph_in(right)})


def jpeg(right: bytes) -> bytes:
    exif = Image.Exif()
    exif[0x0110] = "prompt:" + json.dumps(graph_in(right))
    return saved(Image.new("RGB", size_of(right), (200, 30, 40)), "JPEG", exif=exif)


def bomb(right: bytes) -> bytes:
    side = 20_000
    packer = zlib.compressobj(1)
    rows = b"".join(packer.compress(bytes(side + 1)) for _ in range(side)) + packer.flush()
    return png(side, side, rows, texts={"prompt": graph_in(right)})


def sixteen_bits(right: bytes) -> bytes:
    width, height = size_of(right)
    row = b"\0" + struct.pack(">H", 0x80FF) * width
    texts = {"prompt": graph_in(right)}
    return png(width, height, zlib.compress(row * height), depth=16, texts=texts)


def without_graph(right: bytes) -> bytes:
    width, height = size_of(right)
    return png(width, height, zlib.compress((b"\0" + b"\x7f" * width) * height))


# what a server may send instead of the right picture
WRONG: Mapping[str, Callable[[bytes], bytes]] = {
    "another job's": another_jobs,
    "of another size": of_another_size,
    "header and end": header_and_end,
    "garbage": garbage,
    "jpeg": jpeg,
    "eps": lambda right: EPS,
    "script behind the end": lambda right: right + SCRIPT,
    "bomb": bomb,
    "16 bits": sixteen_bits,
    "no graph": without_graph,
    "another graph": lambda right: with_graph(OTHER, size_of(right)),
    "empty": lambda right: b"",
}
