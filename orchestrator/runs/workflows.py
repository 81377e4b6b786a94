"""Workflow files: found by path or name, read from JSON or from a picture, fitted to a server."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from ..errors import GraphError, ResultWrong, UsageError
from ..local.pack import workflows_folder
from ..protocol import Graph
from ..workflow.catalogue import Catalogue
from ..workflow.checking import check, ignored
from ..workflow.choices import with_known_files
from ..workflow.conversion import load
from ..workflow.document import Document, chosen, document_of
from ..workflow.graph import Form, read_json
from ..workflow.roles import Settings, seed_of, set_targets, takes_choices
from ..workflow.vocabulary import unknown_words
from ..workflow.wording import did_you_mean, listed, shown
from .looking import format_of, look

_SHIPPED = workflows_folder()
# The formats in which the editor keeps workflows.
_PICTURES = ("PNG", "WEBP")


@dataclass(frozen=True, kw_only=True)
class Workflow:
    """A workflow with its parameters resolved for one server."""

    path: Path
    sha256: str
    # as it is sent, its texts chosen
    graph: Graph
    catalogue: Catalogue
    # the canvas file itself, where the workflow is one
    canvas: Mapping[str, Any] | None = None
    # what was left out or will be ignored
    notes: tuple[str, ...] = ()


def shipped(name: str) -> list[Path]:
    """The files of a workflow that comes with Spriteworks: as a canvas file, and as a graph."""
    if not name.isidentifier():
        return []
    files = (_SHIPPED / f"{name}.json", _SHIPPED / "api" / f"{name}.json")
    return [path for path in files if os.path.isfile(path)]


def shipped_names() -> list[str]:
    """The names of the workflows that come with Spriteworks, sorted."""
    return sorted(path.stem for path in _SHIPPED.glob("*.json"))


def find_workflow(name: Path) -> Path:
    """The file that a path or the name of a shipped workflow means; raises UsageError."""
    if os.path.isfile(name):
        return name
    text = str(name)
    if ours := shipped(text):
        return ours[0]
    if os.path.isdir(name):
        raise UsageError(f"the workflow {name} cannot be read: it is a folder; name a file in it")
    known = shipped_names()
    raise UsageError(
        f"the workflow {shown(text)} cannot be read: there is no such file"
        f"{did_you_mean(text, known)}; give a file, or one of: {listed(known)}"
    )


def read_workflow(path: Path) -> Document:
    """Read a workflow from JSON or from a picture that carries one.

    All that can be seen without a server is checked. Raises UsageError, GraphError and their kin.
    """
    try:
        content = find_workflow(path).read_bytes()
    except OSError as error:
        raise UsageError(
            f"the workflow {path} cannot be read: {error.strerror or error}"
        ) from error
    return read_document(content, str(path))


def read_document(content: bytes, name: str) -> Document:
    """A workflow out of the content of a file; raises GraphError and its kin."""
    digest = sha256(content).hexdigest()
    if format_of(content) in _PICTURES:
        return document_of(chosen(_texts_in(content, name), read_json, name), digest, name)
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(
            f"the workflow {name} is no text; a workflow is a JSON file, or a PNG or WebP that "
            "carries one"
        ) from error
    return document_of(read_json(text, name), digest, name)


def load_workflow(
    path: Path, settings: Settings, catalogue: Catalogue, document: Document | None = None
) -> Workflow:
    """Apply settings to a workflow and validate it against a server.

    Raises UsageError, GraphError and their kin with all that is wrong.
    """
    found = document or read_workflow(path)
    conversion = load(found.data, catalogue, found.name)
    graph, targets = set_targets(with_known_files(conversion.graph, catalogue), settings, catalogue)
    places = [(target.node_id, target.input) for target in targets]
    prompts = (target for target in targets if takes_choices(graph, target, catalogue))
    texts = conversion.texts.with_prompts((one.node_id, one.input) for one in prompts)
    graph = texts.sent(graph, seed_of(graph), changed=places)
    check(graph, catalogue)
    dropped = [] if found.form is Form.CANVAS else map(str, ignored(graph, catalogue))
    return Workflow(
        path=find_workflow(path),
        sha256=found.sha256,
        graph=graph,
        catalogue=catalogue,
        canvas=found.data if found.form is Form.CANVAS else None,
        notes=(*found.notes, *conversion.notes, *dropped, *unknown_words(graph, catalogue)),
    )


def _texts_in(content: bytes, name: str) -> Mapping[str, str]:
    """The texts that a picture carries, by their names."""
    try:
        return look(content).texts
    except ResultWrong as error:
        raise GraphError(f"{name} is not a picture that can be read ({error})") from error
