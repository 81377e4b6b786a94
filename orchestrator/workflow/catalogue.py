"""A server's node classes (`GET /object_info`), decoded: what a node and its inputs are.

Everything else asks here. A class is decoded when it is first asked for, and once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ..errors import ProtocolError, UnknownNodeClass
from ..protocol import MALFORMED, listing
from .core_nodes import PER_PICTURE
from .editor import MADE_WHILE_SENDING, added_inputs
from .inputs import NodeInput, expanded, read_inputs
from .wording import did_you_mean, listed


@dataclass(frozen=True, kw_only=True)
class NodeClass:
    """One node class."""

    name: str
    # as the server declares them, in the order in which the editor shows them
    inputs: tuple[NodeInput, ...]
    # one type an output slot
    outputs: tuple[str, ...]
    output_names: tuple[str, ...]
    is_output: bool
    display_name: str
    # where the class lives: "nodes", "comfy_extras.nodes_mask", "custom_nodes.some-pack"
    module: str

    @cached_property
    def by_name(self) -> dict[str, NodeInput]:
        """The declared inputs by their names."""
        return {entry.name: entry for entry in self.inputs}

    @cached_property
    def is_dynamic(self) -> bool:
        """True where the inputs of a node depend on its values."""
        return any(entry.growth is not None for entry in self.inputs)

    @cached_property
    def widgets(self) -> tuple[NodeInput, ...]:
        """Inputs with a widget, those that only the editor adds among them, in its order."""
        return tuple(entry for entry in (*self.inputs, *self.added) if entry.is_widget)

    @cached_property
    def slots(self) -> tuple[NodeInput, ...]:
        """Inputs that a link can go to, as the editor lists them: those of widgets come last."""
        plain = (entry for entry in self.inputs if not entry.is_widget)
        return (*plain, *(entry for entry in self.widgets if not entry.is_socketless))

    @cached_property
    def has_forced(self) -> bool:
        """True where an input takes links only although its type has a widget."""
        return any(entry.extra.get("forceInput") for entry in self.inputs)

    @cached_property
    def made_while_sending(self) -> tuple[str, ...]:
        """The inputs whose value the editor makes when it sends a graph."""
        return tuple(entry.name for entry in self.widgets if entry.type in MADE_WHILE_SENDING)

    @cached_property
    def prompts(self) -> tuple[str, ...]:
        """The texts of which the editor sends one choice of several."""
        return tuple(entry.name for entry in self.widgets if entry.has_dynamic_prompts)

    @cached_property
    def model_inputs(self) -> tuple[str, ...]:
        """The inputs in which a loader lists models; none where a model comes in by a link."""
        if "MODEL" not in self.outputs or any("MODEL" in entry.types for entry in self.inputs):
            return ()
        lists = [entry for entry in self.inputs if entry.type == "COMBO" and entry.required]
        files = tuple(entry.name for entry in lists if _lists_models(entry))
        return files or tuple(entry.name for entry in lists[:1])

    def treats_singly(self, values: Mapping[str, Any]) -> bool:
        """Whether a node with these values treats every picture of a batch by itself.

        Classes declare it at an input, `per_picture`, and at a choice the values that mean the set
        as a whole, `whole_set`: those give other pictures for another batch.
        """
        if self.name in PER_PICTURE:
            return True
        declared = any(entry.extra.get("per_picture") for entry in self.inputs)
        return declared and not any(
            values.get(entry.name, entry.default) in entry.extra.get("whole_set", ())
            for entry in self.inputs
        )

    def offers(self, settings: Mapping[str, Any]) -> bool:
        """Whether a node of this class has all of these settings, with these values to choose."""
        known = self.by_name
        return all(
            name in known and value in (known[name].options or ())
            for name, value in settings.items()
        )

    @cached_property
    def added(self) -> tuple[NodeInput, ...]:
        """Inputs that no server declares and the editor shows."""
        return added_inputs(self.name, self.inputs)

    @property
    def takes_undeclared_inputs(self) -> bool:
        """True for classes of other packs, some of which accept names they do not list."""
        return self.module.startswith("custom_nodes.") and not self.name.startswith("Spriteworks")

    def inputs_of(self, values: Mapping[str, Any]) -> dict[str, NodeInput]:
        """The inputs that a node of this class with these values has, by their full names."""
        if not self.is_dynamic:
            return self.by_name
        return {entry.name: entry for entry in expanded(self.inputs, values)}

    def unknown_input(self, name: str, values: Mapping[str, Any] | None = None) -> str:
        """Say that a node of this class has no such input, and which it has."""
        names = list(self.inputs_of(values or {}))
        meant = did_you_mean(name, names)
        return f"{self.name} has no input {name!r}{meant} (it has: {listed(names)})"


# What the files of models end in.
_MODEL_SUFFIXES = (".safetensors", ".sft", ".ckpt", ".pt", ".pth", ".bin", ".gguf", ".onnx")


def _lists_models(entry: NodeInput) -> bool:
    return any(str(one).casefold().endswith(_MODEL_SUFFIXES) for one in entry.options or ())


class Catalogue:
    """The node classes of one server; `engine` where it is the embedded one."""

    def __init__(self, object_info: Mapping[str, Any], *, engine: bool = False) -> None:
        self._raw = object_info
        self._engine = engine
        self._classes: dict[str, NodeClass] = {}

    @property
    def raw(self) -> Mapping[str, Any]:
        """What the server answered to `GET /object_info`; not to be changed."""
        return self._raw

    @property
    def is_engine(self) -> bool:
        """Whether it is that of the embedded engine."""
        return self._engine

    def __contains__(self, name: object) -> bool:
        return name in self._raw

    def __iter__(self) -> Iterator[str]:
        return iter(self._raw)

    def __len__(self) -> int:
        return len(self._raw)

    def node_class(self, name: str) -> NodeClass:
        """One class; raises UnknownNodeClass, naming similar ones, where the server lacks it."""
        found = self._classes.get(name)
        if found is None:
            if name not in self._raw:
                raise UnknownNodeClass(self.unknown(name))
            found = self._classes[name] = read_class(name, self._raw[name])
        return found

    def find(self, name: str) -> NodeClass | None:
        """One class, or None where the server lacks it."""
        return self.node_class(name) if name in self._raw else None

    def unknown(self, name: str) -> str:
        """Say that the server lacks a class and what to do about it."""
        who = "the embedded engine" if self._engine else "the server"
        advice = (
            "run the workflow on ComfyUI, with --comfyui DIR or --server URL"
            if self._engine
            else "install the node pack that provides it, or use a server that has it"
        )
        return f"{who} has no node class {name!r}{did_you_mean(name, self._raw)}; {advice}"


def read_class(name: str, raw: Any) -> NodeClass:
    """One entry of `/object_info`; raises ProtocolError where it cannot be read."""
    try:
        outputs = tuple(
            "COMBO" if isinstance(kind, list) else str(kind) for kind in listing(raw["output"])
        )
        return NodeClass(
            name=name,
            inputs=tuple(read_inputs(raw["input"], raw.get("input_order"))),
            outputs=outputs,
            output_names=tuple(str(title) for title in raw.get("output_name") or outputs),
            is_output=bool(raw.get("output_node")),
            display_name=str(raw.get("display_name") or name),
            module=str(raw.get("python_module", "")),
        )
    except MALFORMED as error:
        raise ProtocolError(f"the server's /object_info of {name} cannot be read") from error
