"""Drafts and a workflow become jobs: parameters checked, keys computed, graphs built; with no I/O.

The key of a job is a hash of its whole graph with every parameter in place, so it does not matter
by which name or way a value got there. Most of the graph is equal for all jobs: it is turned into
text once for each set of parameter names, with gaps, and each job only fills the gaps.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import inf
from typing import Any, TypeAlias

from comfy_nodes.vocabulary import Unknown

from ...errors import BadValue, GraphError, UsageError
from ...protocol import Graph
from ...workflow.catalogue import Catalogue
from ...workflow.checking import check
from ...workflow.choices import with_known_files
from ...workflow.inputs import NodeInput
from ...workflow.roles import (
    Target,
    available_roles,
    find_targets,
    image_inputs,
    input_at,
    parameters,
    put,
    seed_targets,
    takes_choices,
)
from ...workflow.texts import Texts, may_choose, resolved
from ...workflow.values import typed
from ...workflow.vocabulary import prompted, sentences, unknown_by_model, vocabularies
from .jobs import Job
from .manifest.expansion import Draft, Report
from .manifest.yaml_lines import PlainScalar, as_text
from .prefixes import PREFIX
from .seen import Seen

# picture as a parameter names it -> SHA-256 of the file; None where only the server has it
Digest: TypeAlias = Callable[[str], str | None]

# Where a file goes on the server says nothing about the picture in it.
NOT_IN_KEY = frozenset({PREFIX})
_GAP = re.compile(r'"\\u0000(\d+)\\u0000"')
# Hex digits of a group's hash: among 100,000 groups, two are equal with a chance of 1 in 10^9.
_GROUP_DIGITS = 16


@dataclass(frozen=True, kw_only=True)
class _Parameter:
    """Where one parameter goes."""

    name: str
    targets: tuple[Target, ...]
    entry: NodeInput
    # whether the seed chooses among the parts of a text in braces
    is_prompt: bool

    def set(self, graph: Graph, value: Any) -> None:
        for target in self.targets:
            put(graph, target, value, self.entry)

    def chosen(self, value: Any, seed: int | None) -> Any:
        """The value as it is sent."""
        if not self.is_prompt or not isinstance(value, str):
            return value
        return resolved(value, seed, comments=False)


@dataclass(frozen=True, kw_only=True)
class _Filling:
    """What all seeds of one combination share."""

    recipe: _Recipe
    # of the draft, each as its input takes it: what was written in a text, a value elsewhere
    parameters: Mapping[str, Any]
    # as the server takes them and as they stand in a key, in the order of the recipe
    values: list[Any]
    texts: list[str]
    group: str
    model: str
    # whether the texts differ from seed to seed
    has_choices: bool


class _Recipe:
    """How one set of parameter names goes into the workflow's graph."""

    def __init__(
        self,
        graph: Graph,
        given: Mapping[str, Any],
        info: Catalogue,
        digest: Digest,
        texts: Texts,
    ) -> None:
        self._info = info
        self._digest = digest
        self._graph = _copied(graph)
        self._pin_batch_size()
        self._texts = texts
        # name -> what is wrong with it
        self.unknown: dict[str, str] = {}
        self.parameters: list[_Parameter] = []
        for name, value in given.items():
            self._enter(name, value)
        self.broken = self._fault()
        # where the model of a prompt may know few words
        self.prompted = [] if self.broken else prompted(self._graph, info)
        self.own_seed = self._own_seed()
        # texts of the workflow itself in which the seed chooses
        self._choices = self._own_choices()
        self._pieces = self._text_with_gaps()
        # the places of parameters that choose a model, and the models by their values
        self._choosers = [
            place
            for place, parameter in enumerate(self.parameters)
            if any(self._is_model(target) for target in parameter.targets)
        ]
        self._models: dict[tuple[Any, ...], str] = {}

    def has_choices(self, values: list[Any]) -> bool:
        """True where the seed has a say in the texts, so that they differ from job to job."""
        given = zip(self.parameters, values, strict=True)
        return bool(self._choices) or any(
            one.is_prompt and may_choose(value) for one, value in given
        )

    def texts(self, values: list[Any], seed: int | None = None) -> list[str]:
        """The values as they stand in a key."""
        given = [
            self._picture(value)
            if parameter.entry.is_image_upload
            else _dumps(parameter.chosen(value, seed))
            for parameter, value in zip(self.parameters, values, strict=True)
        ]
        return given

    def hash(self, texts: list[str], seed: int | None = None) -> str:
        """SHA-256 of the graph's canonical JSON with these texts in its gaps."""
        own = [_dumps(resolved(text, seed, comments=True)) for text in self._choices.values()]
        texts = [*texts, *own]
        pieces = [piece if isinstance(piece, str) else texts[piece] for piece in self._pieces]
        return hashlib.sha256("".join(pieces).encode()).hexdigest()

    def model(self, values: list[Any]) -> str:
        """The models that the graph loads, as one text."""
        chosen = tuple(values[place] for place in self._choosers)
        if chosen not in self._models:
            self._models[chosen] = model_of(self.filled(values), self._info)
        return self._models[chosen]

    def filled(self, values: Iterable[Any], seed: int | None = None) -> Graph:
        """A copy of the graph with these values, its texts chosen by `seed`."""
        graph = _copied(self._graph)
        for parameter, value in zip(self.parameters, values, strict=True):
            parameter.set(graph, parameter.chosen(value, seed))
        changed = [
            (target.node_id, target.input) for one in self.parameters for target in one.targets
        ]
        return self._texts.sent(graph, seed, changed)

    def _pin_batch_size(self) -> None:
        # A job is one picture, whatever the workflow makes when it is run by itself.
        if "batch_size" in available_roles(self._graph, self._info):
            for target in find_targets(self._graph, "batch_size", self._info):
                self._graph[target.node_id]["inputs"][target.input] = 1

    def _enter(self, name: str, value: Any) -> None:
        try:
            targets = find_targets(self._graph, name, self._info)
        except (UsageError, GraphError) as error:
            self.unknown[name] = str(error)
            return
        entry = input_at(self._graph, targets[0], self._info)
        is_prompt = any(takes_choices(self._graph, target, self._info) for target in targets)
        parameter = _Parameter(name=name, targets=tuple(targets), entry=entry, is_prompt=is_prompt)
        value = _as_taken(value, entry)
        self.parameters.append(parameter)
        # what was written there has no say any more
        self._texts = self._texts.without((target.node_id, target.input) for target in targets)
        try:
            parameter.set(self._graph, typed(name, value, entry))
        except BadValue:
            # this one value is wrong, and is reported with its job; others may be right
            return

    def _fault(self) -> str | None:
        try:
            check(self._graph, self._info)
        except GraphError as error:
            return str(error)
        return None

    def _is_model(self, target: Target) -> bool:
        kind = self._graph[target.node_id]["class_type"]
        return target.input in self._info.node_class(kind).model_inputs

    def _own_choices(self) -> dict[Target, str]:
        found = {}
        for node_id, name in self._texts.prompts:
            text = self._graph[node_id]["inputs"].get(name)
            if may_choose(text):
                found[Target(node_id=node_id, input=name)] = text
        return found

    def _own_seed(self) -> int | None:
        """The seed of the workflow itself, where no parameter changes it."""
        targets = {target for parameter in self.parameters for target in parameter.targets}
        has_seed = "seed" in available_roles(self._graph, self._info)
        if has_seed and not targets.isdisjoint(seed_targets(self._graph)):
            return None
        seed = parameters(self._graph, self._info).get("seed")
        return seed if isinstance(seed, int) else None

    def _text_with_gaps(self) -> list[str | int]:
        """Canonical JSON of what affects the picture: texts, and numbers of parameters between."""
        graph = self._texts.sent(self._graph, None)
        for entry in image_inputs(graph, self._info):
            graph[entry.node_id]["inputs"][entry.input] = self._pictured(entry.value)
        gaps = [*(parameter.targets for parameter in self.parameters), *zip(self._choices)]
        for number, targets in enumerate(gaps):
            for target in targets:
                graph[target.node_id]["inputs"][target.input] = f"\0{number}\0"
        text = _dumps({key: _of_key(node) for key, node in graph.items()})
        parts = _GAP.split(text)
        return [int(part) if place % 2 else part for place, part in enumerate(parts)]

    def _pictured(self, value: str) -> Any:
        digest = self._digest(value)
        return value if digest is None else {"sha256": digest}

    def _picture(self, value: str) -> str:
        return _dumps(self._pictured(value))


