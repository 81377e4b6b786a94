"""Which files are taken for pictures, how they are decoded, and what a hostile one may not do."""

from __future__ import annotations

import io
import os
import socket
import struct
import sys
import threading
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from orchestrator.engine.pictures import reading
from orchestrator.engine.pictures.decoding import decode
from orchestrator.engine.pictures.formats import PictureFormat, format_of
from orchestrator.engine.pictures.reading import read_mask, read_picture
from orchestrator.errors import InputError

PICTURES = Path(__file__).parent.parent / "data" / "pictures"
PLENTY = 10**6
FORMATS = {
    "png": PictureFormat.PNG,
    "jpg": PictureFormat.JPEG,
    "mpo": PictureFormat.JPEG,
    "gif": PictureFormat.GIF,
    "webp": PictureFormat.WEBP,
    "bmp": PictureFormat.BMP,
    "tiff": PictureFormat.TIFF,
}
RNG = np.random.default_rng(4)


def stored(pixels: np.ndarray, format: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format, **options)
    return buffer.getvalue()


def noise(width: int, height: int, channels: int) -> np.ndarray:
    return RNG.integers(0, 256, (height, width, channels), dtype=np.uint8)


# ------------------------------------------------------------------ formats


@pytest.mark.parametrize("path", sorted(PICTURES.iterdir()), ids=lambda path: path.name)
def test_the_format_is_told_by_the_first_bytes(path: Path) -> None:
    expected = PictureFormat.APNG if path.name == "film.png" else FORMATS[path.suffix[1:]]
    assert format_of(path.read_bytes()) is expected


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x89PNG",
        b"RIFF\x00\x00\x00\x00WAVE",
        b"\x00\x00\x00\x1cftypavif",
        b"#EXTM3U",
        b"ffconcat version 1.0",
        b"<svg>",
        b"%PDF-1.7",
    ],
)
def test_nothing_else_is_a_picture(content: bytes) -> None:
    assert format_of(content) is None


def test_the_name_of_a_file_decides_nothing(tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes((PICTURES / "rgb.png").read_bytes())
    assert read_picture(path)[0].equal(read_picture(PICTURES / "rgb.png")[0])


def test_the_decoder_is_told_the_format_and_does_not_guess() -> None:
    content = (PICTURES / "film.gif").read_bytes()
    assert len(decode(content, PictureFormat.GIF, PLENTY)) == 3
    assert decode(content, PictureFormat.TIFF, PLENTY) == []


# ------------------------------------------------------------------ small sides

# Where ComfyUI 0.33.0 fails, and values are known: nothing is lost in these formats. FFmpeg's
# own rounding of greys and of BGR is one of 255.
EXACT: dict[str, tuple[int, Callable[[np.ndarray], bytes]]] = {
    "grey": (1, lambda pixels: stored(pixels[..., 0], "PNG")),
    "grey with opacity": (2, lambda pixels: stored(pixels, "PNG")),
    "rgb": (3, lambda pixels: stored(pixels, "PNG")),
    "rgba": (4, lambda pixels: stored(pixels, "PNG")),
    "bmp": (3, lambda pixels: stored(pixels, "BMP")),
    "webp": (4, lambda pixels: stored(pixels, "WEBP", lossless=True, exact=True)),
}


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (15, 15), (15, 16), (33, 7), (16, 16), (47, 34)])
@pytest.mark.parametrize("kind", EXACT)
def test_no_side_is_too_small(kind: str, size: tuple[int, int]) -> None:
    channels, store = EXACT[kind]
    pixels = noise(*size, channels)
    content = store(pixels)
    (frame,) = decode(content, format_of(content), PLENTY)  # type: ignore[arg-type]
    colours = pixels[..., :3] if channels > 2 else pixels[..., :1].repeat(3, axis=-1)
    assert np.abs(frame.colours * 255 - colours).max() < 1.2
    if channels in (2, 4):
        assert frame.opacity is not None
        assert np.abs(frame.opacity * 255 - pixels[..., -1]).max() < 1.2


@pytest.mark.parametrize("size", [(9, 6), (40, 30)])
def test_sixteen_bits_keep_their_steps(size: tuple[int, int]) -> None:
    pixels = RNG.integers(0, 65536, size[::-1], dtype=np.uint16)
    (frame,) = decode(stored(pixels, "PNG"), PictureFormat.PNG, PLENTY)
    assert np.abs(frame.colours[..., 0] * 65535 - pixels).max() < 0.5


@pytest.mark.parametrize("size", [(7, 5), (20, 18)])
def test_a_gif_is_a_film_with_opacity(size: tuple[int, int]) -> None:
    frames = [Image.fromarray(noise(*size, 3)).quantize(8) for _ in range(3)]
    buffer = io.BytesIO()
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:])
    found = decode(buffer.getvalue(), PictureFormat.GIF, PLENTY)
    assert len(found) == 3
    for frame, original in zip(found, frames, strict=True):
        assert np.abs(frame.colours * 255 - np.asarray(original.convert("RGB"))).max() < 1.2
        assert frame.opacity is not None
        assert frame.opacity.min() > 0.99


# ------------------------------------------------------------------ damage and size


