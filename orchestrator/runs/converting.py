"""Workflow files of any form into graphs, one or many; what `spriteworks convert` does."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import OutputError, SpriteworksError, UsageError
from ..protocol import Graph
from ..workflow.catalogue import Catalogue
from ..workflow.conversion import convert
from ..workflow.graph import Form, read_json
from ..workflow.roles import seed_of
from .workflows import read_workflow


@dataclass(frozen=True, kw_only=True)
class Converted:
    """What became of one file."""

    file: Path
    # None where it could not be converted
    graph: Graph | None = None
    # why not, in one sentence
    reason: str = ""
    # what was left out, and what a graph cannot say
    notes: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """True where there is a graph."""
        return self.graph is not None

    def to_json(self, *, with_graph: bool) -> dict[str, Any]:
        """Shape for programs."""
        told = {
            "file": str(self.file),
            "ok": self.ok,
            "reason": self.reason,
            "notes": list(self.notes),
        }
        return {**told, "graph": self.graph} if with_graph else told


def catalogue_in(path: Path) -> Catalogue:
    """The node classes of a saved answer of GET /object_info; raises UsageError."""
    try:
        if path.exists() and not path.is_file():
            # opening a pipe would wait for ever
            raise UsageError(f"--object-info {path}: this is no file")
        data = read_json(path.read_text(encoding="utf-8-sig"), str(path))
    except OSError as error:
        raise UsageError(f"--object-info {path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"--object-info {path}: this is no text; save /object_info") from error
    if not isinstance(data, dict) or not all(
        isinstance(entry, dict) and "input" in entry for entry in data.values()
    ):
        raise UsageError(
            f"--object-info {path}: this is no answer of GET /object_info, which names node "
            "classes with their inputs"
        )
    return Catalogue(data)


def convert_file(path: Path, catalogue: Catalogue) -> Converted:
    """One file as the graph that the editor would send; never raises for what is in the file.

    A file that holds a graph already gives that graph. Choices in texts are made by the graph's
    own seed.
    """
    try:
        document = read_workflow(path)
        if document.form is Form.GRAPH:
            return Converted(file=path, graph=dict(document.data), notes=document.notes)
        conversion = convert(document.data, catalogue, document.name)
    except SpriteworksError as error:
        return Converted(file=path, reason=str(error))
    graph = conversion.texts.sent(conversion.graph, seed_of(conversion.graph))
    return Converted(file=path, graph=graph, notes=(*document.notes, *conversion.notes))


def targets_of(files: Sequence[Path], out: Path | None) -> dict[Path, Path]:
    """Where each file's graph goes: `out` itself, or NAME.json in it; empty without `out`.

    Raises UsageError where several would share one file or a name, or one would take the place of
    its own file.
    """
    if out is None:
        return {}
    if len(files) > 1 and out.is_file():
        raise UsageError(f"--out {out} is a file, and several graphs need a folder")
    single = len(files) == 1 and not out.is_dir()
    result: dict[Path, Path] = {}
    taken: dict[str, Path] = {}
    for file in files:
        target = out if single else out / f"{file.stem}.json"
        # some systems do not tell Sprite.json from sprite.json
        other = taken.setdefault(target.name.casefold(), file)
        if other is not file:
            raise UsageError(
                f"{other} and {file} would both become {target}; convert them one by one"
            )
        if target.exists() and file.exists() and target.samefile(file):
            raise UsageError(
                f"{target} is the workflow itself, and its graph would take its place; give "
                "another --out"
            )
        result[file] = target
    return result


def write_graph(graph: Graph, target: Path) -> None:
    """Write a graph, whole or not at all; raises OutputError."""
    part = target.with_name(f"{target.name}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(text_of(graph), encoding="utf-8", newline="\n")
        os.replace(part, target)
    except OSError as error:
        part.unlink(missing_ok=True)
        reason = error.strerror or error
        raise OutputError(f"{target} cannot be written: {reason}") from error


def text_of(graph: Graph) -> str:
    """A graph as a file has it."""
    return json.dumps(graph, indent=2, ensure_ascii=False) + "\n"
