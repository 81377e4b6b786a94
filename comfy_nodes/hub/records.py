"""What a download leaves beside a model: where it came from and each file's SHA-256.

So a model can be checked later without the hub.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

RECORD = "spriteworks-download.json"
_CHUNK = 8 * 2**20


class DownloadRecord(BaseModel):
    """Where the files came from, and the SHA-256 of each by its path in the folder."""

    model_config = ConfigDict(frozen=True)

    hub_id: str
    commit: str
    files: Mapping[str, str]


def record_path(model: Path) -> Path:
    """Where the record of a folder or of a single file is."""
    return model / RECORD if model.is_dir() else model.with_name(f"{model.name}.{RECORD}")


def read_record(model: Path) -> DownloadRecord | None:
    """The record of a model; None where there is none, or none that can be read."""
    try:
        return DownloadRecord.model_validate_json(record_path(model).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, ValidationError):
        return None


def write_record(model: Path, record: DownloadRecord) -> None:
    """Puts the record beside the model, in one move."""
    path = record_path(model)
    part = path.with_name(f"{path.name}.part")
    part.write_text(json.dumps(record.model_dump(mode="json"), indent=2), encoding="utf-8")
    os.replace(part, path)


def sha256_of(path: Path, tell: Callable[[int], None]) -> str:
    """The SHA-256 of a file; `tell` hears of each piece's bytes."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(_CHUNK):
            digest.update(piece)
            tell(len(piece))
    return digest.hexdigest()


def git_blob_of(path: Path) -> str:
    """Git's SHA-1 of a small file: of "blob SIZE", a zero byte, and the content."""
    content = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
