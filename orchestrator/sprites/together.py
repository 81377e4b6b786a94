"""Picture files through the chain, also where they depend on each other.

Frames of an animation have one grid, and pictures may share one palette that is found in them all.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np

from comfy_nodes.errors import BadInput
from comfy_nodes.ops.true_pixels import Snapped

from ..errors import InputError, OutputError
from .files import (
    Names,
    Report,
    Result,
    failed,
    named,
    pictures_in,
    read_picture,
    targets_in,
    worker_ended,
    write_picture,
)
from .finishing import Finish, FinishedPicture
from .processes import in_order

if TYPE_CHECKING:
    import os

    from numpy.typing import NDArray

Kept = Callable[[Path, Path, FinishedPicture], Result]
"""What is told of a picture: its file, where its result is, and the result."""

Looked = Callable[[int, int], None]
"""Called before there are results: how many pictures were looked at by now, and of how many."""

_Outcome = Snapped | InputError | BadInput

# Bytes of pictures in memory that wait for a palette; more go to a temporary file.
_IN_MEMORY = 256 * 1024 * 1024
_NOTHING = np.zeros((0, 0, 3), dtype=np.uint8)


def finish_files(
    pictures: Names,
    out: str | os.PathLike[str],
    finish: Finish,
    kept: Kept[Result],
    kind: type[Result],
    *,
    sequence: bool = False,
    own_palettes: bool = False,
    report: Report[Result] | None = None,
    looked: Looked | None = None,
    jobs: int = 1,
) -> list[Result]:
    """Write what the chain makes of each picture as NAME.png in `out`; see `files.each_picture`.

    With `sequence` all are frames of one animation. A palette that is to be found is one for all
    pictures, unless each is to have its own; then memory stays flat, and `looked` tells of the
    first of two passes. The true pixels are found and cut out in `jobs` processes.
    """
    files = pictures_in(named(pictures))
    targets = targets_in(files, Path(out))
    cuts = _frames(files, finish) if sequence else _each(files, finish, jobs)
    done = _painted(cuts, finish, len(files), own_palettes, looked)
    return _all_written(files, targets, done, kept, kind, report)


def finish_each(
    files: Sequence[Path],
    targets: Sequence[Path],
    finish: Finish,
    kept: Kept[Result],
    kind: type[Result],
    *,
    sequence: bool = False,
    report: Report[Result] | None = None,
    looked: Looked | None = None,
) -> list[Result]:
    """The same for files whose results have names of their own."""
    cuts = _frames(files, finish) if sequence else _each(files, finish)
    done = _painted(cuts, finish, len(files), False, looked)
    return _all_written(files, targets, done, kept, kind, report)


def _all_written(
    files: Sequence[Path],
    targets: Sequence[Path],
    outcomes: Iterator[FinishedPicture | InputError | BadInput],
    kept: Kept[Result],
    kind: type[Result],
    report: Report[Result] | None,
) -> list[Result]:
    results: list[Result] = []
    for file, target, one in zip(files, targets, outcomes, strict=True):
        if isinstance(one, FinishedPicture):
            write_picture(one.picture, target)
            results.append(kept(file, target, one))
        else:
            results.append(failed(kind, file, one))
        if report is not None:
            report(results[-1], len(results), len(files))
    return results


def _each(files: Sequence[Path], finish: Finish, jobs: int = 1) -> Iterator[_Outcome]:
    """The first half of the chain, each picture by itself."""
    return in_order(partial(_half, finish), files, jobs, worker_ended)


def _half(finish: Finish, file: Path) -> _Outcome:
    try:
        return finish.cut([read_picture(file)])[0]
    except (InputError, BadInput) as error:
        return error


def _frames(files: Sequence[Path], finish: Finish) -> Iterator[_Outcome]:
    """The same for frames of one animation; one that cannot be read is left out of it."""
    frames: dict[Path, NDArray[np.uint8]] = {}
    outcomes: dict[Path, _Outcome] = {}
    for file in files:
        try:
            frames[file] = read_picture(file)
        except InputError as error:
            outcomes[file] = error
    if frames:
        try:
            outcomes |= zip(frames, finish.cut(list(frames.values())), strict=True)
        except BadInput as error:
            outcomes |= dict.fromkeys(frames, error)
    return (outcomes[file] for file in files)


def _painted(
    cuts: Iterator[_Outcome], finish: Finish, total: int, own: bool, looked: Looked | None
) -> Iterator[FinishedPicture | InputError | BadInput]:
    """The second half of the chain, with one palette for all where it is found in them all."""
    if finish.finds_palette and not own:
        yield from _painted_alike(cuts, finish, total, looked)
        return
    for cut in cuts:
        if not isinstance(cut, Snapped):
            yield cut
            continue
        try:
            yield finish.painted(cut, finish.palette_of([cut.picture]))
        except BadInput as error:
            yield error


def _painted_alike(
    cuts: Iterator[_Outcome], finish: Finish, total: int, looked: Looked | None
) -> Iterator[FinishedPicture | InputError | BadInput]:
    waiting: list[_Outcome] = []
    with _Spool() as spool:

        def seen() -> Iterator[NDArray[np.uint8]]:
            for cut in cuts:
                if isinstance(cut, Snapped):
                    spool.add(cut.picture)
                    waiting.append(replace(cut, picture=_NOTHING))
                    yield cut.picture
                else:
                    waiting.append(cut)
                if looked is not None:
                    looked(len(waiting), total)

        try:
            palette = finish.palette_of(seen())
        except BadInput as error:
            yield from (error if isinstance(one, Snapped) else one for one in waiting)
            return
        again = iter(spool)
        for one in waiting:
            if isinstance(one, Snapped):
                yield finish.painted(replace(one, picture=next(again)), palette)
            else:
                yield one


class _Spool:
    """Pictures that wait, in order."""

    def __init__(self) -> None:
        self._file = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115  (__exit__)
        self._shapes: list[tuple[int, ...]] = []

    def __enter__(self) -> _Spool:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    def add(self, picture: NDArray[np.uint8]) -> None:
        """Raises OutputError where there is no room."""
        try:
            self._file.write(picture.tobytes())
        except OSError as error:
            raise OutputError(
                f"there is no room in {tempfile.gettempdir()} for pictures that wait for their "
                f"palette ({error.strerror or error}); make room, or set TMPDIR"
            ) from error
        self._shapes.append(picture.shape)

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        self._file.seek(0)
        for shape in self._shapes:
            content = self._file.read(int(np.prod(shape)))
            yield np.frombuffer(content, dtype=np.uint8).reshape(shape)
