"""What the parts of a graph are for: find them by tracing links, and set them, with no I/O.

A *role* is a name that means the same in every workflow: prompt, negative, seed, steps, cfg, width,
height, batch_size, sampler, scheduler, denoise, model, image and mask. Roles are traced upwards
from the samplers along links of the right type, so they are found whatever the nodes are called.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeAlias

from ..errors import BadValue, UnknownParameter
from ..protocol import Graph
from .catalogue import Catalogue, NodeClass
from .core_nodes import SEED_BATCH, ZEROED_CONDITIONING
from .graph import ancestors, is_link, links, title
from .inputs import InputGrowth, NodeInput
from .values import Value, is_random, random_seed, typed
from .wording import did_you_mean, listed

_SEED_MODULUS = 2**64

# (name, value) in the order in which they are applied
Settings: TypeAlias = Sequence[tuple[str, Value]]


@dataclass(frozen=True, kw_only=True)
class Target:
    """One input of one node: where a value goes."""

    node_id: str
    input: str

    def __str__(self) -> str:
        return f"{self.node_id}.{self.input}"


@dataclass(frozen=True, kw_only=True)
class ImageInput:
    """An input that names a picture in the server's input folder, which a client uploads."""

    node_id: str
    input: str
    # as it stands in the graph: a file name, maybe with a folder and " [input]" behind it
    value: str
    # "image" or "mask"
    role: str


@dataclass(frozen=True, kw_only=True)
class _Trail:
    """How a role is found from a sampler: the links to follow and the inputs that hold it."""

    # the inputs that hold the value, on the sampler or further up
    inputs: tuple[str, ...]
    # link types to follow upwards
    types: frozenset[str]
    # the sampler's input to start at, where following by type alone would mix two up
    start: str | None = None


def _trail(inputs: str, types: str = "", start: str | None = None) -> _Trail:
    return _Trail(inputs=tuple(inputs.split()), types=frozenset(types.split()), start=start)


# GUIDER, NOISE, SIGMAS and SAMPLER are the parts that SamplerCustomAdvanced is put together from.
_TRAILS = {
    "prompt": _trail("text text_g text_l clip_l t5xxl", "CONDITIONING GUIDER", "positive"),
    "negative": _trail("text text_g text_l clip_l t5xxl", "CONDITIONING GUIDER", "negative"),
    "steps": _trail("steps", "SIGMAS"),
    "cfg": _trail("cfg", "GUIDER"),
    "width": _trail("width", "LATENT IMAGE"),
    "height": _trail("height", "LATENT IMAGE"),
    "batch_size": _trail("batch_size amount", "LATENT"),
    "sampler": _trail("sampler_name", "SAMPLER"),
    "scheduler": _trail("scheduler", "SIGMAS"),
    "denoise": _trail("denoise", "SIGMAS"),
    # the inputs are those in which a loader lists models
    "model": _trail("", "MODEL GUIDER"),
}
ROLES = ("prompt", "negative", "seed", *list(_TRAILS)[2:], "image", "mask")


# --------------------------------------------------------------------------- setting


def set_parameters(graph: Graph, settings: Settings, catalogue: Catalogue) -> Graph:
    """Apply settings in order and return the changed copy.

    A name is a role, `NODE_ID.input` or `"Node title".input`. A link at that input gives way to the
    value. Raises UnknownParameter and BadValue with what would have been right.
    """
    return set_targets(graph, settings, catalogue)[0]


def set_targets(
    graph: Graph, settings: Settings, catalogue: Catalogue
) -> tuple[Graph, list[Target]]:
    """What `set_parameters` does, and the inputs that it changed."""
    result = copy.deepcopy(graph)
    changed: dict[Target, None] = {}
    for name, given in settings:
        targets = find_targets(result, name, catalogue)
        entries = [input_at(result, target, catalogue) for target in targets]
        # one draw for all of them
        drawn = random_seed(entries[0]) if is_random(given) else None
        for target, entry in zip(targets, entries, strict=True):
            value = typed(name, given, entry) if drawn is None else drawn
            put(result, target, value, entry)
            changed[target] = None
    return result, list(changed)


