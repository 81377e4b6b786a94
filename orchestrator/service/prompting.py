"""From a prompt and a few numbers to a graph: named workflows, their parameters, and pictures."""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from ..errors import GraphError, RequestRefused, UsageError
from ..protocol import Graph
from ..runs.outputs import plain_name
from ..runs.workflows import find_workflow, load_workflow, read_workflow, shipped_names
from ..workflow.catalogue import Catalogue
from ..workflow.document import Document
from ..workflow.layout import Layout
from ..workflow.roles import available_roles, image_inputs, parameters, seed_of
from ..workflow.values import Value
from ..workflow.wording import did_you_mean, listed
from .references import reference

# Stands for an asset while values are put into a graph; no server has a file of such a name.
_STAND_IN = "spriteworks-asset-{}.png"
_NAME = re.compile("[A-Za-z0-9_-]{1,64}")
# the workflow for a picture and a mask
_INPAINT = "inpaint"


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """What somebody asks of a named workflow."""

    # "" is the service's own choice
    workflow: str = ""
    # role or NODE.input, and its value, in the order in which they are set
    settings: Sequence[tuple[str, Value]] = ()
    # role, and the asset that goes there
    pictures: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Prompted:
    """The graph that a prompt makes."""

    graph: Graph
    workflow: str
    # what pictures shall carry besides the graph
    extra_data: Mapping[str, Any]
    # every role's value, as the graph has it
    parameters: Mapping[str, Any]
    seed: int | None
    warnings: tuple[str, ...]
    # pictures of the workflow's own: {what stands for each in the graph: its file}
    files: Mapping[str, Path] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class WorkflowView:
    """A workflow that can be named."""

    name: str
    # {role: value}; None follows the model
    parameters: Mapping[str, Any]
    # why no server here can run it; "" where one can
    problem: str = ""


class Workflows:
    """The workflows that requests may name: those that ship, and those of one folder."""

    def __init__(
        self, *, default: str = "sprite", model: str = "", folder: Path | None = None
    ) -> None:
        """Raises UsageError where `default` names none; `model` is set where a prompt sets none."""
        self._folder = folder
        self.default, self.model = default, model
        self._lock = threading.Lock()
        self._layouts: dict[str, tuple[Catalogue, Layout]] = {}
        self._roles: dict[str, tuple[Catalogue, frozenset[str]]] = {}
        self._document(default)

    def names(self) -> list[str]:
        """All names, sorted."""
        own = [] if self._folder is None else (one.stem for one in self._folder.glob("*.json"))
        return sorted({*shipped_names(), *(name for name in own if _NAME.fullmatch(name))})

    def fill(self, prompt: Prompt, catalogue: Catalogue) -> Prompted:
        """The graph of a prompt, for servers with this catalogue.

        Raises UsageError, GraphError and their kin with all that is wrong.
        """
        name = prompt.workflow or self._for(prompt)
        path, document = self._document(name)
        settings = [
            *([("model", self.model)] if self._lacks_model(name, prompt, catalogue) else []),
            *prompt.settings,
            *((role, _STAND_IN.format(asset)) for role, asset in prompt.pictures.items()),
        ]
        filled = load_workflow(path, settings, catalogue, document)
        found = parameters(filled.graph, catalogue)
        files = _own_files(filled.graph, filled.path, catalogue)
        if prompt.pictures and files:
            lacking = listed(sorted({one.role for one in files.values()}))
            raise UsageError(f"the workflow {name} takes {lacking}, too: give all of its pictures")
        extra = {} if filled.canvas is None else {"canvas": name}
        return Prompted(
            graph=_with_references(filled.graph, prompt.pictures),
            workflow=name,
            extra_data=extra,
            parameters=found,
            seed=seed_of(filled.graph),
            warnings=(*filled.notes, *size_warnings(found)),
            files={value: one.path for value, one in files.items()},
        )

    def _lacks_model(self, name: str, prompt: Prompt, catalogue: Catalogue) -> bool:
        """Whether the service's own model is to be set: some workflows need none."""
        if not self.model or _sets_model(prompt):
            return False
        with self._lock:
            known = self._roles.get(name)
            if known is None or known[0] is not catalogue:
                path, document = self._document(name)
                graph = load_workflow(path, [], catalogue, document).graph
                roles = frozenset(available_roles(graph, catalogue))
                known = self._roles[name] = catalogue, roles
            return "model" in known[1]

    def _for(self, prompt: Prompt) -> str:
        """The workflow for a prompt that names none."""
        return _INPAINT if {"image", "mask"} <= set(prompt.pictures) else self.default

    def drawn(self, name: str, graph: Graph, catalogue: Catalogue) -> dict[str, Any] | None:
        """The canvas file of a workflow with a graph's values; None where it has no place for one.

        That is what the editor opens when a picture is dropped on it.
        """
        with self._lock:
            known = self._layouts.get(name)
            if known is None or known[0] is not catalogue:
                _, document = self._document(name)
                known = self._layouts[name] = catalogue, Layout(document.data, catalogue)
            return known[1].filled(graph)

    def content(self, name: str) -> bytes:
        """The file of a workflow; raises UsageError where there is none of that name."""
        path, _ = self._document(name)
        return find_workflow(path).read_bytes()

    def view(self, name: str, catalogue: Catalogue) -> WorkflowView:
        """What a workflow takes, with the values that it has by itself."""
        try:
            path, document = self._document(name)
            filled = load_workflow(path, [], catalogue, document)
        except (GraphError, UsageError) as error:
            return WorkflowView(name=name, parameters={}, problem=str(error))
        return WorkflowView(name=name, parameters=parameters(filled.graph, catalogue))

    def _document(self, name: str) -> tuple[Path, Document]:
        known = self.names()
        if name not in known:
            raise UsageError(
                f"there is no workflow {name[:64]!r}{did_you_mean(name[:64], known)} (there is: "
                f"{listed(known)})"
            )
        own = None if self._folder is None else self._folder / f"{name}.json"
        path = own if own is not None and own.is_file() else Path(name)
        return path, _read(path)


