"""What a manifest wants of all its pictures together, once they are there: DIR/export.

The pictures that came stay as they are. Beside the results is a record of what they were made from,
written last, so that an export is done again where something changed, and only there.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from ...client.client import writing
from ...errors import InputError, UsageError
from ...runs.fetching import store as store_file
from ...version import __version__
from ...workflow.wording import listed
from ..execution.opening import record_of
from ..execution.plan import recall
from ..execution.store.folder_lock import held
from ..execution.store.pictures import EXPORTED
from ..execution.store.store import Store
from ..logic.jobs import Artifact
from ..logic.manifest.manifest import Export
from .export_options import finish_of, point, sheet_options

if TYPE_CHECKING:
    from ...sprites.snapping import SnappedFile

FOLDER = "export"
RECORD = EXPORTED
# Where the sheet's files are, inside of the export's folder.
SHEET = "sheet"
# A picture that the record of the batch has, and the folder has not.
_MISSING = "missing"


@dataclass(frozen=True, kw_only=True)
class Exported:
    """What an export did. Pictures are paths inside the batch folder."""

    folder: Path
    # results that were written, and that were there already
    made: int
    kept: int
    # pictures without a result, and why
    errors: Mapping[str, str]
    # pictures whose size is not sure
    unsure: tuple[str, ...]
    # what was painted with, as "#1a2b3c"; None where with nothing
    palette: tuple[str, ...] | None
    # the files of the sheet; None where none was wanted, or none could be made
    sheet: tuple[Path, ...] | None = None
    # width and height in px, and the point on it at which all stand; None where not aligned
    canvas: tuple[int, int] | None = None
    pivot: tuple[int, int] | None = None

    def to_json(self) -> dict[str, Any]:
        """Shape for programs."""
        return {
            "made": self.made,
            "kept": self.kept,
            "errors": dict(self.errors),
            "unsure": list(self.unsure),
            "palette": None if self.palette is None else list(self.palette),
            "canvas": None if self.canvas is None else list(self.canvas),
            "pivot": None if self.pivot is None else list(self.pivot),
            "sheet": None if self.sheet is None else [str(file) for file in self.sheet],
        }

    def sentences(self) -> Iterator[tuple[str, bool]]:
        """What to tell, and whether a person should look at it."""
        colours = "" if self.palette is None else f" in {len(self.palette)} colours"
        total = self.made + self.kept
        done = f"{total} pictures are exported to {self.folder}{colours}, {self.made} of them now"
        yield done, False
        if self.canvas is not None:
            yield f"each is on a canvas of {self.canvas[0]}x{self.canvas[1]}", False
        if self.sheet:
            names = listed([file.name for file in self.sheet])
            yield f"their sheet is in {self.sheet[0].parent}: {names}", False
        if self.unsure:
            some = listed(self.unsure)
            yield f"the size of {len(self.unsure)} of them is not sure; look at {some}", True
        for path, error in self.errors.items():
            yield f"{path} is not exported: {error}", True


Progress = Callable[[str, int, int], None]
"""Called with what is being done, how many pictures it is done with, and of how many."""


def export(folder: Path, progress: Progress | None = None) -> Exported:
    """Export the pictures of a batch folder as its manifest says, those that are there by now.

    Raises UsageError where it wants no export, BatchBusy while a run is at work, StoreError, and
    OutputError where a result cannot be written.
    """
    with record_of(folder, create=False) as store, held(folder):
        known = recall(store)
        options = known.manifest.export if known else None
        if options is None:
            raise UsageError(f"the manifest of {folder} has no `export`; add it, and run the batch")
        return export_pictures(store, folder, options, progress)


def export_pictures(
    store: Store, folder: Path, options: Export, progress: Progress | None = None
) -> Exported:
    """Export what `store` has in `folder`, which is held. Raises OutputError."""
    artifacts = sorted(store.artifacts(), key=lambda one: one.path)
    return _Run(folder, options, artifacts, progress or _untold).done()


def _untold(what: str, done: int, total: int) -> None:
    """Nobody wants to know."""


class _Run:
    """One export: what there is, what was done before, and what that leaves to do."""

    def __init__(
        self, folder: Path, options: Export, artifacts: list[Artifact], progress: Progress
    ) -> None:
        self.folder, self.progress = folder, progress
        self.out = folder / _free_name(one.path for one in artifacts)
        self.options = {"spriteworks": __version__, **options.model_dump(mode="json")}
        self.finish = finish_of(options)
        self.sequence, self.align, self.sheet = options.sequence, options.align, options.sheet
        # what is to be exported, and the hash of what is there
        self.wanted = {one.path: _content(folder, one) for one in artifacts}
        # the frames of what was made now, or why there are none
        self.frames: dict[str, list[Path]] = {}
        self.no_frames: dict[str, str] = {}
        self.before = _record(self.out / RECORD)

    def done(self) -> Exported:
        """Make what is missing or another one now."""
        same = self.before.get("options") == self.options and _is_alignment(self.before)
        old: dict[str, Any] = self.before.get("pictures", {}) if same else {}
        kept = {
            path: old[path]
            for path, content in self.wanted.items()
            if path in old and self._is_right(old[path], content)
        }
        together = self.finish.finds_palette or self.sequence or self.align is not None
        if together and not kept.keys() == self.wanted.keys() == old.keys():
            kept = {}  # each picture has a say in the palette, the grid and the canvas of all
        results = self._made([path for path in self.wanted if path not in kept])
        self._cut_apart(results)
        aligned = self._aligned(results)
        pictures = {
            path: kept.get(path) or self._entry(results[path], aligned) for path in self.wanted
        }
        palette = self._palette(results.values(), pictures)
        changed = bool(results) or pictures.keys() != old.keys() or not same
        saved = {one["saved"] for one in pictures.values() if "saved" in one}
        frames = {name for one in pictures.values() for name in _frames(one)}
        on_sheet = frames if self.options["frames"] > 1 else saved
        sheet = self._sheet(on_sheet, changed, aligned.get("pivot"))
        if changed or sheet != self.before.get("sheet"):
            record = {"options": self.options, "palette": palette, "pictures": pictures}
            also = {"align": aligned if self.align else None, "sheet": sheet}
            self._write({**record, **{key: one for key, one in also.items() if one is not None}})
            self._remove(saved | frames)
            self._remove_sheet(sheet or {})
        errors = {path: one["error"] for path, one in pictures.items() if "error" in one}
        if "error" in aligned:
            errors["the alignment"] = aligned["error"]
        if sheet and "error" in sheet:
            errors["the sheet"] = sheet["error"]
        files = [self.out / SHEET / name for name in (sheet or {}).get("files", {})]
        return Exported(
            folder=self.out,
            made=sum(one.ok and path not in self.no_frames for path, one in results.items()),
            kept=sum("saved" in one for one in kept.values()),
            errors=errors,
            unsure=tuple(path for path, one in pictures.items() if not one.get("sure", True)),
            palette=None if palette is None else tuple(palette),
            sheet=tuple(files) or None,
            canvas=point(aligned.get("canvas")),
            pivot=point(aligned.get("pivot")),
        )

    def _cut_apart(self, results: Mapping[str, SnappedFile]) -> None:
        """Cut the rows of frames that were made now, and note what came of each."""
        count = self.options["frames"]
        if count == 1:
            return
        from ...sprites.frames import cut_apart, frames_of

        taken = {self._target(path) for path in self.wanted}
        for path, result in results.items():
            if result.saved is None:
                continue
            other = next((one for one in frames_of(result.saved, count) if one in taken), None)
            if other is not None:
                self.no_frames[path] = f"its frame {other.relative_to(self.out)} is a picture, too"
                continue
            try:
                self.frames[path] = cut_apart(result.saved, count)
            except InputError as error:
                self.no_frames[path] = str(error).removeprefix(f"{self.out}{os.sep}")

    def _target(self, path: str) -> Path:
        return self.out / PurePosixPath(path).with_suffix(".png")

    def _aligned(self, results: Mapping[str, SnappedFile]) -> dict[str, Any]:
        """Align what was made now, and what the record says of it; as before where nothing was."""
        if self.align is None:
            return {}
        files = [one.saved for one in results.values() if one.saved is not None]
        if self.options["frames"] > 1:
            files = [file for row in self.frames.values() for file in row]
        if not files:
            return {} if results else self.before.get("align", {})
        from comfy_nodes.ops.alignment import Pivot

        from ...sprites.frames import align_in_place
        from ...sprites.parsing import size_of
        from ...sprites.sheets import sources_in

        self.progress("aligning", 0, len(files))
        names = [file.relative_to(self.out).as_posix() for file in files]
        animations: dict[str, list[Path]] = {}
        for source in sources_in(self.out, names):
            # what is in no animation is one by itself; no animation has a name with /
            animations.setdefault(source.group or f"/{source.file}", []).append(source.file)
        try:
            aligned = align_in_place(
                list(animations.values()),
                pivot=Pivot(self.align.pivot),
                keep_height=self.align.keep_height,
                margin=self.align.margin,
                canvas=None if self.align.canvas is None else size_of(self.align.canvas),
            )
        except InputError as error:
            return {"error": str(error)}
        return {"canvas": list(aligned.canvas), "pivot": list(aligned.pivot)}

    def _sheet(
        self, saved: set[str], changed: bool, pivot: Sequence[int] | None
    ) -> dict[str, Any] | None:
        """What the record says of the sheet, which is made anew where something changed."""
        if self.sheet is None or not saved:
            return None
        before = self.before.get("sheet")
        known = before.get("files") if isinstance(before, dict) else None
        if not changed and isinstance(before, dict):
            there = isinstance(known, dict) and all(
                stamp == _stamp(self.out / SHEET / name) for name, stamp in known.items()
            )
            if there or "error" in before:
                return before
        from ...sprites.sheets import sheet_of, sources_in

        self.progress("packing the sheet", 0, 1)
        target = self.out / SHEET / self.sheet.name
        try:
            options = sheet_options(self.sheet, pivot)
            made = sheet_of(sources_in(self.out, saved), target, options)
        except (UsageError, InputError) as error:
            return {"error": str(error)}
        told = made.to_json()
        files = {file.name: _stamp(file) for file in made.files}
        return {"files": files, **{key: told[key] for key in ("pages", "unique", "animations")}}

    def _is_right(self, entry: Mapping[str, Any], content: str) -> bool:
        if entry.get("sha256") != content or content == _MISSING:
            return False
        files = {str(entry.get("saved")): entry.get("stamp"), **_frames(entry)}
        return "error" in entry or all(
            _stamp(self.out / name) == stamp for name, stamp in files.items()
        )

    def _made(self, paths: list[str]) -> dict[str, SnappedFile]:
        if not paths:
            return {}
        from ...sprites.snapping import SnappedFile, snapped_file
        from ...sprites.together import finish_each

        files = [self.folder / path for path in paths]
        targets = [self._target(path) for path in paths]
        found = finish_each(
            files,
            targets,
            self.finish,
            snapped_file,
            SnappedFile,
            report=lambda _, done, total: self.progress("exporting", done, total),
            looked=lambda done, total: self.progress("looking for colours", done, total),
            sequence=self.sequence,
        )
        return dict(zip(paths, found, strict=True))

    def _entry(self, result: SnappedFile, aligned: Mapping[str, Any]) -> dict[str, Any]:
        path = result.file.relative_to(self.folder).as_posix()
        told = result.to_json()
        content = {"sha256": self.wanted[path]}
        if result.saved is None or path in self.no_frames:
            return {**content, "error": self.no_frames.get(path) or told["error"]}
        for known in ("file", "palette"):
            told.pop(known, None)
        if path in self.frames:
            names = {one: one.relative_to(self.out).as_posix() for one in self.frames[path]}
            told["frames"] = {name: _stamp(one) for one, name in names.items()}
        elif "canvas" in aligned:
            told["width"], told["height"] = aligned["canvas"]
        saved = result.saved.relative_to(self.out).as_posix()
        return {**content, "saved": saved, "stamp": _stamp(result.saved), **told}

    def _palette(
        self, results: Iterable[SnappedFile], pictures: Mapping[str, Any]
    ) -> list[str] | None:
        """What was painted with, now or before; it is one for all."""
        for one in results:
            if one.palette is not None:
                return list(one.palette)
        return self.before.get("palette") if pictures else None

    def _write(self, record: Mapping[str, Any]) -> None:
        text = json.dumps(record, ensure_ascii=False, indent=1)
        with writing(self.out):
            self.out.mkdir(parents=True, exist_ok=True)
        target = str(self.out / RECORD)
        store_file(text.encode(), f"{target}.part", target)

    def _remove(self, wanted: set[str]) -> None:
        """Take away results of pictures that are no longer wanted, or have none now."""
        entries = self.before.get("pictures", {}).values()
        for text in (one for entry in entries for one in (entry.get("saved", ""), *_frames(entry))):
            name = PurePosixPath(str(text))
            # The record may have been written by somebody else.
            inside = not name.is_absolute() and ".." not in name.parts
            if inside and name.suffix == ".png" and name.as_posix() not in wanted:
                with suppress(OSError):
                    (self.out / name).unlink()

    def _remove_sheet(self, sheet: Mapping[str, Any]) -> None:
        """Take away files of an earlier sheet that this one does not have."""
        before = self.before.get("sheet")
        known = before.get("files") if isinstance(before, dict) else None
        for name in known if isinstance(known, dict) else ():
            # The record may have been written by somebody else.
            if PurePosixPath(name).name == name and name not in sheet.get("files", {}):
                with suppress(OSError):
                    (self.out / SHEET / name).unlink()


def _is_alignment(record: Mapping[str, Any]) -> bool:
    """Whether what a record says of the alignment, if anything, can be taken at its word."""
    found = record.get("align", {})
    if not isinstance(found, dict) or not isinstance(found.get("error", ""), str):
        return False
    pairs = [found[key] for key in ("canvas", "pivot") if key in found]
    return all(
        isinstance(pair, list) and len(pair) == 2 and all(type(one) is int for one in pair)
        for pair in pairs
    )


def _free_name(paths: Iterable[str]) -> str:
    """`export`, unless a picture of the batch has that for its folder; none has a name with `=`."""
    taken = any(path.casefold().startswith(f"{FOLDER}/") for path in paths)
    return f"{FOLDER}=" if taken else FOLDER


def _content(folder: Path, artifact: Artifact) -> str:
    """The hash of a picture that is there, as far as its size tells."""
    try:
        there = os.stat(folder / artifact.path).st_size == artifact.bytes
    except OSError:
        there = False
    return artifact.sha256 if there else _MISSING


def _frames(entry: Mapping[str, Any]) -> dict[str, Any]:
    """The frames that a picture was cut into, by their paths, and their stamps."""
    found = entry.get("frames")
    return found if isinstance(found, dict) else {}


def _stamp(path: Path) -> str:
    """What tells a result that was changed or lost from one that was not."""
    try:
        found = path.stat()
    except OSError:
        return ""
    return f"{found.st_size} {found.st_mtime_ns}"


def _record(path: Path) -> dict[str, Any]:
    """What an export before this one left; nothing where there is none that can be read."""
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    pictures = found.get("pictures") if isinstance(found, dict) else None
    whole = isinstance(pictures, dict) and all(isinstance(one, dict) for one in pictures.values())
    return found if whole else {}
