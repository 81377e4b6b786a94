"""What `/api/jobs` says of a job's outputs: how many, and which one stands for the job."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from pathlib import PurePosixPath
from typing import Any

# Outputs that the editor can show: by the key under which a node lists them, by file name.
_SHOWN_MEDIA = frozenset({"images", "video", "audio", "3d", "text"})
_SHAPES = frozenset({".obj", ".fbx", ".gltf", ".glb", ".usdz"})
_TEXTS = frozenset({".txt", ".md", ".json"})
# A text is shown with at most this many characters.
_LONGEST_TEXT = 1024


def summary(outputs: Mapping[str, Any]) -> dict[str, Any]:
    """How many files a history record's `outputs` hold, and the one to show for the job, or None.

    A saved picture goes before a temporary one, and any picture before a text.
    """
    found = list(_outputs(outputs))
    files = [each for each in found if each.is_file]
    shown = [each for each in found if each.rank is not _Rank.HIDDEN]
    best = min(shown, key=lambda each: each.rank, default=None)
    return {
        "outputs_count": len(files),
        "previewable_outputs_count": sum(each.rank is not _Rank.HIDDEN for each in files),
        "preview_output": None if best is None else best.shown(),
    }


def listed(outputs: Mapping[str, Any]) -> dict[str, Any]:
    """The outputs of every node, with 3D files as files and without gaps."""
    return {node_id: _listed(output) for node_id, output in outputs.items()}


def _listed(output: Any) -> Any:
    if not isinstance(output, Mapping):
        return output
    lists = {
        media: [_file_of(item) for item in value if item is not None]
        for media, value in _lists(output)
    }
    return {**output, **lists}


class _Rank(IntEnum):
    """Which output stands for a job in a list: the lowest, and of those the first."""

    SAVED = 0
    TEMPORARY = 1
    TEXT_FILE = 2
    TEXT = 3
    # nothing to show, such as a latent
    HIDDEN = 4


@dataclass(frozen=True)
class _Output:
    """One thing that a node gave."""

    node_id: str
    # the key under which the node lists it
    media: str
    content: Mapping[str, Any]
    rank: _Rank

    @property
    def is_file(self) -> bool:
        """False for a bare text, which is shown and does not count."""
        return self.rank is not _Rank.TEXT

    def shown(self) -> dict[str, Any]:
        return {"mediaType": self.media, **self.content, "nodeId": self.node_id}


def _outputs(outputs: Mapping[str, Any]) -> Iterator[_Output]:
    for node_id, output in outputs.items():
        for media, value in _lists(output):
            for item in map(_file_of, value):
                if isinstance(item, Mapping):
                    yield _Output(node_id, media, item, _rank(media, item))
                elif media == "text" and item is not None:
                    yield _Output(node_id, media, _text(item), _Rank.TEXT)


def _lists(output: Any) -> Iterator[tuple[str, list[Any]]]:
    if isinstance(output, Mapping):
        # "animated" says of each picture whether it moves
        yield from (
            (media, value)
            for media, value in output.items()
            if isinstance(value, list) and media != "animated"
        )


def _file_of(item: Any) -> Any:
    """An item as it stands; the bare name of a 3D file as a file."""
    if isinstance(item, str) and _suffix(item) in _SHAPES:
        return {"filename": item, "type": "output", "subfolder": "", "mediaType": "3d"}
    return item


def _rank(media: str, item: Mapping[str, Any]) -> _Rank:
    suffix = _suffix(str(item.get("filename", "")))
    if media == "text" or suffix in _TEXTS:
        return _Rank.TEXT_FILE
    moves = str(item.get("format") or "").startswith(("video/", "audio/"))
    if not (media in _SHOWN_MEDIA or moves or suffix in _SHAPES):
        return _Rank.HIDDEN
    return _Rank.SAVED if item.get("type") == "output" else _Rank.TEMPORARY


def _suffix(name: str) -> str:
    return PurePosixPath(name.lower()).suffix


def _text(item: Any) -> dict[str, Any]:
    text = str(item[0] if isinstance(item, tuple) and item else item)
    if len(text) <= _LONGEST_TEXT:
        return {"content": text}
    return {"content": text[:_LONGEST_TEXT], "truncated": True}
