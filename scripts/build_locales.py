"""Write what ComfyUI's editor reads of the nodes in each language, and the help pages' tables.

    python scripts/build_locales.py

writes locales/LANGUAGE/main.json and nodeDefs.json, which ComfyUI merges into its own words, and
what the pages in comfy_nodes/web/docs say of inputs and outputs; their recipes are written by hand.
English is what the nodes say themselves. scripts/translations/LANGUAGE.json has each English text
once, with its translation. Where one is missing, or nothing needs it any more, that is said and
nothing is written.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from unittest.mock import patch

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))

LOCALES = REPOSITORY / "locales"
TRANSLATIONS = REPOSITORY / "scripts" / "translations"
PAGES = REPOSITORY / "comfy_nodes" / "web" / "docs"
# The editor's names of the languages that are translated.
TRANSLATED = ("zh", "ja", "es")
LANGUAGES = ("en", *TRANSLATED)
# Between these a page is written by hand.
BEGIN, END = "<!-- recipe -->", "<!-- /recipe -->"
# The picture of a node lies in the folder called like it; the editor looks for it beside the page.
PICTURE = "node.png"
# Headings of the pages' tables; no node says them.
INPUTS, OUTPUTS = "Inputs", "Outputs"

Info = dict[str, Any]
Tree = dict[str, Any]
Say = Callable[[str], str]


class NoModels:
    """The folders of a machine without models: what nodes say is the same on all machines."""

    def roots(self, kind: str) -> list[Path]:
        return []

    def checkpoint_names(self) -> list[str]:
        return []


def node_infos() -> list[Info]:
    """The nodes of the pack as `/object_info` tells them, in the pack's order."""
    from orchestrator.engine import host

    host.install()
    from comfy_nodes import folders
    from comfy_nodes.extension import NODES

    with patch.object(folders, "current", NoModels):
        return [node.GET_NODE_INFO_V1() for node in NODES]


def inputs_of(info: Info) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Ids and options of a node's inputs, in the order in which the canvas shows them."""
    for group in ("required", "optional"):
        for name, entry in info["input"].get(group, {}).items():
            yield name, entry[1] if len(entry) > 1 else {}


def node_definition(info: Info, say: Say) -> Tree:
    """A node's entry in nodeDefs.json, each text put through `say`."""
    inputs = {}
    for name, options in inputs_of(info):
        inputs[name] = {"name": say(options.get("display_name") or name)}
        if options.get("tooltip"):
            inputs[name]["tooltip"] = say(options["tooltip"])
    outputs: dict[str, dict[str, str]] = {}
    told = info.get("output_tooltips") or [None] * len(info["output"])
    for index, (kind, name, tooltip) in enumerate(
        zip(info["output"], info["output_name"], told, strict=True)
    ):
        # The editor has its own words for an output that is called like its type.
        found = {} if name == kind else {"name": say(name)}
        outputs[str(index)] = found | ({"tooltip": say(tooltip)} if tooltip else {})
    return {
        "display_name": say(info["display_name"]),
        "description": say(info["description"]),
        "inputs": inputs,
        "outputs": {index: entry for index, entry in outputs.items() if entry},
    }


def locale_of(infos: list[Info], say: Say) -> dict[str, Tree]:
    """The files of a language, by their names without `.json`."""
    categories = sorted({part for info in infos for part in info["category"].split("/")})
    return {
        "main": {"nodeCategories": {part: say(part) for part in categories}},
        "nodeDefs": {info["name"]: node_definition(info, say) for info in infos},
    }


def page_of(info: Info, say: Say, recipe: str) -> str:
    """A help page around what is written by hand."""
    definition = node_definition(info, say)
    title = definition["display_name"]
    picture = f"![{title}]({info['name']}/{PICTURE})"
    lines = [f"# {title}", "", definition["description"], "", picture, "", BEGIN, recipe, END]
    rows = [(entry["name"], entry.get("tooltip", "")) for entry in definition["inputs"].values()]
    lines += table(say(INPUTS), rows)
    given = [
        (definition["outputs"][str(index)].get("name", name), told)
        for index, name in enumerate(info["output_name"])
        if (told := definition["outputs"].get(str(index), {}).get("tooltip"))
    ]
    return "\n".join([*lines, *table(say(OUTPUTS), given)]) + "\n"


def table(heading: str, rows: list[tuple[str, str]]) -> list[str]:
    """A chapter with a table of names and texts; nothing where there are none."""
    if not rows:
        return []
    cells = [f"| **{name}** | {text} |" for name, text in rows]
    return ["", f"## {heading}", "", "| | |", "|---|---|", *cells]


def recipe_of(page: Path) -> str:
    """What is written by hand in a page. Raises SystemExit where it has no such part."""
    text = page.read_text(encoding="utf-8") if page.is_file() else ""
    if BEGIN not in text or END not in text:
        raise SystemExit(f"{page} has no recipe between {BEGIN} and {END}: write one")
    return text.partition(BEGIN)[2].partition(END)[0].strip("\n")


def page_path(node: str, language: str) -> Path:
    """Where a node's page lies, by the editor's rule."""
    return PAGES / f"{node}.md" if language == "en" else PAGES / node / f"{language}.md"


class Translation:
    """One language: its texts, which of them were asked for, and which it lacks."""

    def __init__(self, language: str) -> None:
        self.language = language
        file = TRANSLATIONS / f"{language}.json"
        self._texts: dict[str, str] = {}
        if language != "en":
            self._texts = json.loads(file.read_text(encoding="utf-8"))
        self._asked: set[str] = set()

    def say(self, english: str) -> str:
        """The text in this language; the English one where it is missing."""
        self._asked.add(english)
        return self._texts.get(english, english)

    def faults(self) -> list[str]:
        """Texts without a translation, and translations that nothing asked for, a line each."""
        if self.language == "en":
            return []
        missing = sorted(self._asked - set(self._texts))
        unused = sorted(set(self._texts) - self._asked)
        return [
            *(f"{self.language}: not translated: {text!r}" for text in missing),
            *(f"{self.language}: nothing says this any more: {text!r}" for text in unused),
        ]


def written(infos: list[Info]) -> tuple[dict[Path, str], list[str]]:
    """All files with their texts, and what is wrong with the translations."""
    files: dict[Path, str] = {}
    faults: list[str] = []
    for language in LANGUAGES:
        translation = Translation(language)
        for name, tree in locale_of(infos, translation.say).items():
            text = json.dumps(tree, ensure_ascii=False, indent=2)
            files[LOCALES / language / f"{name}.json"] = text + "\n"
        for info in infos:
            page = page_path(info["name"], language)
            files[page] = page_of(info, translation.say, recipe_of(page))
        faults += translation.faults()
    return files, faults


def main() -> None:
    """Write all files, or say why not."""
    files, faults = written(node_infos())
    if faults:
        raise SystemExit("\n".join(faults))
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
