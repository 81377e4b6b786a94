"""Build the shipped workflows and blueprints, both forms of each workflow from one recipe.

    python scripts/build_workflows.py

writes workflows/NAME.json (canvas file), workflows/api/NAME.json (graph) and subgraphs/NAME.json.
Edit the recipes in scripts/templates, not the files. What the canvas needs to know of a node class,
its slots and widgets, is read from tests/data/canvas/object_info.json, and how large the editor
makes it from tests/data/node_sizes.json (tests/data/record_sizes.py).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))

from orchestrator.protocol import Graph  # noqa: E402
from orchestrator.workflow.catalogue import Catalogue  # noqa: E402
from scripts.templates.blueprints import BLUEPRINTS, blueprint_file  # noqa: E402
from scripts.templates.canvas import canvas  # noqa: E402
from scripts.templates.frames import frames, walk_cycle  # noqa: E402
from scripts.templates.painting import inpaint, inpaint_by_hand, palette_swap, snap  # noqa: E402
from scripts.templates.recipe import Recipe  # noqa: E402
from scripts.templates.sprites import (  # noqa: E402
    batch,
    icons,
    img2img,
    pixel_art,
    seamless_tile,
    sprite,
)

RECORDED = REPOSITORY / "tests" / "data" / "canvas"
RECIPES: tuple[Callable[[], Recipe], ...] = (
    sprite,
    batch,
    icons,
    pixel_art,
    img2img,
    inpaint,
    inpaint_by_hand,
    frames,
    walk_cycle,
    snap,
    palette_swap,
    seamless_tile,
)


def texts(catalogue: Catalogue) -> Iterator[tuple[str, str]]:
    """(path in the repository, text) of every file."""
    sizes = json.loads((RECORDED.parent / "node_sizes.json").read_text(encoding="utf-8"))
    for make in RECIPES:
        recipe = make()
        _fill(recipe.graph, catalogue)
        yield f"workflows/api/{recipe.name}.json", _text(recipe.graph, 2)
        yield f"workflows/{recipe.name}.json", _text(canvas(recipe, catalogue, sizes), 1)
    for offer in BLUEPRINTS:
        blueprint = offer()
        _fill(blueprint.recipe.graph, catalogue)
        made = blueprint_file(blueprint, catalogue, sizes)
        yield f"subgraphs/{blueprint.recipe.name}.json", _text(made, 1)


def _fill(graph: Graph, catalogue: Catalogue) -> None:
    """Puts the default of each field into nodes that do not name it, as the editor does."""
    for node in graph.values():
        for entry in catalogue.node_class(node["class_type"]).inputs:
            if entry.is_widget and entry.name not in node["inputs"]:
                node["inputs"][entry.name] = entry.default


def _text(data: Any, indent: int) -> str:
    return json.dumps(data, indent=indent) + "\n"


def main() -> None:
    """Write all files."""
    catalogue = Catalogue(json.loads((RECORDED / "object_info.json").read_text(encoding="utf-8")))
    for name, text in texts(catalogue):
        path = REPOSITORY / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
