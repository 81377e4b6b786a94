"""How long it takes to decode node classes and to turn canvas files into graphs.

    python scripts/bench_workflow.py [OBJECT_INFO.json]

prints medians of five, in ms; nothing is judged. Without a file the tests' own classes are taken,
many times over.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))

from orchestrator.workflow.catalogue import Catalogue  # noqa: E402
from orchestrator.workflow.conversion import convert  # noqa: E402

INFO = REPOSITORY / "tests" / "data" / "editor" / "object_info.json"
CLASSES = 3000


def many(object_info: dict[str, Any], count: int) -> dict[str, Any]:
    """So many classes, the same ones under further names."""
    names = list(object_info)
    return {
        f"{names[at % len(names)]}{at}": object_info[names[at % len(names)]] for at in range(count)
    }


def chain(count: int) -> dict[str, Any]:
    """A canvas of so many nodes: pictures, scaled, through reroutes, some of them bypassed."""
    nodes: list[Any] = []
    links: list[Any] = []
    for number in range(1, count + 1):
        kind = ("EmptyImage", "ResizeImageMaskNode", "Reroute", "ImageScaleBy", "PreviewImage")
        made: dict[str, Any] = {"id": number, "type": kind[(number - 1) % 5], "outputs": []}
        made["outputs"] = [{"name": "IMAGE", "type": "IMAGE"}]
        made["mode"] = 4 if made["type"] == "ImageScaleBy" and number % 10 == 4 else 0
        names = {"ResizeImageMaskNode": "input", "Reroute": "", "PreviewImage": "images"}
        if made["type"] != "EmptyImage":
            links.append([number, number - 1, 0, number, 0, "IMAGE"])
            name = names.get(made["type"], "image")
            made["inputs"] = [{"name": name, "type": "*", "link": number}]
        made["widgets_values"] = {
            "EmptyImage": [64, 64, 1, 0],
            "ResizeImageMaskNode": ["scale longer dimension", 96, "area"],
            "ImageScaleBy": ["area", 2],
        }.get(made["type"], [])
        nodes.append(made)
    return {"nodes": nodes, "links": links, "version": 0.4}


def median(run: Callable[[], Any]) -> float:
    """In ms, of five."""
    times = []
    for _ in range(5):
        began = time.perf_counter()
        run()
        times.append(1000 * (time.perf_counter() - began))
    return statistics.median(times)


def main(path: Path) -> None:
    """Measure and print."""
    object_info = json.loads(path.read_text(encoding="utf-8"))
    declared = many(object_info, CLASSES)

    def decode() -> None:
        catalogue = Catalogue(declared)
        for name in catalogue:
            catalogue.node_class(name)

    print(f"decode {CLASSES} classes: {median(decode):.0f} ms")
    own = Catalogue(json.loads(INFO.read_text(encoding="utf-8")))
    for count in (100, 1000, 10_000):
        canvas = chain(count)
        print(f"convert {count} nodes: {median(partial(convert, canvas, own)):.0f} ms")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("info", type=Path, metavar="OBJECT_INFO.json", nargs="?", default=INFO)
    main(parser.parse_args().info)
