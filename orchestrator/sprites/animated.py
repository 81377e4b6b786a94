"""Animated pictures of frames: what they are called, and what they hold."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from comfy_nodes.formats import apng, gif
from comfy_nodes.ops.frames import Frame

from ..errors import UsageError

_SECOND = 1000


@dataclass(frozen=True, kw_only=True)
class AnimatedFile:
    """An animated picture that was written."""

    saved: Path
    # of each frame that it shows, in ms, as the format holds them
    durations: tuple[int, ...]

    def to_json(self) -> dict[str, Any]:
        """Shape for programs."""
        return {"saved": str(self.saved), "durations": list(self.durations)}


def animated_targets(
    file: Path | None, suffix: str, names: Sequence[str], taken: Iterable[Path]
) -> list[Path]:
    """Where the animated picture of each animation goes: FILE, with the name in it if it has one.

    Raises UsageError for another suffix, and where one would take the place of one of `taken`.
    """
    if file is None:
        return []
    if file.suffix.casefold() != suffix:
        raise UsageError(f"{file} is no name of such a picture; it ends with {suffix}")
    others = {_known(one): one for one in taken}
    targets = [file.with_stem(f"{file.stem}-{name}") if name else file for name in names]
    for target in targets:
        other = others.get(_known(target))
        if other is not None:
            raise UsageError(f"{target} would take the place of {other}; give it another name")
    return targets


def _known(path: Path) -> str:
    """The same for two names of one file, also where Walk.png is walk.png."""
    return str(path.resolve()).casefold()


def a_gif(frames: Sequence[Frame], loop: bool, target: Path) -> tuple[AnimatedFile, bytes]:
    """A GIF of whole frames in the order in which they are shown. Raises BadInput."""
    told = AnimatedFile(saved=target, durations=gif.durations(frames))
    return told, gif.write(frames, loop)


def an_apng(frames: Sequence[Frame], loop: bool, target: Path) -> tuple[AnimatedFile, bytes]:
    """An APNG of whole frames in the order in which they are shown. Raises BadInput."""
    told = AnimatedFile(saved=target, durations=tuple(frame.duration for frame in frames))
    return told, apng.write(frames, loop)


def durations_by(fps: float | None, duration: int | None) -> Callable[[int], int]:
    """From a frame's number in its animation to its ms; by `fps` their sums are right.

    Raises UsageError.
    """
    if fps is not None and duration is not None:
        raise UsageError("give --fps or --duration, not both")
    if fps is None:
        wanted = 100 if duration is None else duration
        if wanted < 1:
            raise UsageError(f"a frame is not shown for {wanted} ms; give 1 or more")
        return lambda _: wanted
    if not 0 < fps <= _SECOND:
        raise UsageError(f"there are no {fps:g} frames a second; give more than 0, at most 1000")
    return lambda index: round((index + 1) * _SECOND / fps) - round(index * _SECOND / fps)
