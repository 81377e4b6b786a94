"""What the pack's import adds to ComfyUI's own; runs in ComfyUI's environment, prints JSON.

    COMFYUI_PYTHON tests/contract/import_on_comfyui.py COMFYUI REPOSITORY

Only measures; the judging is in test_import_on_comfyui.py.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

COMFYUI, REPOSITORY = (Path(argument) for argument in sys.argv[1:3])
sys.argv[1:] = ["--cpu"]
sys.path[:0] = [str(COMFYUI)]
os.chdir(COMFYUI)

import comfy.options  # noqa: E402

comfy.options.enable_args_parsing()

# What ComfyUI's main.py has imported when it comes to custom nodes, without its extra nodes. The
# first as there, too: some versions' nodes.py puts comfy/, which has a utils.py, on the path.
import utils.extra_config  # noqa: E402, F401, I001

import comfy_api.latest  # noqa: E402, F401
import execution  # noqa: E402, F401
import nodes  # noqa: E402
import server  # noqa: E402, F401

NAME = "spriteworks_pack"


def main() -> None:
    # They stand before custom nodes, and with older versions are the first to import pydantic.
    asyncio.run(nodes.init_builtin_api_nodes())
    present = set(sys.modules)
    wall, cpu = time.perf_counter(), time.process_time()
    count = load()
    report = {
        "nodes": count,
        "milliseconds": (time.perf_counter() - wall) * 1000,
        "cpu_milliseconds": (time.process_time() - cpu) * 1000,
        "foreign": sorted(
            name for name in set(sys.modules) - present if name.partition(".")[0] != NAME
        ),
    }
    sys.stdout.write(json.dumps(report))


def load() -> int:
    """Load the pack as ComfyUI does, up to the schemas; how many nodes it has."""
    spec = importlib.util.spec_from_file_location(
        NAME, REPOSITORY / "__init__.py", submodule_search_locations=[str(REPOSITORY)]
    )
    assert spec is not None
    assert spec.loader is not None
    pack: Any = importlib.util.module_from_spec(spec)
    sys.modules[NAME] = pack
    spec.loader.exec_module(pack)

    async def node_list() -> list[Any]:
        extension = await pack.comfy_entrypoint()
        found: list[Any] = await extension.get_node_list()
        return found

    found = asyncio.run(node_list())
    for node in found:
        node.GET_SCHEMA()
    return len(found)


main()