class Planner:
    """Turns drafts into jobs, and jobs into graphs, for one workflow."""

    def __init__(
        self, graph: Graph, catalogue: Catalogue, digest: Digest, texts: Texts | None = None
    ) -> None:
        self._graph = with_known_files(graph, catalogue)
        self._info = catalogue
        self._texts = texts or Texts()
        self._digest = lru_cache(maxsize=None)(digest)
        self._recipes: dict[tuple[str, ...], _Recipe] = {}
        self._unknown: dict[str, dict[str, Unknown]] = {}

    def notes(self) -> list[str]:
        """Words in the texts of all jobs made so far that their models do not know."""
        places = (place for recipe in self._recipes.values() for place in recipe.prompted)
        return sentences(self._unknown, vocabularies(places))

    def jobs(self, drafts: Iterable[Draft], report: Report) -> Iterator[Job]:
        """The jobs of drafts, in order; what is wrong goes to `report`, and that job is left out.

        Two jobs that would make the same picture are a mistake, too.
        """
        classes = {str(node["class_type"]) for node in self._graph.values()}
        lacking = sorted(classes - set(self._info))
        for kind in lacking:
            report(("workflow",), self._info.unknown(kind))
        if lacking:
            # nothing can be traced in such a graph, but mistakes of the manifest itself are found
            drafts = (draft for draft in drafts if False)
        made: Seen[str] = Seen()
        last: tuple[Any, bool, _Filling | None] = (None, False, None)
        for draft in drafts:
            seeded = draft.seed is not None
            if last[0] is not draft.parameters or last[1] != seeded:
                last = (draft.parameters, seeded, self._filling(draft, report))
            filling = last[2]
            if filling is None or not draft.counts:
                continue
            job = _job(draft, filling)
            if made.add(job.key, job.name):
                yield job
                continue
            other = made.whose(job.key) or "one before it"
            report(
                draft.place,
                f"{job.name} would be the same picture as {other}: same workflow, parameters and "
                "seed",
            )

    def graph(self, job: Job) -> Graph:
        """The graph of a job, with its seed of now; pictures that go in are named as in the job."""
        given = dict(job.parameters)
        if job.seed is not None:
            given["seed"] = job.seed_now
        recipe = self._recipe(given)
        values = [
            typed(parameter.name, given[parameter.name], parameter.entry)
            for parameter in recipe.parameters
        ]
        # after a re-roll, too, the texts are those of the job
        return recipe.filled(values, job.seed)

    def _recipe(self, given: Mapping[str, Any]) -> _Recipe:
        names = tuple(given)
        if names not in self._recipes:
            self._recipes[names] = _Recipe(
                self._graph, given, self._info, self._digest, self._texts
            )
        return self._recipes[names]

    def _filling(self, draft: Draft, report: Report) -> _Filling | None:
        """None where something is wrong, which is then reported."""
        # The seed goes last, so that it can be exchanged.
        seed = {} if draft.seed is None else {"seed": draft.seed}
        given = {**draft.parameters, **seed}
        recipe = self._recipe(given)
        wrong = dict(recipe.unknown)
        values = []
        for parameter in recipe.parameters:
            given[parameter.name] = _as_taken(given[parameter.name], parameter.entry)
            try:
                values.append(typed(parameter.name, given[parameter.name], parameter.entry))
            except BadValue as error:
                wrong[parameter.name] = str(error)
        for name, message in wrong.items():
            report(draft.places.get(name, (*draft.place, *_field_of(name))), message)
        if recipe.broken:
            report(("workflow",), recipe.broken)
        if wrong or recipe.broken:
            return None
        if recipe.prompted:
            graph = recipe.filled(values)
            for model, words in unknown_by_model(graph, recipe.prompted).items():
                self._unknown.setdefault(model, {}).update(words)
        texts = recipe.texts(values)
        group = recipe.hash([*texts[:-1], "*"])[:_GROUP_DIGITS] if seed else ""
        return _Filling(
            recipe=recipe,
            parameters={name: value for name, value in given.items() if name not in seed},
            values=values,
            texts=texts,
            group=group,
            model=recipe.model(values),
            has_choices=recipe.has_choices(values),
        )