def test_a_picture_that_breaks_off_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    pixels = noise(64, 64, 3)
    content = stored(pixels, "PNG")
    path = tmp_path / "half.png"
    path.write_bytes(content[: len(content) // 2])
    image, _ = read_picture(path)
    assert image.shape == (1, 64, 64, 3)
    assert np.array_equal((image[0, :8] * 255).round().numpy(), pixels[:8])


def huge_png(side: int) -> bytes:
    """A PNG of zeros that unpacks to side x side bytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    packer = zlib.compressobj(9)
    row = bytes(side + 1)
    packed = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")
    )


def test_a_picture_that_unpacks_to_too_much_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "potion.png"
    path.write_bytes(huge_png(13_500))
    assert path.stat().st_size < 250_000
    with pytest.raises(InputError, match=r"potion\.png .*exceeds limit"):
        read_picture(path)


def test_ffmpeg_itself_keeps_the_limit() -> None:
    content = stored(noise(400, 300, 3), "PNG")
    # It counts what it fills up at the borders.
    assert len(decode(content, PictureFormat.PNG, 420 * 320)) == 1
    assert decode(content, PictureFormat.PNG, 400 * 300 - 1) == []


@pytest.mark.parametrize("format", ["GIF", "PNG", "WEBP"])
def test_the_frames_of_a_film_count_together(
    format: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = [Image.fromarray(noise(200, 150, 3)) for _ in range(3)]
    path = tmp_path / "film"
    frames[0].save(path, format, save_all=True, append_images=frames[1:], duration=100)
    monkeypatch.setattr(reading, "_MOST_PIXELS", 89_999)
    with pytest.raises(InputError, match=r"film cannot be read: .* 89999 pixels"):
        read_picture(path)
    monkeypatch.setattr(reading, "_MOST_PIXELS", 90_000)
    assert len(read_picture(path)[0]) == 3


def test_without_pyav_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "av"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(InputError, match=r"rgb\.png cannot be read: .*pip install av$"):
        read_picture(PICTURES / "rgb.png")


# ------------------------------------------------------------------ playlists


class Bait:
    """A port on loopback and a file, which both notice when they are opened."""

    def __init__(self, folder: Path) -> None:
        self.touched = threading.Event()
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self.file = folder / "bait.png"
        os.mkfifo(self.file)
        for watch in (self._watch_port, self._watch_file):
            threading.Thread(target=watch, daemon=True).start()

    def _watch_port(self) -> None:
        try:
            connection, _ = self._listening.accept()
        except OSError:  # closed at the end of the test
            return
        self.touched.set()
        connection.close()

    def _watch_file(self) -> None:
        # Opening a pipe for writing waits until somebody opens it for reading.
        with self.file.open("wb"):
            self.touched.set()

    def close(self) -> None:
        self._listening.close()
        # Lets the writer go, without waiting for it.
        os.close(os.open(self.file, os.O_RDONLY | os.O_NONBLOCK))


@pytest.fixture
def bait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bait]:
    if not hasattr(os, "mkfifo"):
        pytest.skip("only where there are named pipes")
    monkeypatch.chdir(tmp_path)
    bait = Bait(tmp_path)
    yield bait
    bait.close()


PLAYLISTS = {
    "concat": "ffconcat version 1.0\nfile bait.png\n",
    "concat over http": "ffconcat version 1.0\nfile http://127.0.0.1:{port}/bait.png\n",
    "m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n"
    "http://127.0.0.1:{port}/bait.ts\n#EXT-X-ENDLIST\n",
    "m3u8 of files": "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nbait.png\n#EXT-X-ENDLIST\n",
    "svg": '<svg xmlns:xlink="x"><image xlink:href="http://127.0.0.1:{port}/bait.png"/></svg>',
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\n"
    "m=video {port} RTP/AVP/TCP 96\n",
}
MAGIC = [
    b"",
    b"\x89PNG\r\n\x1a\n",
    b"\xff\xd8\xff",
    b"GIF89a",
    b"RIFF\x00\x00\x00\x00WEBP",
    b"II*\x00",
]


@pytest.mark.parametrize("magic", MAGIC)
@pytest.mark.parametrize("kind", PLAYLISTS)
def test_a_playlist_opens_no_file_and_no_socket(
    kind: str, magic: bytes, bait: Bait, tmp_path: Path
) -> None:
    path = tmp_path / "playlist.png"
    path.write_bytes(magic + PLAYLISTS[kind].format(port=bait.port).encode())
    for read in (lambda: read_picture(path), lambda: read_mask(path, "red")):
        with pytest.raises(InputError, match=r"playlist\.png"):
            read()
    assert not bait.touched.is_set()


@pytest.mark.parametrize("format", PictureFormat)
def test_a_playlist_is_decoded_as_the_picture_that_it_is_called(
    format: PictureFormat, bait: Bait
) -> None:
    assert decode(PLAYLISTS["concat"].encode(), format, PLENTY) == []
    assert not bait.touched.is_set()


def test_even_a_reader_of_playlists_can_open_nothing(bait: Bait) -> None:
    playlist: Any = SimpleNamespace(demuxer="concat")
    assert decode(PLAYLISTS["concat"].encode(), playlist, PLENTY) == []
    assert not bait.touched.is_set()


def test_the_bait_is_one(bait: Bait, tmp_path: Path) -> None:
    """FFmpeg that may guess does follow such a file, and the tests above would see it."""
    import av

    path = tmp_path / "playlist.png"
    path.write_text(PLAYLISTS["concat"], encoding="utf-8")
    with pytest.raises(av.error.FFmpegError):
        av.open(str(path))
    assert bait.touched.wait(60)
