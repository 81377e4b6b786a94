"""Measure what the pack's JavaScript costs when ComfyUI's editor opens.

    python scripts/bench_canvas.py ~/comfy/ComfyUI [--loads 7]

needs Playwright and a Chromium. Starts that ComfyUI with the pack, opens its editor that many times
with an empty cache, and as often with the pack's JavaScript refused, in turns. Prints medians, and
the least and the most: until the editor is up, until the pack's files are there (Performance API,
from the first request to the last answer), and the CPU time in the pack's functions and in all
JavaScript until then (Chromium's profiler, sampled each 0.1 ms).
"""

from __future__ import annotations

import argparse
import runpy
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))

from orchestrator.local import launch  # noqa: E402

EDITOR = runpy.run_path(str(REPOSITORY / "tests" / "data" / "canvas_editor.py"))
# All is set up; the pack need not be there.
UP = EDITOR["UP"].replace("SpriteworksSaveSprite", "KSampler")
# Of the pack, under any folder's name: its files are the only ones with these names.
ENTRY = "/spriteworks.js"
# us
SAMPLED = 100
FILES = """entry => {
  const every = performance.getEntriesByType('resource');
  const folder = every.find(one => new URL(one.name).pathname.endsWith(entry))?.name
    .slice(0, -entry.length + 1);
  const ours = every.filter(one => folder && one.name.startsWith(folder));
  const begun = Math.min(...ours.map(one => one.startTime));
  return {folder, count: ours.length,
    bytes: ours.reduce((sum, one) => sum + one.decodedBodySize, 0),
    took: Math.max(...ours.map(one => one.responseEnd)) - begun};
}"""


@dataclass(frozen=True)
class Load:
    """One time that the editor was opened; ms."""

    up: float
    scripts: float
    # of the pack, and nothing where it was refused
    files: int = 0
    kilobytes: float = 0.0
    fetched: float = 0.0
    ours: float = 0.0


def opened(browser: Any, url: str, refused: bool) -> Load:
    """Open the editor in a browser that knows nothing of it yet."""
    context = browser.new_context(viewport={"width": 1800, "height": 1000})
    try:
        page = context.new_page()
        page.set_default_timeout(EDITOR["PATIENCE"])
        if refused:
            page.route(f"**/extensions/**{ENTRY}", lambda route: route.abort())
        # A profile does not go on in another site's process.
        page.goto(f"{url}/system_stats")
        session = context.new_cdp_session(page)
        session.send("Profiler.enable")
        session.send("Profiler.setSamplingInterval", {"interval": SAMPLED})
        session.send("Profiler.start")
        page.goto(url, wait_until="commit")
        page.wait_for_function(UP)
        up = page.evaluate("() => performance.now()")
        profile = session.send("Profiler.stop")["profile"]
        told = page.evaluate(FILES, ENTRY)
    finally:
        context.close()
    spent = by_file(profile)
    scripts = sum(took for file, took in spent.items() if file)
    if refused:
        return Load(up, scripts)
    if not told["folder"]:
        raise RuntimeError("the editor did not ask for the pack's JavaScript")
    ours = sum(took for file, took in spent.items() if file.startswith(told["folder"]))
    return Load(up, scripts, told["count"], told["bytes"] / 1000, told["took"], ours)


def by_file(profile: Any) -> dict[str, float]:
    """The ms of a profile by the address of the script; "" is what is no script."""
    files = {node["id"]: node["callFrame"]["url"] for node in profile["nodes"]}
    found: dict[str, float] = {}
    for node, took in zip(profile["samples"], profile["timeDeltas"], strict=True):
        found[files[node]] = found.get(files[node], 0.0) + max(took, 0) / 1000
    return found


def line(name: str, values: Sequence[float]) -> str:
    """Median, least and most of some values."""
    return f"{name}: {statistics.median(values):.1f} ms ({min(values):.1f} to {max(values):.1f})"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("comfyui", type=Path, help="folder of a ComfyUI")
    parser.add_argument("--loads", type=int, default=7, help="of each kind")
    given = parser.parse_args()
    found: dict[bool, list[Load]] = {False: [], True: []}
    with launch.comfyui(given.comfyui) as process, EDITOR["chromium"]() as browser:
        opened(browser, process.url, refused=False)  # the server reads its own files once
        for _ in range(given.loads):
            for refused, loads in found.items():
                loads.append(opened(browser, process.url, refused))
    ours = found[False]
    print(f"the pack's JavaScript: {ours[0].files} files, {ours[0].kilobytes:.0f} kB")
    print(line("  there after", [one.fetched for one in ours]))
    print(line("  CPU in its functions", [one.ours for one in ours]))
    print(line("CPU in all JavaScript", [one.scripts for one in ours]))
    print(line("the editor is up after", [one.up for one in ours]))
    print(line("  without the pack's JavaScript", [one.up for one in found[True]]))


if __name__ == "__main__":
    main()
