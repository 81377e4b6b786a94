"""A manifest's items times their variables and seeds: what is wanted, one draft a picture.

Nothing here reads a file: `find` gives the files of a pattern. Mistakes are reported with the place
where they stand, and expansion goes on, so that all of them come at once.
"""

from __future__ import annotations

import itertools
import math
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, TypeAlias

from ....workflow.roles import ROLES
from ....workflow.wording import did_you_mean, listed
from ..gates import gate
from ..jobs import Gate
from ..seen import Seen
from .manifest import MOST_JOBS, Expansion, Item, Manifest
from .templates import TemplateError, fill, name_problem, slug
from .yaml_lines import as_text

# Where something stands in the manifest: keys and numbers from the top; `manifest_file` turns it
# into file, line and field.
Place: TypeAlias = tuple[Any, ...]
Report: TypeAlias = Callable[[Place, str], None]
# pattern -> the files that it stands for, sorted
Find: TypeAlias = Callable[[str], Sequence[str]]

# Set by fields of their own: a seed belongs to one picture, and a job is one picture.
_OWN_FIELDS = {
    "seed": "seeds are given as `seeds`",
    "batch_size": "a job is one picture; how many go together is `batch_size` of the manifest",
}
_WILD = frozenset("*?[")


@dataclass(frozen=True, kw_only=True, slots=True)
class Draft:
    """One wanted picture, before it is known what the workflow makes of its parameters."""

    name: str
    item_id: str
    # role or NODE.input -> value; the same object for all seeds of a combination
    parameters: Mapping[str, Any]
    seed: int | None
    priority: int
    gates: tuple[Gate, ...]
    rerolls: int
    # of the item
    place: Place
    # of the parameters, by name; those not in it are the item's own
    places: Mapping[str, Place]
    # False where the item has a mistake: its parameters are to be checked, and no more
    counts: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class _Axis:
    """A list that is expanded over."""

    name: str
    values: Sequence[Any]
    # True where the values are files, which templates show without folder and suffix
    is_file: bool
    place: Place


def expand(
    manifest: Manifest,
    items: Iterable[tuple[Place, Item]],
    find: Find,
    report: Report,
    most: int = MOST_JOBS,
) -> Iterator[Draft]:
    """The drafts of all items in order, at most `most`; what is wrong goes to `report`."""
    names: Seen[str] = Seen()
    ids: Seen[None] = Seen()
    shared = _Common(manifest, find, report)
    count = _Counter(most, report)
    for place, item in items:
        if not ids.add(item.id, None):
            report((*place, "id"), f"there is another item with the id {item.id!r}")
            continue
        expander = _Expander(shared, place, item)
        if not count.add(expander.size(), place):
            return
        for draft in expander.drafts():
            if not draft.counts:
                yield draft
                break
            # Windows and macOS take Potion.png and potion.png for one file,
            # and macOS two spellings of an accented letter.
            folded = unicodedata.normalize("NFC", draft.name.casefold())
            if not names.add(folded, draft.item_id):
                report((*place, "id"), _used_twice(draft, names.whose(folded)))
                break
            yield draft


def size_of(manifest: Manifest, item: Item, find: Find) -> int:
    """How many drafts an item makes, if nothing is wrong with it; makes none."""
    common = _Common(manifest, find, lambda place, message: None)
    return _Expander(common, (), item).size()


def check_size(sizes: Iterable[tuple[Place, int]], report: Report, most: int) -> bool:
    """Say whether items of these sizes make at most `most` jobs; else `report` says where."""
    count = _Counter(most, report)
    return all(count.add(size, place) for place, size in sizes)


class _Counter:
    """How many jobs the items so far make."""

    def __init__(self, most: int, report: Report) -> None:
        self._most = most
        self._report = report
        self._jobs = 0

    def add(self, size: int, place: Place) -> bool:
        """Count those of an item; False, and reported, where they are too many."""
        self._jobs += size
        if self._jobs <= self._most:
            return True
        self._report(
            place,
            f"up to here the manifest makes {_many(self._jobs)} jobs, and one batch has at most "
            f"{self._most:,}; take fewer seeds and values, or several manifests",
        )
        return False


def _many(count: int) -> str:
    return f"{count:,}" if count < 10**15 else "more than 10^15"


def _used_twice(draft: Draft, other: str | None) -> str:
    users = (
        f"items {other!r} and {draft.item_id!r}"
        if other is not None
        else (f"item {draft.item_id!r} and one before it")
    )
    return (
        f"the name {draft.name} is used twice (by {users}); put what tells them apart into `output`"
    )


class _Common:
    """What is the same for all items."""

    def __init__(self, manifest: Manifest, find: Find, report: Report) -> None:
        self.manifest = manifest
        self.find = find
        self.report = report
        self.gates = _gates(manifest.gates)
        self.defaults = {
            name: (value, ("defaults", name))
            for name, value in manifest.defaults.items()
            if _is_parameter(name, ("defaults", name), report)
        }


