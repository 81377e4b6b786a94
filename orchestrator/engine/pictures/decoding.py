"""Frames of picture files by FFmpeg (PyAV), with the conversions of ComfyUI 0.33's LoadImage.

Full-range 8-bit colours are divided by 255 as they are. Everything else (greys, more bits, CMYK,
narrow-range YUV, BGR) goes through FFmpeg's float planes, whose rounding shows in the third digit;
ComfyUI's pictures are the measure.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...errors import InputError
from .formats import PictureFormat

_log = logging.getLogger(__name__)

# Taken as they are: their values are 0..255 already.
_FULL_RANGE = {"yuvj420p", "yuvj422p", "yuvj444p", "rgb24", "rgba", "pal8"}
# No protocol has this name, so whatever a file names besides itself stays closed.
_OPENS_NOTHING = {"protocol_whitelist": "none"}
# FFmpeg's conversions to float planes work in pieces of so many pixels, and what lies beyond the
# last piece shows in the last column.
_PIECE = 32


@dataclass(frozen=True)
class Frame:
    """One picture: colours [H, W, 3] and, where the file has such, opacity [H, W]; 0..1."""

    colours: np.ndarray
    opacity: np.ndarray | None


def decode(content: bytes, kind: PictureFormat, pixels: int) -> list[Frame]:
    """The frames of a file, float32, turned as its camera says; none where it cannot be decoded.

    Turned means by quarters only, as ComfyUI does: a mirrored picture stays mirrored. Frames that
    have more than `pixels` pixels together, and a missing PyAV, raise InputError.
    """
    av = _pyav()
    found: list[Frame] = []
    left = pixels
    try:
        for raw in _raw_frames(av, content, kind, pixels):
            left -= raw.width * raw.height
            if left < 0:
                raise InputError(f"its frames have more than {pixels} pixels together")
            found.append(_converted(av, raw))
            if kind is PictureFormat.JPEG:
                # What follows in the file is a camera's second view, no frame of a film.
                break
    except av.error.FFmpegError as error:
        _log.info("FFmpeg cannot decode a picture: %s", error)
    return found


def _pyav() -> Any:
    try:
        import av
        import av.error
        import av.filter
    except ImportError as error:
        raise InputError(
            f"pictures are decoded with PyAV, which cannot be loaded ({error}): pip install av"
        ) from error
    return av


def _raw_frames(av: Any, content: bytes, kind: PictureFormat, pixels: int) -> Iterator[Any]:
    limit = {"max_pixels": str(pixels)}
    with av.open(
        io.BytesIO(content),
        format=kind.demuxer,
        container_options=_OPENS_NOTHING,
        stream_options=[limit],
    ) as container:
        stream = container.streams.video[0]
        stream.codec_context.options = limit
        for packet in container.demux(stream):
            try:
                yield from packet.decode()
            except av.error.InvalidDataError as error:
                # A film goes on after a damaged frame.
                _log.info("a frame of a picture is damaged: %s", error)


def _converted(av: Any, raw: Any) -> Frame:
    has_opacity = raw.format.name == "pal8" or any(c.is_alpha for c in raw.format.components)
    if raw.format.name in _FULL_RANGE or _too_small_to_pad(raw):
        values = _whole_numbers(raw, has_opacity)
    else:
        values = _float_planes(av, raw, "gbrapf32le" if has_opacity else "gbrpf32le")
    # `rotation` counts degrees, anti-clockwise as numpy's quarters do.
    values = np.rot90(values, k=raw.rotation // 90, axes=(0, 1))
    colours = np.ascontiguousarray(values[..., :3])
    return Frame(colours, np.ascontiguousarray(values[..., 3]) if has_opacity else None)


def _too_small_to_pad(raw: Any) -> bool:
    """Whether FFmpeg would have to fill more than half of a side, which it refuses."""
    return bool(raw.width % _PIECE and min(raw.width, raw.height) < _PIECE // 2)


def _whole_numbers(raw: Any, has_opacity: bool) -> np.ndarray:
    """[H, W, 3 or 4] in 0..1, by way of the fewest bits that hold what the file has."""
    if max(component.bits for component in raw.format.components) <= 8:
        values, most = raw.to_ndarray(format="rgba" if has_opacity else "rgb24"), 255
    else:
        values, most = raw.to_ndarray(format="rgba64le" if has_opacity else "rgb48le"), 65535
    scaled: np.ndarray = values / np.float32(most)
    return scaled


def _float_planes(av: Any, raw: Any, layout: str) -> np.ndarray:
    """[H, W, 3 or 4] in 0..1."""
    padded = _padded(av, raw) if raw.width % _PIECE else raw
    planes: np.ndarray = padded.to_ndarray(format=layout)
    return planes[: raw.height, : raw.width]


def _padded(av: Any, raw: Any) -> Any:
    """The frame with both sides filled up to whole pieces by its last row and column.

    Where colours are stored for pairs of columns (lossy WebP), FFmpeg leaves an odd last one out:
    it turns black, in ComfyUI's pictures too.
    """
    width, height = (-(-side // _PIECE) * _PIECE for side in (raw.width, raw.height))
    right, bottom = width - raw.width, height - raw.height
    graph = av.filter.Graph()
    source = graph.add_buffer(
        width=raw.width, height=raw.height, format=raw.format.name, time_base=raw.time_base
    )
    pad = graph.add("pad", f"{width}:{height}:0:0")
    fill = graph.add("fillborders", f"right={right}:bottom={bottom}:mode=smear")
    sink = graph.add("buffersink")
    graph.link_nodes(source, pad, fill, sink).configure()
    source.push(raw)
    return sink.pull()