def model_of(graph: Graph, catalogue: Catalogue) -> str:
    """The models that a graph loads, as one text: jobs with the same one suit the same server."""
    found = parameters(graph, catalogue).get("model")
    return found if isinstance(found, str) else _dumps(found or "")


def _job(draft: Draft, filling: _Filling) -> Job:
    recipe, texts, group = filling.recipe, filling.texts, filling.group
    seed = recipe.own_seed if draft.seed is None else draft.seed
    if filling.has_choices:
        texts = recipe.texts(filling.values, seed)
        group = group and recipe.hash([*texts[:-1], "*"], seed)[:_GROUP_DIGITS]
    if draft.seed is not None:
        texts[-1] = str(draft.seed)
    return Job(
        key=recipe.hash(texts, seed),
        name=draft.name,
        item_id=draft.item_id,
        parameters=filling.parameters,
        seed=seed,
        priority=draft.priority,
        group=group,
        model=filling.model,
        gates=draft.gates,
        rerolls=draft.rerolls,
    )


def _as_taken(value: Any, entry: NodeInput) -> Any:
    """A scalar of a manifest as an input takes it: its spelling in a text, else what it means."""
    if entry.value_type == "STRING":
        return as_text(value)
    if not isinstance(value, PlainScalar):
        return value
    if value in map(str, entry.options or ()):
        return str(value)
    found = value.value
    # what means nothing, or no number, is refused as it was written
    return str(value) if found is None or found in (inf, -inf) else found


def _field_of(name: str) -> tuple[str, ...]:
    return ("seeds",) if name == "seed" else ()


def _of_key(node: Mapping[str, Any]) -> dict[str, Any]:
    """What of a node affects the picture: not its title, not where files go."""
    inputs = {name: value for name, value in node["inputs"].items() if name not in NOT_IN_KEY}
    return {"class_type": node["class_type"], "inputs": inputs}


def _copied(graph: Graph) -> Graph:
    """A graph whose inputs can be set without changing the other; a tenth of deepcopy's time."""
    return {key: {**node, "inputs": dict(node["inputs"])} for key, node in graph.items()}


_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False)


def _dumps(value: Any) -> str:
    """Canonical JSON: ASCII, sorted, without blanks."""
    if type(value) is int:
        # the encoder takes five times as long for it
        return str(value)
    return _ENCODER.encode(value)
