"""Doing what `inspect` names, picture by picture; what `spriteworks mend` does."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from comfy_nodes.errors import BadInput
from comfy_nodes.ops.cleaning import cleaned
from comfy_nodes.ops.cutout import CutoutOptions, Outline
from comfy_nodes.ops.measures.measure import Mend
from comfy_nodes.ops.measures.subject import Subject
from comfy_nodes.ops.measures.taking import Reading

from ..client.client import writing
from ..errors import InputError
from ..runs.fetching import store
from .files import (
    Names,
    PictureResult,
    Report,
    failed,
    named,
    pictures_in,
    read_picture,
    targets_in,
    write_picture,
)
from .finishing import Finish
from .inspecting import Expectation
from .palettes import Source

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Step = Callable[[NDArray[np.uint8], Expectation], NDArray[np.uint8]]


@dataclass(frozen=True, kw_only=True)
class MendedFile(PictureResult):
    """What became of one picture."""

    # what was done, in order; nothing where it passed
    steps: tuple[str, ...] = ()
    before: tuple[Reading, ...] = ()
    after: tuple[Reading, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether all measures are within their bounds now."""
        return self.ok and all(one.passed for one in self.after)

    def to_json(self) -> dict[str, Any]:
        """Shape for programs."""
        if self.saved is None:
            return {"file": str(self.file), "error": self.error}
        return {
            "file": str(self.file),
            "saved": str(self.saved),
            "passed": self.passed,
            "steps": list(self.steps),
            "before": [one.to_json() for one in self.before],
            "after": [one.to_json() for one in self.after],
        }


def mend(
    pictures: Names,
    out: str | os.PathLike[str],
    *,
    palette: Source | int | None = None,
    key: str | None = None,
    report: Report[MendedFile] | None = None,
) -> list[MendedFile]:
    """Do to each picture what `inspect` names, and no more; results are NAME.png in `out`.

    A picture that passes is copied as it is. What no step here mends, as a picture that needs
    another seed, stays as it was in that. `palette` and `key` are those of `inspect`; where colours
    are to be fewer and none is given, 16 are found in each picture. `report` is called with each
    result, how many there are by now, and of how many.

    A picture that cannot be mended is told in its result, and the others go on. Raises UsageError
    before anything is written, and OutputError where a result cannot be.
    """
    wanted = Expectation.of(palette=palette, key=key)
    files = pictures_in(named(pictures))
    targets = targets_in(files, Path(out))
    results: list[MendedFile] = []
    for file, target in zip(files, targets, strict=True):
        try:
            result = _mended(file, target, wanted)
        except (InputError, BadInput) as error:
            result = failed(MendedFile, file, error)
        results.append(result)
        if report is not None:
            report(result, len(results), len(files))
    return results


def _mended(file: Path, target: Path, wanted: Expectation) -> MendedFile:
    picture = read_picture(file)
    before = wanted.readings(picture)
    made, steps, after = mended(picture, wanted, before)
    if not steps and file.suffix.casefold() == ".png":
        with writing(target):
            content = file.read_bytes()
            os.makedirs(target.parent, exist_ok=True)
        store(content, f"{target}.part", str(target))
    else:
        write_picture(made, target)
    return MendedFile(
        file=file,
        saved=target,
        steps=tuple(one.value for one in steps),
        before=before,
        after=after,
    )


def mended(
    picture: NDArray[np.uint8], wanted: Expectation, readings: tuple[Reading, ...]
) -> tuple[NDArray[np.uint8], list[Mend], tuple[Reading, ...]]:
    """A picture after all steps that its measures name; the steps, and the measures then.

    What is named is asked again after each step: true pixels can show what a blur has hidden, and
    fewer colours what stands out. A step is done twice at most.
    """
    if wanted.asked.key is None:
        # A step may take the hidden background away, which tells what a fringe is.
        key = Subject(picture, wanted.asked).key_color
        wanted = replace(wanted, asked=replace(wanted.asked, key=key))
    done: list[Mend] = []
    # what each step gave last: it is asked again only for what came after it
    gave: dict[Mend, NDArray[np.uint8]] = {}
    while True:
        needed = {one.measure.mend for one in readings if not one.passed}
        steps = (one for one in _STEPS if one in needed and gave.get(one) is not picture)
        step = next((one for one in steps if done.count(one) < _TIMES), None)
        if step is None:
            return picture, done, readings
        try:
            made = _STEPS[step](picture, wanted)
        except BadInput:
            # As a cut-out of which nothing would be left: the fault stays, and is told as such.
            made = picture
        gave[step] = made
        if made is not picture:
            picture, readings = made, wanted.readings(made)
            done.append(step)


def _finished(picture: NDArray[np.uint8], finish: Finish) -> NDArray[np.uint8]:
    return finish.applied([picture])[0].picture


def _close_outline(picture: NDArray[np.uint8], wanted: Expectation) -> NDArray[np.uint8]:
    del wanted
    options = CutoutOptions(outline=Outline.CLOSE, smallest_part=0.0)
    return _finished(picture, Finish(grid=None, cutout=options))


_TIMES = 2

# In this order: a cut-out works on true pixels, and no step after the palette makes up a colour.
_STEPS: Mapping[Mend, Step] = {
    Mend.SNAP: lambda picture, _: _finished(picture, Finish()),
    Mend.CUT_OUT: lambda picture, _: _finished(picture, Finish(grid=None, cutout=CutoutOptions())),
    Mend.CLEAN: lambda picture, wanted: cleaned(picture, wanted.asked),
    Mend.OUTLINE: _close_outline,
    Mend.PALETTE: lambda picture, wanted: _finished(
        picture, Finish(grid=None, palette=wanted.source)
    ),
}