def put(graph: Graph, target: Target, value: Any, entry: NodeInput) -> None:
    """Give an input a value, in place; another key of a dynamic combo brings its own inputs."""
    inputs = graph[target.node_id]["inputs"]
    if entry.growth is InputGrowth.COMBO and inputs.get(target.input) != value:
        for name in [name for name in inputs if name.startswith(f"{target.input}.")]:
            del inputs[name]
        for below in entry.branch(value):
            if below.is_widget:
                put(graph, Target(node_id=target.node_id, input=below.name), below.default, below)
    inputs[target.input] = value


def split_settings(settings: Iterable[str]) -> list[tuple[str, str]]:
    """Settings as a command line has them, `NAME=VALUE` each."""
    return [split_setting(setting) for setting in settings]


def split_setting(setting: str) -> tuple[str, str]:
    """Split `NAME=VALUE` at the first equals sign outside a quoted title."""
    quoted = setting.find('"', 1) + 1 if setting.startswith('"') else 0
    name, sign, value = setting[quoted:].partition("=")
    name = f"{setting[:quoted]}{name}".strip()
    if not sign or not name:
        raise UnknownParameter(
            f"--set {setting!r} is not NAME=VALUE, for example --set prompt='a red potion'"
        )
    if not setting.isascii() and any("\ud800" <= one <= "\udfff" for one in setting):
        raise BadValue(f"--set {name}: this is no UTF-8 text; see in which encoding it is written")
    return name, value


def find_targets(graph: Graph, name: str, catalogue: Catalogue) -> list[Target]:
    """The inputs that `name` stands for, one or more, never none."""
    if name in ROLES:
        return _role_targets(graph, name, catalogue)
    node_name, input_name = _split_target(graph, name)
    if not input_name:
        found = available_roles(graph, catalogue)
        raise UnknownParameter(
            f"{name}: there is no such parameter{did_you_mean(name, found)} "
            f"(this workflow has: {listed(found)}; or NODE_ID.input)"
        )
    target = Target(node_id=_find_node(graph, node_name), input=input_name)
    input_at(graph, target, catalogue)
    return [target]


def takes_choices(graph: Graph, target: Target, catalogue: Catalogue) -> bool:
    """Whether a text there may have choices, of which one is sent."""
    return target.input in catalogue.node_class(graph[target.node_id]["class_type"]).prompts


def input_at(graph: Graph, target: Target, catalogue: Catalogue) -> NodeInput:
    """What the input is; raises UnknownParameter where the node has none of that name."""
    node = graph[target.node_id]
    node_class = catalogue.node_class(node["class_type"])
    entry = node_class.inputs_of(node["inputs"]).get(target.input)
    if entry is None:
        message = node_class.unknown_input(target.input, node["inputs"])
        raise UnknownParameter(f"{target}: {message}")
    return entry


def _split_target(graph: Graph, name: str) -> tuple[str, str]:
    """NODE.input in two; inputs may have dots in their names, and titles, in quotes, too."""
    if name.startswith('"'):
        title_of, _, rest = name[1:].partition('"')
        return title_of, rest.removeprefix(".")
    first, _, rest = name.partition(".")
    if first in graph:
        return first, rest
    node, dot, last = name.rpartition(".")
    return node, last if dot else ""


def available_roles(graph: Graph, catalogue: Catalogue) -> list[str]:
    """The roles that this graph has, ambiguous ones included."""
    return [role for role in ROLES if _traced(graph, role, catalogue)]


# --------------------------------------------------------------------------- reading


