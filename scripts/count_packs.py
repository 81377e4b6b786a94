"""Count what a node pack offers an artist, from its files alone: nothing of it is imported or run.

    python scripts/count_packs.py FOLDER...

prints a Markdown table, a column a folder, as docs/packs-compared.md has it. The rules are the same
for every pack, and count what is written down in literals: what a pack computes while it is
imported is not seen.
"""

from __future__ import annotations

import argparse
import ast
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

# The folders of a pack whose workflows ComfyUI 0.33.0 offers as templates
# (app/custom_node_manager.py).
TEMPLATES = ("example_workflows", "example", "examples", "workflow", "workflows")
# Names of the dicts that give node classes to ComfyUI, as packs fill them.
_MAPPINGS = re.compile(r"NODE_CLASS_MAPPINGS|NODE_CONFIG")
# What no artist is given.
_LEFT_OUT = {"tests", "scripts", "orchestrator", "docs", ".git", ".github", "__pycache__"}


@dataclass(frozen=True)
class Pack:
    """The files of a pack in a folder."""

    root: Path

    @cached_property
    def trees(self) -> list[ast.Module]:
        """Its Python, parsed."""
        files = (file for file in sorted(self.root.rglob("*.py")) if self._counts(file))
        return [ast.parse(file.read_text("utf-8")) for file in files]

    def _counts(self, file: Path) -> bool:
        return not set(file.relative_to(self.root).parts[:-1]) & _LEFT_OUT

    def nodes(self) -> set[str]:
        """The ids of its nodes: keys of the mappings, and `node_id` of V3 schemas."""
        return {*self._mapped(), *self._values("node_id")}

    def _mapped(self) -> Iterator[str]:
        for one in self._walk():
            for name, value in _filled(one):
                if _MAPPINGS.search(name) and isinstance(value, ast.Dict):
                    yield from filter(None, map(_text, value.keys))

    def _values(self, keyword: str) -> Iterator[str]:
        for one in self._walk():
            if isinstance(one, ast.keyword) and one.arg == keyword and (text := _text(one.value)):
                yield text

    def _walk(self) -> Iterator[ast.AST]:
        for tree in self.trees:
            yield from ast.walk(tree)

    def said(self, name: str) -> int:
        """How many times something is given a value that is not empty.

        As a keyword, a key of a dict, a class attribute or a method, in any case of letters.
        """
        return sum(_says(one, name) for one in self._walk())

    def said_of_nodes(self, name: str) -> int:
        """The same of a node as a whole: in its V3 schema, or as an attribute of its class."""
        return sum(_says_of_node(one, name) for one in self._walk())

    def templates(self) -> list[Path]:
        """Workflows that the template browser lists."""
        return [file for name in TEMPLATES for file in sorted((self.root / name).glob("*.json"))]

    def script_bytes(self) -> tuple[int, int]:
        """How many files of JavaScript there are, and their bytes."""
        files = [file for file in self.root.rglob("*.js") if self._counts(file)]
        return len(files), sum(file.stat().st_size for file in files)

    def web_pages(self) -> int:
        """Help pages by node, as the editor asks for them; further languages not counted."""
        nodes, here = self.nodes(), self.root / "docs"
        found = (file for file in self.root.rglob("docs/*.md") if file.parent != here)
        return sum(file.stem in nodes for file in found)

    def locales(self) -> str:
        """Languages, those that translate nodes first."""
        folders = sorted(path for path in (self.root / "locales").glob("*") if path.is_dir())
        nodes = [one.name for one in folders if (one / "nodeDefs.json").is_file()]
        others = [one.name for one in folders if one.name not in nodes]
        parts = [f"nodes: {', '.join(nodes)}"] if nodes else []
        parts += [f"other texts: {', '.join(others)}"] if others else []
        return "; ".join(parts) or "none"

    def requirements(self) -> int:
        """Packages that ComfyUI-Manager installs with it."""
        path = self.root / "requirements.txt"
        lines = path.read_text("utf-8").splitlines() if path.is_file() else []
        return sum(1 for line in lines if line.strip() and not line.startswith("#"))


def _text(node: ast.AST | None) -> str:
    """A text that stands there; "" where something else does."""
    is_text = isinstance(node, ast.Constant) and isinstance(node.value, str)
    return str(ast.literal_eval(node)) if is_text and node is not None else ""


