"""The pictures that a graph takes in: found on this machine, looked at, and uploaded."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterable
from pathlib import Path

from ..client.client import Client
from ..client.timings import Stopwatch
from ..errors import InputError, ResultMissing, ResultWrong
from ..protocol import FileRef, Graph
from ..protocol.http import annotated
from ..workflow.catalogue import Catalogue
from ..workflow.roles import ImageInput, image_inputs
from .looking import look

# Where the pictures of a workflow lie, seen from its file; "../inputs" serves workflows/api/.
_BESIDE = (".", "inputs", "../inputs")


def upload_pictures(
    client: Client, graph: Graph, catalogue: Catalogue, workflow: Path, watch: Stopwatch
) -> Graph:
    """Upload every picture that the graph names and return the graph with the server's names.

    A picture is looked for under its name as given and beside the workflow; one that is only in
    one of the server's folders stays as it is. Raises InputError naming where was looked.
    """
    result = copy.deepcopy(graph)
    sent: dict[Path, str] = {}
    for picture in image_inputs(graph, catalogue):
        if is_hash(picture.value):
            continue
        path = find_picture(picture.value, workflow)
        if path is None:
            listed = _is_listed(picture, graph, catalogue)
            if not (listed or _server_has(client, picture.value)):
                raise InputError(_missing(picture, workflow))
            continue
        if path not in sent:
            verify(path)
            with watch.transfer():
                sent[path] = _name(client.upload(path))
        result[picture.node_id]["inputs"][picture.input] = sent[path]
    return result


def is_hash(value: str) -> bool:
    """True for a picture among the server's assets, named by its content."""
    return value.startswith("blake3:")


def find_picture(value: str, workflow: Path) -> Path | None:
    """The file that a picture's name in a workflow means, or None."""
    return next((path for path in _candidates(value, workflow) if os.path.isfile(path)), None)


def verify(path: Path) -> None:
    """Decode a picture to its end; raises InputError for one that is none or is cut off."""
    try:
        look(path)
    except (OSError, ResultWrong) as error:
        raise InputError(
            f"{path} is not a picture that can be read ({error}); give a PNG, JPEG or WebP"
        ) from error


def _candidates(value: str, workflow: Path) -> Iterable[Path]:
    # "a.png [input]", as the editor's mask editor writes it, is the input a.png.
    plain, kind = annotated(value, "input")
    name = plain if kind == "input" else value
    # --set image=~/a.png, of which shells leave the `~` as it is
    yield Path(os.path.expanduser(name))
    for place in _BESIDE:
        yield workflow.parent / place / name


def _server_has(client: Client, value: str) -> bool:
    """Whether the server gives out that picture; it lists none in a subfolder or of "[temp]"."""
    name, kind = annotated(value, "input")
    subfolder, _, filename = name.replace("\\", "/").rpartition("/")
    if not filename or os.path.isabs(name) or ".." in name:
        return False  # ComfyUI refuses what may lead out of its folders.
    try:
        client.content(FileRef(filename=filename, subfolder=subfolder, type=kind))
    except ResultMissing:
        return False
    return True


def _is_listed(picture: ImageInput, graph: Graph, catalogue: Catalogue) -> bool:
    inputs = graph[picture.node_id]["inputs"]
    known = catalogue.node_class(graph[picture.node_id]["class_type"]).inputs_of(inputs)
    return picture.value in (known[picture.input].options or ())


def _missing(picture: ImageInput, workflow: Path) -> str:
    # What is named first is what a person would have meant.
    places = ", ".join(str(path) for path in _candidates(picture.value, workflow))
    return (
        f"there is no {picture.role} {picture.value!r} (node {picture.node_id}), neither on the "
        f"server nor as {places}; give one with --set {picture.role}=FILE"
    )


def _name(file: FileRef) -> str:
    return f"{file.subfolder}/{file.filename}" if file.subfolder else file.filename