@dataclass(frozen=True, kw_only=True)
class _OwnFile:
    path: Path
    role: str


def _own_files(graph: Graph, workflow: Path, catalogue: Catalogue) -> dict[str, _OwnFile]:
    """{value: file} of the pictures that lie beside a workflow, in its folder `inputs`.

    Whatever a value says, no file outside of that folder is ever taken.
    """
    found = {}
    for one in image_inputs(graph, catalogue):
        path = workflow.parent / "inputs" / plain_name(one.value)
        if path.name == one.value and path.is_file():
            found[one.value] = _OwnFile(path=path, role=one.role)
    return found


@lru_cache(maxsize=64)
def _read(path: Path) -> Document:
    return read_workflow(path)


def _sets_model(prompt: Prompt) -> bool:
    return any(name == "model" for name, _ in prompt.settings)


def _with_references(graph: Graph, pictures: Mapping[str, str]) -> Graph:
    return with_assets(graph, {_STAND_IN.format(asset): asset for asset in pictures.values()})


def with_assets(graph: Graph, names: Mapping[str, str]) -> Graph:
    """Put references where names of pictures stand: {name: asset}. Changes the graph."""
    for node in graph.values():
        for name, value in node["inputs"].items():
            if isinstance(value, str) and value in names:
                node["inputs"][name] = reference(names[value])
    return graph


# ------------------------------------------------------------------------------- sizes


def size_warnings(found: Mapping[str, Any]) -> list[str]:
    """What to say of a size that the model was not made for."""
    model, width, height = found.get("model"), found.get("width"), found.get("height")
    if not isinstance(model, str) or not isinstance(width, int) or not isinstance(height, int):
        # None follows the model
        return []
    own = native_size(model)
    if own is None or own == (width, height):
        return []
    return [
        f"{model} was made for {own[0]}x{own[1]} pixels, and {width}x{height} were asked for: "
        "expect a worse picture, or leave width and height out"
    ]


@lru_cache(maxsize=256)
def native_size(model: str) -> tuple[int, int] | None:
    """The (width, height) in px that a model was made for; None where its name does not tell."""
    from comfy_nodes.errors import PackError
    from comfy_nodes.folders import MODEL_FILES
    from comfy_nodes.models import version_named
    from comfy_nodes.profiles import profile_of_folder

    try:
        folder = MODEL_FILES / model
        if _NAME.fullmatch(model) and folder.is_dir():
            profile = profile_of_folder(folder)
            return profile.width, profile.height
        version = version_named(model)
    except PackError:
        return None
    return version.size, version.size


def refused(error: UsageError | GraphError) -> RequestRefused:
    """A mistake in a prompt, as a request's."""
    code = "invalid_workflow" if isinstance(error, GraphError) else "invalid_parameter"
    return RequestRefused(code, str(error))
