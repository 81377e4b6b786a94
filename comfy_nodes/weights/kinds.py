"""What a file of weights is: by its name, and by its first bytes where that is something else."""

from __future__ import annotations

from pathlib import Path

CHECKPOINT_SUFFIXES = frozenset({".safetensors", ".sft"})
PICKLE_SUFFIXES = frozenset({".ckpt", ".pt", ".pth", ".bin"})

_STARTS = (
    (b"PK\x03\x04", "a PyTorch pickle or another zip archive"),
    (b"\x80\x02", "a PyTorch pickle"),
    (b"\x80\x04", "a PyTorch pickle"),
    (b"version https://git-lfs", "git-lfs's pointer to a file that was not fetched"),
    (b"GGUF", "a GGUF file"),
    (b"\x89HDF", "an HDF5 file"),
    (b"\x1f\x8b", "a gzip archive"),
)


def kind_of(path: Path) -> str | None:
    """What the file is, in words; None where its first bytes tell nothing, or it is not there."""
    try:
        with path.open("rb") as file:
            start = file.read(512)
    except OSError:
        return None
    if not start:
        return "an empty file"
    for mark, kind in _STARTS:
        if start.startswith(mark):
            return kind
    text = start.lstrip().lower()
    if text.startswith((b"<!doctype html", b"<html")):
        return "a web page, as a download without login gives"
    # Eight bytes with the header's length, then the header, which is JSON.
    if start[8:9] == b"{" and start[5:8] == b"\0\0\0":
        return "a safetensors file"
    return None
