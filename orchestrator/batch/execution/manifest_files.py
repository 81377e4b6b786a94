"""A manifest on disk: read, checked, and every mistake in it with file, line and field."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from ...errors import ManifestError, ManifestProblem, SpriteworksError
from ...runs.workflows import shipped, shipped_names
from ...workflow.wording import did_you_mean, listed
from ..logic.manifest.expansion import Draft, Place, check_size, expand, size_of
from ..logic.manifest.item_files import SUFFIXES, ItemRow, rows
from ..logic.manifest.manifest import (
    MOST_JOBS,
    Align,
    ContactSheet,
    Export,
    Item,
    Manifest,
    SeedCount,
    SeedRange,
    SheetExport,
    Style,
    ValueBounds,
)
from ..logic.manifest.yaml_lines import Lines, YamlError, read_yaml
from .sources import Sources, check_readable, text_of

# Fields without which the rest cannot be judged: others would seem wrong that are not.
_LOAD_BEARING = frozenset(
    {"id", "prompt", "defaults", "vars", "images", "expand", "output", "items", "items_from", ""}
)


# Characters of what is said of one mistake.
_LONGEST_MESSAGE = 600


class Problems:
    """The mistakes found so far, each once."""

    def __init__(self, path: Path, text: str) -> None:
        self._path = path
        self._text = text
        self._found: dict[tuple[Place, str], None] = {}

    def report(self, place: Place, message: str) -> None:
        if len(message) > _LONGEST_MESSAGE:
            # It quotes what was written: 5,000 digits help nobody.
            half = _LONGEST_MESSAGE // 2
            message = f"{message[:half]} ... {message[-half:]}"
        self._found[(place, message)] = None

    def __bool__(self) -> bool:
        return bool(self._found)

    def check(self) -> None:
        """Raise ManifestError with all mistakes in the order of their lines, if there is any."""
        if not self._found:
            return
        lines: Lines = {}
        read_yaml(self._text, lines)
        problems = [self._placed(place, message, lines) for place, message in self._found]
        # those of the manifest itself first
        problems.sort(key=lambda one: (one.file != str(self._path), one.file, one.line or 0))
        count = "1 mistake" if len(problems) == 1 else f"{len(problems)} mistakes"
        raise ManifestError(f"{self._path} has {count}:", problems)

    def _placed(self, place: Place, message: str, lines: Lines) -> ManifestProblem:
        if place and isinstance(place[0], ItemRow):
            row = place[0]
            return ManifestProblem(
                file=row.file, line=row.line, field=_field(place[1:]), message=message
            )
        known = next((place[:end] for end in range(len(place), 0, -1) if place[:end] in lines), ())
        return ManifestProblem(
            file=str(self._path),
            line=lines.get(known, 1),
            field=_field(place),
            message=message,
        )


@dataclass(frozen=True, kw_only=True)
class ManifestFile:
    """A manifest that has been read; its items are checked when they are asked for."""

    path: Path
    manifest: Manifest
    workflow: Path
    # what was read for it, to see later whether anything has changed
    sources: Sources
    # jobs that it may make
    most: int
    _text: str
    # of `items_from`; None where there is none that can be read
    _more: Path | None = None

    def problems(self) -> Problems:
        """An empty list of mistakes, for `drafts` and for those who check further."""
        return Problems(self.path, self._text)

    def drafts(self, problems: Problems) -> Iterator[Draft]:
        """All pictures wanted, in order; mistakes go to `problems`."""
        # before any is made: making what is too much would take hours
        if not check_size(self._sizes(), problems.report, self.most):
            return iter(())
        items = self._items(problems)
        return expand(self.manifest, items, self.sources.find, problems.report, self.most)

    def check(self) -> int:
        """Expand everything and return how many pictures; raises ManifestError with all mistakes.

        What only the workflow can tell, such as a parameter that it does not have, is not seen.
        """
        problems = self.problems()
        count = sum(draft.counts for draft in self.drafts(problems))
        problems.check()
        return count

    def _items(self, problems: Problems) -> Iterator[tuple[Place, Item]]:
        return _checked(self._raw(problems), problems)

    def _raw(self, problems: Problems) -> Iterator[tuple[Place, Any]]:
        """The items as they were written."""
        yield from ((("items", number), item) for number, item in enumerate(self.manifest.items))
        if self._more is not None:
            try:
                with self.sources.opened(self._more) as file:
                    yield from rows(self._more, file, problems.report)
            except (OSError, UnicodeError) as error:
                _report_unreadable(self._more, error, problems)

    def _sizes(self) -> Iterator[tuple[Place, int]]:
        """How many jobs each item makes that can be read; mistakes are for those who make them."""
        silent = Problems(self.path, self._text)
        find = self.sources.find
        alone = size_of(self.manifest, Item(id="x", seeds=[0]), find)
        shared = size_of(self.manifest, Item(id="x"), find)
        for place, raw in self._raw(silent):
            if _has_no_lists(raw, self.manifest):
                # a million rows need no second look
                seeds = raw.get("seeds")
                yield place, shared if seeds is None else alone * len(seeds)
                continue
            for _, item in _checked([(place, raw)], silent):
                yield place, size_of(self.manifest, item, find)


def load(path: Path, most: int = MOST_JOBS) -> ManifestFile:
    """Read a manifest, which may make `most` jobs.

    Raises ManifestError with every mistake in the fields of the manifest and, if there is one, in
    those of its items; items alone are checked by `drafts`.
    """
    sources = Sources(path.parent)
    text = _manifest_text(path, sources)
    problems = Problems(path, text)
    data = _data(path, text)
    manifest = _manifest(data, problems)
    if manifest is None:
        _check_the_rest(data, path, problems)
        problems.check()
        raise AssertionError("a manifest that is refused has a mistake")
    if not manifest.items and manifest.items_from is None:
        problems.report(("items",), "there are no items; give `items`, or `items_from` a file")
    manifest = _with_colours(manifest, path.parent, sources, problems)
    more = _more_items(manifest, path, sources, problems)
    workflow = _workflow(manifest.workflow, path.parent, problems)
    sources.add_file(workflow)
    file = ManifestFile(
        path=path,
        manifest=manifest,
        workflow=workflow,
        sources=sources,
        most=most,
        _text=text,
        _more=more,
    )
    if problems:
        for _ in file.drafts(problems):
            pass
    problems.check()
    return file


# --------------------------------------------------------------------------- reading


def data_of(path: Path) -> Any:
    """What a manifest says, unchecked, for those who have to look before it is taken at its word.

    Raises ManifestError where it is no YAML.
    """
    return _data(path, _manifest_text(path, Sources(path.parent)))


def _manifest_text(path: Path, sources: Sources) -> str:
    try:
        return sources.read(path)
    except (OSError, UnicodeError) as error:
        raise ManifestError(f"the manifest {path} cannot be read: {text_of(error)}") from error


def _data(path: Path, text: str) -> Any:
    try:
        return read_yaml(text)
    except YamlError as error:
        problem = ManifestProblem(file=str(path), line=error.line, field="", message=str(error))
        raise ManifestError(f"{path} cannot be read:", [problem]) from error


def _manifest(data: Any, problems: Problems) -> Manifest | None:
    """The manifest, without fields that are wrong where it still means something without them."""
    if not isinstance(data, dict):
        problems.report((), "a manifest is a mapping with name, workflow and items")
        return None
    try:
        return Manifest.model_validate(data)
    except ValidationError as error:
        wrong = _report(error, (), data, Manifest, problems)
    if wrong & _LOAD_BEARING:
        return None
    mended = Manifest.model_validate({"name": "x", "workflow": "x", **_mended(data, wrong)})
    return mended.model_copy(update={"workflow": ""}) if "workflow" in wrong else mended


def _check_the_rest(data: Any, path: Path, problems: Problems) -> None:
    """What can be judged of a manifest with fields without which most of it cannot."""
    given = data if isinstance(data, dict) else {}
    if isinstance(given.get("workflow"), str):
        _workflow(given["workflow"], path.parent, problems)
    raw = given.get("items")
    if isinstance(raw, list):
        places = ((("items", number), item) for number, item in enumerate(raw))
        for _ in _checked(places, problems):
            pass


def _checked(raw: Iterable[tuple[Place, Any]], problems: Problems) -> Iterator[tuple[Place, Item]]:
    for place, data in raw:
        try:
            item = Item.model_validate(data)
        except ValidationError as error:
            wrong = _report(error, place, data, Item, problems)
            if wrong & _LOAD_BEARING or not isinstance(data, dict):
                continue
            item = Item.model_validate(_mended(data, wrong))
        yield place, item


def _has_no_lists(raw: Any, manifest: Manifest) -> bool:
    """Whether nothing but listed seeds of an item says how many jobs it makes."""
    if not isinstance(raw, dict) or "expand" in raw or "images" in raw:
        return False
    own = raw.get("vars") or {}
    return (
        isinstance(raw.get("seeds"), list | None)
        and isinstance(own, dict)
        and own.keys().isdisjoint(manifest.vars)
        and not any(isinstance(value, list) for value in own.values())
    )


def _mended(data: dict[str, Any], wrong: set[str]) -> dict[str, Any]:
    """The fields that are right, and a seed, so that what else is wrong is found, too."""
    kept = {name: value for name, value in data.items() if name not in wrong}
    return {**kept, "seeds": [0]} if "seeds" in wrong else kept


def _with_colours(
    manifest: Manifest, folder: Path, sources: Sources, problems: Problems
) -> Manifest:
    """The manifest with the colours of the export's palette, so that its file is not needed later.

    A file is seen from the manifest's folder, and a change of it makes a new plan.
    """
    export = manifest.export
    if export is None or export.palette is None or isinstance(export.palette, int):
        return manifest
    from ...sprites.palettes import hex_list, means_file, read_palette

    wanted = export.palette
    source = " ".join(wanted) if isinstance(wanted, list) else wanted
    try:
        if means_file(source, folder):
            sources.add_file(folder / source)
            found = read_palette(folder / source)
        else:
            found = read_palette(source)
    except SpriteworksError as error:
        problems.report(("export", "palette"), str(error))
        return manifest
    colours = export.model_copy(update={"palette": list(hex_list(found))})
    return manifest.model_copy(update={"export": colours})


def _more_items(
    manifest: Manifest, path: Path, sources: Sources, problems: Problems
) -> Path | None:
    if manifest.items_from is None:
        return None
    file = path.parent / manifest.items_from
    if file.suffix.casefold() not in SUFFIXES:
        problems.report(("items_from",), f"{file.name} is neither .csv nor .jsonl")
        return None
    try:
        check_readable(file)
    except OSError as error:
        _report_unreadable(file, error, problems)
        return None
    return file


def _report_unreadable(file: Path, error: Exception, problems: Problems) -> None:
    problems.report(("items_from",), f"{file} cannot be read: {text_of(error)}")


def _workflow(name: str, folder: Path, problems: Problems) -> Path:
    # graphs go first, they need no server to be read
    for path in (folder / name, *reversed(shipped(name))):
        # says no, too, of what can be no name: too long ones
        if os.path.isfile(path):
            return path
    if not name:
        # that has been said already
        return folder
    known = shipped_names()
    problems.report(
        ("workflow",),
        f"there is no workflow {name!r}{did_you_mean(name, known)}; give a file, seen from the "
        f"manifest's folder, or one of: {listed(known)}",
    )
    return folder / name


# --------------------------------------------------------------------------- mistakes

_PARTS: dict[str, type[BaseModel]] = {
    "style": Style,
    "contact_sheet": ContactSheet,
    "export": Export,
    "sheet": SheetExport,
    "align": Align,
}
_SAID: dict[str, str] = {
    "missing": "is missing",
    "model_type": "must be a mapping of fields",
    "dict_type": "must be a mapping",
    "list_type": "must be a list",
    "string_type": "must be a text; put quotes around it",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "string_too_short": "must not be empty",
    "finite_number": "must be a number, and not an infinite one",
}


def _report(
    error: ValidationError, place: Place, data: Any, model: type[BaseModel], problems: Problems
) -> set[str]:
    """Report all mistakes that pydantic found; return the names of the fields they are in."""
    wrong = set()
    for one in error.errors(include_url=False):
        found = _actual(one["loc"], data, missing=one["type"] == "missing")
        if one["type"] == "extra_forbidden":
            names = _fields(found[:-1], model)
            hint = did_you_mean(str(found[-1]), names)
            message = f"there is no such field{hint} (there is: {listed(names)})"
        elif one["type"] == "string_pattern_mismatch":
            message = "is no name: use letters, digits and _, and no digit first"
        else:
            message = _SAID.get(one["type"]) or one["msg"][:1].lower() + one["msg"][1:]
        problems.report((*place, *found), message)
        wrong.add(str(found[0]) if found else "")
    return wrong


def _actual(loc: tuple[Any, ...], data: Any, *, missing: bool) -> Place:
    """The part of pydantic's location that is in the data, without the names of its own branches.

    The last name of something missing is in no data and stays.
    """
    found: list[Any] = []
    for name in loc:
        inside = name in data if isinstance(data, dict) else _has(data, name)
        if inside:
            data = data[name]
        elif not (missing and name is loc[-1]):
            continue
        found.append(name)
    return tuple(found)


def _has(data: Any, name: Any) -> bool:
    return isinstance(data, list) and isinstance(name, int) and name < len(data)


def _fields(inside: Place, model: type[BaseModel]) -> list[str]:
    last = inside[-1] if inside else None
    models: list[type[BaseModel]] = [_PARTS.get(str(last), model)]
    if last == "seeds":
        models = [SeedRange, SeedCount]
    elif len(inside) > 1 and inside[-2] == "gates":
        models = [ValueBounds]
    return [field.alias or name for one in models for name, field in one.model_fields.items()]


def _field(place: Place) -> str:
    """`items[3].seeds.count`."""
    text = ""
    for part in place:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text