class _Expander:
    """One item."""

    def __init__(self, common: _Common, place: Place, item: Item) -> None:
        self.common, self.place, self.item = common, place, item
        self.manifest = common.manifest
        self.problems = 0
        self.variables: dict[str, Any] = {"id": item.id}
        self.axes: list[_Axis] = []
        # role -> template of the one file that goes in
        self.single: dict[str, str] = {}
        self._read_variables()
        self._read_images()

    def size(self) -> int:
        """How many drafts there will be, if nothing is wrong."""
        sizes = [len(axis.values) for axis in self.axes]
        if self._expansion() is Expansion.ZIP:
            sizes = sizes[:1]
        return math.prod(sizes) * self._seed_count()

    def drafts(self) -> Iterator[Draft]:
        texts = self._texts()
        output = self.item.output or self.manifest.output or self._default_output()
        self._check_templates(texts, output)
        combinations = self._combinations()
        if self.problems:
            yield self._probe(texts)
            return
        gates, rerolls, priority = self._gates(), self._rerolls(), self._priority()
        places = {name: place for name, (_, place) in texts.items()}
        for values, files in combinations:
            parameters = self._parameters(texts, values, files)
            if parameters is None:
                return
            for seed in self._seeds():
                name = self._name(output, values, seed)
                if name is None:
                    return
                yield Draft(
                    name=name,
                    item_id=self.item.id,
                    parameters=parameters,
                    seed=seed,
                    priority=priority,
                    gates=gates,
                    rerolls=rerolls,
                    place=self.place,
                    places=places,
                )

    def _probe(self, texts: Mapping[str, tuple[Any, Place]]) -> Draft:
        """What can be checked further of an item with a mistake: values that are no template."""
        return Draft(
            name="",
            item_id=self.item.id,
            parameters={
                name: value
                for name, (value, _) in texts.items()
                if not isinstance(value, str) or "{" not in value
            },
            seed=None,
            priority=0,
            gates=(),
            rerolls=0,
            place=self.place,
            places={name: place for name, (_, place) in texts.items()},
            counts=False,
        )

    # ------------------------------------------------------------------- what there is

    def _read_variables(self) -> None:
        for name, value in {**self.manifest.vars, **self.item.vars}.items():
            place = self._place_of("vars", name)
            if name in ("id", "seed"):
                self.report(place, f"{name} is a name that templates have already; use another")
            elif isinstance(value, list):
                self.axes.append(_Axis(name=name, values=value, is_file=False, place=place))
            else:
                self.variables[name] = value

    def _read_images(self) -> None:
        for role, pattern in {**self.manifest.images, **self.item.images}.items():
            place = self._place_of("images", role)
            if "{" in pattern or not _WILD.intersection(pattern):
                self.single[role] = pattern
                continue
            files = self.common.find(pattern)
            if not files:
                self.report(place, f"no file matches {pattern!r}")
            self.axes.append(_Axis(name=role, values=files, is_file=True, place=place))

    def _texts(self) -> dict[str, tuple[Any, Place]]:
        """Every parameter with its value, texts not filled in yet, and where it stands."""
        found: dict[str, tuple[Any, Place]] = dict(self.common.defaults)
        for name in ("prompt", "negative"):
            value = getattr(self.item, name)
            if value is not None:
                found[name] = (value, (*self.place, name))
                if name in self.item.set:
                    self.report((*self.place, "set", name), f"{name} is given twice")
        for name, value in self.item.set.items():
            place = (*self.place, "set", name)
            if _is_parameter(name, place, self.report):
                found[name] = (value, place)
        style = self.manifest.style
        if (style.prefix or style.suffix) and "prompt" not in found:
            self.report((*self.place, "prompt"), "is missing, and `style` needs one to go around")
        return found

    def _default_output(self) -> str:
        lists = [f"{{{axis.name}}}" for axis in self.axes]
        seed = [] if (self.item.seeds or self.manifest.seeds) is None else ["{seed}"]
        return "-".join(["{id}", *lists, *seed])

    # ------------------------------------------------------------------- checks

    def report(self, place: Place, message: str) -> None:
        self.problems += 1
        self.common.report(place, message)

    def _check_templates(self, texts: Mapping[str, tuple[Any, Place]], output: str) -> None:
        known = dict.fromkeys([*self.variables, *(axis.name for axis in self.axes)], "")
        for value, place in texts.values():
            if isinstance(value, str):
                self._check(value, place, known)
        style = self.manifest.style
        self._check(style.prefix, ("style", "prefix"), known)
        self._check(style.suffix, ("style", "suffix"), known)
        for role, pattern in self.single.items():
            self._check(pattern, self._place_of("images", role), known)
        if self.item.output or self.manifest.output:
            place = (*self.place, "output") if self.item.output else ("output",)
            known["seed"] = ""
            self._check(output, place, known)
            if (self.item.seeds or self.manifest.seeds) is None and "{seed}" in output:
                self.report(place, "there are no `seeds`, so {seed} has no value")

    def _place_of(self, field: str, name: str) -> Place:
        """Where a field that items share stands: with the item, or with the manifest."""
        own = name in getattr(self.item, field)
        return (*(self.place if own else ()), field, name)

    def _check(self, text: str, place: Place, known: Mapping[str, str]) -> None:
        if "{" in text or "}" in text:
            try:
                fill(text, known)
            except TemplateError as error:
                self.report(place, str(error))

    # ------------------------------------------------------------------- expansion

    def _expansion(self) -> Expansion:
        return self.item.expand or self.manifest.expand or Expansion.PRODUCT

    def _combinations(self) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
        """(values for templates, files that go in) of every combination."""
        how = self._expansion()
        columns = [axis.values for axis in self.axes]
        if how is Expansion.ZIP and len({len(values) for values in columns}) > 1:
            sizes = ", ".join(f"{axis.name} has {len(axis.values)}" for axis in self.axes)
            self.report(self.axes[-1].place, f"lists that are zipped must be equally long: {sizes}")
            return iter(())
        rows: Iterable[tuple[Any, ...]] = (
            zip(*columns, strict=True)
            if how is Expansion.ZIP and columns
            else itertools.product(*columns)
        )
        return (self._combination(row) for row in rows)

    def _combination(self, row: tuple[Any, ...]) -> tuple[dict[str, Any], dict[str, Any]]:
        values, files = dict(self.variables), {}
        for axis, value in zip(self.axes, row, strict=True):
            if axis.is_file:
                files[axis.name] = value
            values[axis.name] = PurePath(value).stem if axis.is_file else value
        return values, files

    def _parameters(
        self,
        texts: Mapping[str, tuple[Any, Place]],
        values: Mapping[str, Any],
        files: Mapping[str, str],
    ) -> dict[str, Any] | None:
        found = {
            name: fill(value, values) if isinstance(value, str) else value
            for name, (value, _) in texts.items()
        }
        style = self.manifest.style
        prompt = found.get("prompt")
        if isinstance(prompt, str):
            found["prompt"] = fill(style.prefix, values) + prompt + fill(style.suffix, values)
        found.update(files)
        for role, pattern in self.single.items():
            name = fill(pattern, values)
            matches = self.common.find(name)
            if len(matches) != 1:
                how = "no file" if not matches else f"{len(matches)} files, and one is wanted,"
                message = f"{how} of the name {name!r} (for item {self.item.id!r})"
                self.report(self._place_of("images", role), message)
                return None
            found[role] = matches[0]
        return found

    def _name(self, output: str, values: Mapping[str, Any], seed: int | None) -> str | None:
        shown = {name: slug(as_text(value)) for name, value in values.items()}
        name = fill(output, {**shown, "seed": seed})
        problem = name_problem(name)
        if problem is None:
            return name
        place = (*self.place, "output") if self.item.output else (*self.place, "id")
        self.report(place, f"the picture's name would be {name!r}: {problem}")
        return None

    def _seeds(self) -> Iterable[int | None]:
        seeds = self.item.seeds if self.item.seeds is not None else self.manifest.seeds
        if seeds is None:
            return (None,)
        return seeds if isinstance(seeds, list) else seeds.values()

    def _seed_count(self) -> int:
        seeds = self.item.seeds if self.item.seeds is not None else self.manifest.seeds
        if seeds is None:
            return 1
        return len(seeds) if isinstance(seeds, list) else seeds.size

    def _gates(self) -> tuple[Gate, ...]:
        if not self.item.gates:
            return self.common.gates
        return _gates({**self.manifest.gates, **self.item.gates})

    def _rerolls(self) -> int:
        own = self.item.rerolls
        return own if own is not None else self.manifest.rerolls or 0

    def _priority(self) -> int:
        own = self.item.priority
        return own if own is not None else self.manifest.priority or 0


def _is_parameter(name: str, place: Place, report: Report) -> bool:
    """False where a name is no parameter in any workflow, which is then reported."""
    if name in _OWN_FIELDS:
        report(place, f"{name} cannot be set here: {_OWN_FIELDS[name]}")
        return False
    if name in ROLES or "." in name:
        return True
    report(
        place,
        f"there is no such parameter{did_you_mean(name, ROLES)} (there is: {listed(ROLES)}; or "
        "NODE_ID.input)",
    )
    return False


def _gates(wanted: Mapping[str, Any]) -> tuple[Gate, ...]:
    """The gates that are not switched off, by name."""
    return tuple(
        gate(name, bounds.low, bounds.high) for name, bounds in sorted(wanted.items()) if bounds
    )
