"""How fast pictures become sprites: snap, cut-out and one palette for all, as `snap` does them.

    python scripts/bench_sprites.py --pictures 512 --jobs 2

Draws pictures of 1024x1024 of five kinds (see tests/unit/fake_grids.py), `--distinct` of them, the
rest copies under other names, and prints: seconds of CPU of each step a picture, in one process;
seconds of CPU of the whole at 256 to 2048 px a side, and the slope of their logs (1 is linear in
pixels); and for 64 and all pictures with 1 and with `--jobs` processes the pictures a second, the
seconds of CPU, and the most memory of all processes together.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import psutil
from numpy.typing import NDArray
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from comfy_nodes.ops.cutout import CutoutOptions as Cutout  # noqa: E402
from orchestrator.sprites.files import read_picture, write_picture  # noqa: E402
from orchestrator.sprites.finishing import Finish, KnownGrid  # noqa: E402
from scripts.snapping.cases import generator  # noqa: E402

_KINDS = ("frac", "fracaa", "degraded", "drift", "diffusion")
_SIZES = (256, 512, 1024, 2048)
_COLOURS = 16
_RUN = """
import json, resource, sys, time
sys.path.insert(0, sys.argv[1])
import orchestrator
if __name__ == "__main__":
    begin = time.monotonic()
    done = orchestrator.snap(
        sys.argv[2], sys.argv[3], cutout=True, palette=int(sys.argv[4]), jobs=int(sys.argv[5])
    )
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    print(json.dumps({
        "wall": time.monotonic() - begin,
        "cpu": sum(one.ru_utime + one.ru_stime for one in used),
        "wrong": sum(not one.ok for one in done),
    }))
"""


class _Pitch:
    """Chance, but for the pitch."""

    def __init__(self, random: np.random.Generator, pitch: float) -> None:
        self.pitch, self.normal = pitch, random.normal

    def uniform(self, *_: float) -> float:
        """Where a fractional pitch is drawn."""
        return self.pitch

    def integers(self, *_: int) -> int:
        """Where a whole one is."""
        return int(self.pitch)


def _drawn(number: int, side: int) -> NDArray[np.uint8]:
    """A picture of 64 or 128 cells, less where they would be under 4 px."""
    names, random = generator(), np.random.default_rng([7, number])
    cells = min((64, 128)[number % 2], side // 4)
    truth = names["scene"](random, [names["figure"](random, alpha=True) for _ in range(9)])
    truth = np.tile(truth, (4, 4, 1))[:cells, :cells]
    kind = _KINDS[number % len(_KINDS)]
    picture: NDArray[np.uint8] = names["enlarge"](truth, kind, _Pitch(random, side / cells))[0]
    return picture


def _steps(files: Sequence[Path], out: Path) -> dict[str, float]:
    """Seconds of CPU of each step, a picture."""
    finish = Finish(grid=KnownGrid(), palette=_COLOURS)
    spent = dict.fromkeys(("decode", "snap", "cut-out", "palette", "paint", "encode"), 0.0)
    clock = time.process_time()

    def took(step: str) -> None:
        nonlocal clock
        now = time.process_time()
        spent[step] += now - clock
        clock = now

    cuts = []
    for file in files:
        clock = time.process_time()
        picture = read_picture(file)
        took("decode")
        snapped = finish.cut([picture])[0]
        took("snap")
        cuts.append((file, Finish(grid=None, cutout=Cutout()).cut([snapped.picture])[0]))
        took("cut-out")
    clock = time.process_time()
    palette = finish.palette_of(one.picture for _, one in cuts)
    took("palette")
    for file, one in cuts:
        painted = finish.painted(one, palette).picture
        took("paint")
        write_picture(painted, out / file.name)
        took("encode")
    return {step: seconds / len(files) for step, seconds in spent.items()}


def _run(folder: Path, out: Path, jobs: int) -> tuple[dict[str, float], int]:
    """The whole in processes of its own, and the most memory of all of them, in bytes."""
    script = out.with_suffix(".py")
    script.write_text(_RUN, encoding="utf-8")
    most = 0
    given = [str(ROOT), str(folder), str(out), str(_COLOURS), str(jobs)]
    with subprocess.Popen([sys.executable, script, *given], stdout=subprocess.PIPE) as process:
        done = threading.Event()

        def watch() -> None:
            nonlocal most
            own = psutil.Process(process.pid)
            while not done.wait(0.1):
                held = 0
                try:
                    for one in (own, *own.children(recursive=True)):
                        held += one.memory_info().rss
                except psutil.NoSuchProcess:
                    continue
                most = max(most, held)

        watching = threading.Thread(target=watch)
        watching.start()
        told, _ = process.communicate()
        done.set()
        watching.join()
    return json.loads(told), most


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--pictures", type=int, default=512)
    parser.add_argument("--distinct", type=int, default=40, help="pictures that are drawn")
    parser.add_argument("--jobs", type=int, default=2)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        _measure_sizes(place)
        few, many = place / "few", place / "many"
        for folder, count in ((few, 64), (many, given.pictures)):
            folder.mkdir()
            for number in range(count):
                file = folder / f"{number}.png"
                known = few / f"{number % given.distinct}.png"
                if known.exists():
                    shutil.copy(known, file)
                else:
                    Image.fromarray(_drawn(number, 1024)).save(file)
        steps = _steps(sorted(few.iterdir())[:40], place / "steps")
        whole = sum(steps.values())
        print("1024x1024, CPU s a picture: " + f"{whole:.3f}")
        for step, seconds in steps.items():
            print(f"  {step:8}{seconds:8.4f}{100 * seconds / whole:6.0f}%")
        print("pictures  jobs  pictures/s   CPU s   memory MiB  wrong")
        for folder in (few, many):
            count = len(list(folder.iterdir()))
            for jobs in (1, given.jobs):
                told, most = _run(folder, place / f"{folder.name}-{jobs}", jobs)
                print(
                    f"{count:8}{jobs:6}{count / told['wall']:12.1f}{told['cpu']:8.1f}"
                    f"{most / 2**20:13.0f}{told['wrong']:7}"
                )


def _measure_sizes(place: Path) -> None:
    seconds = []
    for side in _SIZES:
        folder = place / str(side)
        folder.mkdir()
        for number in range(10):
            Image.fromarray(_drawn(number, side)).save(folder / f"{number}.png")
        seconds.append(sum(_steps(sorted(folder.iterdir()), place / "sized").values()))
        print(f"{side}x{side}: {seconds[-1]:.4f} CPU s a picture")
    pixels = [side * side for side in _SIZES]
    slope = np.polyfit(np.log(pixels), np.log(seconds), 1)[0]
    print(f"slope of the logs, seconds by pixels: {slope:.2f}")


if __name__ == "__main__":
    main()