def _filled(one: ast.AST) -> Iterator[tuple[str, ast.AST | None]]:
    """(name, value) of what is assigned or updated."""
    if isinstance(one, ast.Assign):
        yield from ((ast.unparse(target), one.value) for target in one.targets)
    elif isinstance(one, ast.AnnAssign):
        yield ast.unparse(one.target), one.value
    elif isinstance(one, ast.Call) and isinstance(one.func, ast.Attribute):
        yield from ((ast.unparse(one.func.value), value) for value in one.args[:1])


def _says(one: ast.AST, name: str) -> int:
    if isinstance(one, ast.keyword) and one.arg == name:
        return _is_something(one.value)
    if isinstance(one, ast.FunctionDef):
        return int(one.name.lower() == name)
    if isinstance(one, ast.Dict):
        pairs = zip(one.keys, one.values, strict=True)
        return sum(
            _is_something(value)
            for key, value in pairs
            if isinstance(key, ast.Constant) and key.value == name
        )
    if isinstance(one, ast.ClassDef):
        assigned = (part for part in one.body if isinstance(part, ast.Assign))
        return sum(
            _is_something(part.value)
            for part in assigned
            if any(isinstance(at, ast.Name) and at.id.lower() == name for at in part.targets)
        )
    return 0


def _says_of_node(one: ast.AST, name: str) -> int:
    if isinstance(one, ast.Call):
        given = {keyword.arg: keyword.value for keyword in one.keywords}
        # A function that hands its arguments on to a schema has no text there.
        is_schema = bool(_text(given.get("node_id"))) and name in given
        return _is_something(given[name]) if is_schema else 0
    return _says(one, name) if isinstance(one, ast.ClassDef) else 0


def _is_something(value: ast.AST) -> int:
    return int(not (isinstance(value, ast.Constant) and not value.value))


def _thumbnails(pack: Pack) -> int:
    # The browser asks for the picture of that name beside the workflow.
    return sum(file.with_suffix(".jpg").is_file() for file in pack.templates())


def _notes(pack: Pack) -> int:
    """Templates with a note in them."""
    kinds = ("MarkdownNote", '"Note"')
    return sum(any(kind in file.read_text("utf-8") for kind in kinds) for file in pack.templates())


def _links(pack: Pack) -> int:
    """Templates that say where their models are to be had."""
    return sum(_has_links(json.loads(file.read_text("utf-8"))) for file in pack.templates())


def _has_links(canvas: object) -> bool:
    text = json.dumps(canvas)
    return re.search(r'"models": \[\{[^]]*"url"', text) is not None


def _scripts(pack: Pack) -> str:
    files, size = pack.script_bytes()
    return f"{files} files, {round(size / 1000)} kB" if files else "none"


ROWS: dict[str, Callable[[Pack], object]] = {
    "nodes": lambda pack: len(pack.nodes()),
    "tooltips": lambda pack: pack.said("tooltip"),
    "nodes that describe themselves": lambda pack: pack.said_of_nodes("description"),
    "nodes with search aliases": lambda pack: pack.said_of_nodes("search_aliases"),
    "settings that are folded (`advanced`)": lambda pack: pack.said("advanced"),
    "nodes that check before Run": lambda pack: pack.said("validate_inputs"),
    "nodes that show something after a run": lambda pack: pack.said("ui"),
    "templates": lambda pack: len(pack.templates()),
    "of them with a thumbnail": _thumbnails,
    "of them with a note": _notes,
    "of them that link their models": _links,
    "blueprints": lambda pack: len(list((pack.root / "subgraphs").glob("*.json"))),
    "help pages": lambda pack: pack.web_pages(),
    "languages": lambda pack: pack.locales(),
    "JavaScript": _scripts,
    "packages to install": lambda pack: pack.requirements(),
    "script before ComfyUI starts": lambda pack: (
        "yes" if (pack.root / "prestartup_script.py").is_file() else "no"
    ),
}


def table(folders: list[Path]) -> str:
    """The Markdown table of these packs."""
    packs = [Pack(folder) for folder in folders]
    lines = ["| | " + " | ".join(pack.root.absolute().name for pack in packs) + " |"]
    lines.append("|---" * (len(packs) + 1) + "|")
    for name, count in ROWS.items():
        lines.append(f"| {name} | " + " | ".join(str(count(pack)) for pack in packs) + " |")
    return "\n".join(lines)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER")
    print(table(parser.parse_args().folders))


if __name__ == "__main__":
    main()