def parameters(
    graph: Graph, catalogue: Catalogue, outputs: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Every role's value as the graph has it, for the record of a run.

    A value that follows the model is known to the server's nodes only; the pack's loaders tell it
    in their outputs (`outputs` of a history record), and without those it is None. Where samplers
    differ, the role is a dict of `NODE_ID.input` to value.
    """
    found: dict[str, Any] = {}
    for role in ROLES:
        values = {
            str(target): _literal(
                graph, graph[target.node_id]["inputs"].get(target.input), outputs or {}
            )
            for target in _traced(graph, role, catalogue)
        }
        if values:
            first, *rest = values.values()
            found[role] = first if all(value == first for value in rest) else values
    return found


def targets_at(graph: Graph, sampler: str, role: str, catalogue: Catalogue) -> list[Target]:
    """Where the values of a role are that one sampler has, whatever they are."""
    return list(dict.fromkeys(_follow(graph, sampler, _TRAILS[role], catalogue)))


def value_at(graph: Graph, target: Target) -> Any:
    """The value of an input, or that of the node it is linked to; None where it is not known."""
    return _literal(graph, graph[target.node_id]["inputs"].get(target.input))


def seed_targets(graph: Graph) -> list[Target]:
    """Where the seeds of a graph's samplers stand."""
    seeds = [_seed_of_sampler(graph, sampler) for sampler in samplers(graph)]
    return list(dict.fromkeys(seed for seed in seeds if seed))


def seed_of(graph: Graph) -> int | None:
    """The seed of a run: that of its first sampler with a literal one, or None."""
    for sampler in samplers(graph):
        target = _seed_of_sampler(graph, sampler)
        seed = target and _literal(graph, graph[target.node_id]["inputs"][target.input])
        if isinstance(seed, int):
            return seed
    return None


def seed_of_image(graph: Graph, node_id: str, index: int) -> int | None:
    """The seed of image `index` (from 0) that output node `node_id` gave.

    With SpriteworksSeedBatch image i has that node's seed + i modulo 2^64. Without it the images
    of a batch share the sampler's seed. None where no sampler or no literal seed leads there.
    """
    for candidate in ancestors(graph, node_id):
        target = _seed_of_sampler(graph, candidate)
        if target:
            seed = _literal(graph, graph[target.node_id]["inputs"][target.input])
            if not isinstance(seed, int):
                return None
            counts = graph[target.node_id]["class_type"] == SEED_BATCH
            return (seed + index) % _SEED_MODULUS if counts else seed
    return None


def image_inputs(graph: Graph, catalogue: Catalogue) -> list[ImageInput]:
    """Every input that is a picture to upload, in the order of the graph."""
    found = []
    for node_id, node in graph.items():
        node_class = catalogue.node_class(node["class_type"])
        for entry in node_class.inputs_of(node["inputs"]).values():
            value = node["inputs"].get(entry.name)
            if entry.is_image_upload and isinstance(value, str):
                role = _picture_role(graph, node_id, node_class)
                found.append(ImageInput(node_id=node_id, input=entry.name, value=value, role=role))
    return found


# --------------------------------------------------------------------------- tracing


def samplers(graph: Graph) -> list[str]:
    """The nodes that sample: those that take a latent and a seed, or a latent and noise."""
    return [node_id for node_id in graph if _is_sampler(graph, node_id)]


def _is_sampler(graph: Graph, node_id: str) -> bool:
    inputs = graph[node_id]["inputs"]
    return is_link(inputs.get("latent_image")) and any(
        name in inputs for name in ("seed", "noise_seed", "noise")
    )


def _traced(graph: Graph, role: str, catalogue: Catalogue) -> list[Target]:
    if role in ("image", "mask"):
        pictures = [entry for entry in image_inputs(graph, catalogue) if entry.role == role]
        return [Target(node_id=entry.node_id, input=entry.input) for entry in pictures]
    if role == "seed":
        return seed_targets(graph)
    found: dict[Target, None] = {}
    for sampler in samplers(graph):
        found.update(dict.fromkeys(_follow(graph, sampler, _TRAILS[role], catalogue)))
    return list(found)


def _follow(graph: Graph, sampler: str, trail: _Trail, catalogue: Catalogue) -> Iterator[Target]:
    """Walk up from a sampler and stop at each first node that holds the value."""
    # (node, the output slot by which it was reached; None at the sampler)
    todo: list[tuple[str, int | None]] = [(sampler, None)]
    seen = set()
    while todo:
        node_id, slot = todo.pop(0)
        if (node_id, slot) in seen or node_id not in graph:
            continue
        seen.add((node_id, slot))
        inputs = graph[node_id]["inputs"]
        node_class = catalogue.node_class(graph[node_id]["class_type"])
        names = trail.inputs or node_class.model_inputs
        held = [name for name in names if name in inputs]
        if held:
            yield from (Target(node_id=node_id, input=name) for name in held)
            continue
        allowed = _sources(node_class, slot, trail)
        todo += [link for name, link in links(graph, node_id) if name in allowed]


def _sources(node_class: NodeClass, slot: int | None, trail: _Trail) -> list[str]:
    """The inputs of a node that a trail goes on through."""
    if node_class.name == ZEROED_CONDITIONING:
        # what comes in has no say in what goes out
        return []
    names = [entry.name for entry in node_class.inputs if trail.types.intersection(entry.types)]
    if trail.start is None:
        return names
    positive = [name for name in names if name != "negative"]
    negative = [name for name in names if name == "negative"]
    guides = "GUIDER" in node_class.outputs
    if slot is not None and not guides and negative:
        # InpaintModelConditioning, ControlNetApplyAdvanced and their like hand both through, the
        # positive in output 0 and the negative in output 1.
        return negative if slot == 1 else positive
    if trail.start == "negative" and (guides or negative):
        # BasicGuider has no negative
        return negative
    return positive


def _seed_of_sampler(graph: Graph, node_id: str) -> Target | None:
    """The seed that counts for one sampler: its own, or that of the SeedBatch on its model."""
    if not _is_sampler(graph, node_id):
        return None
    current = node_id
    while (link := graph[current]["inputs"].get("model")) and is_link(link) and link[0] in graph:
        current = link[0]
        if graph[current]["class_type"] == SEED_BATCH and "seed" in graph[current]["inputs"]:
            return Target(node_id=current, input="seed")
    own = graph[node_id]["inputs"]
    if is_link(own.get("noise")) and own["noise"][0] in graph:
        node_id = own["noise"][0]
    held = [name for name in ("seed", "noise_seed") if name in graph[node_id]["inputs"]]
    return Target(node_id=node_id, input=held[0]) if held else None


def _picture_role(graph: Graph, node_id: str, node_class: NodeClass) -> str:
    """A picture is a mask where nothing but its mask is used."""
    used = {
        slot
        for key in graph
        for _, (source, slot) in links(graph, key)
        if source == node_id and 0 <= slot < len(node_class.outputs)
    }
    given = {node_class.outputs[slot] for slot in used} or set(node_class.outputs)
    return "mask" if given == {"MASK"} else "image"


def _literal(graph: Graph, value: Any, outputs: Mapping[str, Any] = MappingProxyType({})) -> Any:
    """A literal itself, or what the node it is linked to holds or told; None where not known."""
    while is_link(value):
        inputs = graph[value[0]]["inputs"] if value[0] in graph else {}
        if set(inputs) - {"control_after_generate"} != {"value"}:
            return _told(outputs.get(value[0]), value[1])
        value = inputs["value"]
    return value


def _told(output: Any, index: int) -> Any:
    """The number that a node of the pack told for one of its outputs, or None."""
    told = output.get("values") if isinstance(output, dict) else None
    first = told[0] if isinstance(told, list) and told else None
    return first.get(str(index)) if isinstance(first, dict) else None


# --------------------------------------------------------------------------- names and values


def _role_targets(graph: Graph, role: str, catalogue: Catalogue) -> list[Target]:
    targets = _traced(graph, role, catalogue)
    if not targets:
        found = available_roles(graph, catalogue)
        raise UnknownParameter(f"{role}: this workflow has no {role} (it has: {listed(found)})")
    values = [graph[target.node_id]["inputs"][target.input] for target in targets]
    if any(value != values[0] for value in values):
        choices = ", ".join(f"{target} ({title(graph, target.node_id)})" for target in targets)
        raise UnknownParameter(
            f"{role}: this workflow has several that differ; say which: {choices}"
        )
    return targets


def _find_node(graph: Graph, name: str) -> str:
    if name in graph:
        return name
    named = [node_id for node_id in graph if title(graph, node_id) == name]
    if len(named) == 1:
        return named[0]
    if named:
        raise UnknownParameter(
            f"several nodes have the title {name!r}; use the id: {', '.join(named)}"
        )
    known = [title(graph, node_id) for node_id in graph]
    nodes = (f"{node_id} ({title(graph, node_id)})" for node_id in graph)
    raise UnknownParameter(
        f"no node has the id or title {name!r}{did_you_mean(name, known)} "
        f"(there is: {listed(nodes)})"
    )
