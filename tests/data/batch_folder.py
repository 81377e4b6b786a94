"""Makes the folder of a small batch with the store's own API, as a run leaves it, for report tests.

    python tests/data/batch_folder.py DIR [NUMBER OF PICTURES]

Two servers make potions; three jobs are not done: one failed, one is quarantined, one waits. Texts
are as bad as people and servers make them.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from pathlib import Path

from PIL import Image, ImageDraw

from orchestrator.batch.execution.store.store import Store
from orchestrator.batch.logic.jobs import Artifact, Attempt, Job, Outcome, Shot, State, Timing
from orchestrator.batch.logic.manifest.manifest import ContactSheet, Manifest

NAME = "potions & <gems>"
EVIL = '</script><script>document.title = "broken"</script><img src=x onerror="boom()">'
REASON = f"node 6 (KSampler) ran out of memory {EVIL} (every rung of the ladder was tried)"
SERVERS = ("http://gpu-a:8188", "http://gpu-b:8188")
COLOURS = ("red", "green", "blue")
# Friday evening, s since the epoch
BEGAN = 1_760_000_000.0
# s of a graph on each server, and that it waited before each
PACES, IDLE = (2.0, 4.0), 0.1


def jobs(count: int) -> Iterator[Job]:
    """Potions in three colours, the last three of which will not be done."""
    for number in range(count):
        colour = COLOURS[number % 3]
        evil = f" {EVIL}" if number == 0 else ""
        yield Job(
            key=hashlib.sha256(str(number).encode()).hexdigest(),
            name=f"{colour} #1%/potion-{colour}-{number}" if number == 1 else _name(number),
            item_id="potion",
            parameters={"prompt": f"a {colour} pötion{evil}", "steps": 20, "cfg": 7 + number % 2},
            seed=2**64 - 1 - number,
        )


def make(folder: Path, count: int = 30, sheet: ContactSheet | None = None) -> list[Job]:
    """Make the folder; returns its jobs in the order of the manifest."""
    folder.mkdir(parents=True, exist_ok=True)
    made = list(jobs(count))
    manifest = Manifest(name=NAME, workflow="sprite", contact_sheet=sheet or ContactSheet())
    with Store.open(folder) as store, store.transaction():
        store.plan(made)
        header = manifest.model_dump_json(by_alias=True, exclude={"items", "items_from"})
        store.set_fact("manifest", header)
        store.set_fact("workflow", "sprite.json")
        clocks = [BEGAN, BEGAN]
        for number, job in enumerate(made[:-3]):
            place = clocks.index(min(clocks))
            clocks[place] += PACES[place] + IDLE
            _run(store, folder, job, place, clocks[place], number)
        failed, killer, _ = made[-3:]
        _fail(store, failed, State.FAILED, "out_of_memory", REASON, max(clocks))
        _fail(store, killer, State.QUARANTINED, "server_lost", "two servers died", max(clocks))
        store.log(f"{failed.name}: {REASON}", warning=True, key=failed.key, now=max(clocks))
        store.log("the run ended", now=max(clocks))
    return made


def _name(number: int) -> str:
    return f"potion-{COLOURS[number % 3]}-{number}"


def _attempt(job: Job, place: int, number: str) -> Attempt:
    shots = (Shot(key=job.key, seed=job.seed_now),)
    return Attempt(prompt_id=number, server=SERVERS[place], shots=shots)


def _run(store: Store, folder: Path, job: Job, place: int, now: float, number: int) -> None:
    attempt = store.claim(_attempt(job, place, str(number)), now=now - PACES[place])
    path = folder / f"{job.name}.png"
    path.parent.mkdir(exist_ok=True)
    _drawing(number).save(path)
    status = path.stat()
    data = path.read_bytes()
    artifact = Artifact(
        key=job.key,
        path=path.relative_to(folder).as_posix(),
        sha256=hashlib.sha256(data).hexdigest(),
        pixels_sha256=hashlib.sha256(str(number % 9).encode()).hexdigest(),
        bytes=status.st_size,
        mtime_ns=status.st_mtime_ns,
        width=16,
        height=24,
        seed=job.seed_now,
        attempt_id=attempt,
        measured={"opaque": 0.25},
    )
    store.record_artifact(artifact)
    spans = {"run": PACES[place], "idle": IDLE, "queued": 1.5, "transfer": 0.01, "store": 0.004}
    timings = [Timing(span=name, seconds=seconds) for name, seconds in spans.items()]
    timings.append(Timing(span="node:6", seconds=PACES[place] * 0.8, node_class="KSampler"))
    if number < 2:
        timings.append(Timing(span="node:1", seconds=1.0, node_class="CheckpointLoaderSimple"))
    store.record_timings(attempt, timings)
    store.close_attempt(attempt, Outcome.DONE, seconds=PACES[place] + IDLE, now=now)
    store.move([job.key], State.DONE)


def _fail(store: Store, job: Job, state: State, kind: str, reason: str, now: float) -> None:
    attempt = store.claim(_attempt(job, 0, job.name), now=now - 1)
    store.close_attempt(attempt, Outcome.FAILED, failure=kind, error=reason, now=now)
    store.move([job.key], state, reason)


def _drawing(number: int) -> Image.Image:
    """A bottle, 16 by 24 pixels, transparent around it."""
    image = Image.new("RGBA", (16, 24))
    pen = ImageDraw.Draw(image)
    fill = [(190, 40, 50, 255), (50, 150, 70, 255), (50, 80, 190, 255)][number % 3]
    edge = (30, 25, 35, 255)
    pen.rectangle((6, 2, 9, 9), (200, 210, 220, 255), edge)
    pen.rectangle((5, 1, 10, 3), (120, 80, 50, 255), edge)
    pen.ellipse((2, 8, 13, 21), fill, edge)
    pen.point([(5, 12), (5, 13), (6, 11)], (255, 255, 255, 255))
    pen.line((4, 15 + number % 3, 11, 15 + number % 3), (255, 255, 255, 90))
    return image


if __name__ == "__main__":
    make(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 30)
