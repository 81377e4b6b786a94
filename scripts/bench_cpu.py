"""Measures a picture on the CPU, side by side: ComfyUI, ComfyUI with our nodes, diffusers, engine.

    python scripts/bench_cpu.py --comfyui ~/comfy/ComfyUI --out bench-cpu
    python scripts/bench_cpu.py --comfyui ~/comfy/ComfyUI --tiny --size 128   # a try-out, minutes

All make the same picture from one SD 1.5 checkpoint of full size with random weights: 512 x 512,
euler_ancestral, karras, CFG 8. Each contestant runs alone in a process of its own, one after the
other; a first run loads and warms up and stands apart. `--rounds 2` goes through all of them twice,
so that a machine that changes meanwhile shows; with `--in-turns` all stay up, and rounds of few
steps follow each other quickly. OUT/cpu.json is whole after each row, and a run that is started
again goes on. The table and the ratios are printed, and are in OUT/cpu.md.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from itertools import product
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from scripts.bench.contestants import (
    Contestant,
    ContestantJob,
    ContestantSession,
    add_comfyui_options,
    end_servers_on_sigterm,
    place_of,
    session,
    wanted,
)
from scripts.bench.rows import ContestantRow, ResultsFile, apart, machine, measured, table
from scripts.bench.weights import checkpoint

STOCK, OURS = "ComfyUI", "ComfyUI with our nodes, fp32"
AUTO, DIFFUSERS = "ComfyUI with our nodes, auto", "diffusers, fp32"
CONTESTANTS = (
    Contestant(name=STOCK, kind="comfyui"),
    Contestant(
        name="ComfyUI --use-pytorch-cross-attention",
        kind="comfyui",
        arguments=("--use-pytorch-cross-attention",),
    ),
    Contestant(name=OURS, kind="comfyui", settings={"precision": "fp32"}),
    Contestant(name=AUTO, kind="comfyui", settings={}),
    Contestant(name=DIFFUSERS, kind="diffusers", arguments=("fp32",)),
    Contestant(name="diffusers, bf16", kind="diffusers", arguments=("bf16",)),
    Contestant(name="engine, fp32", kind="engine", settings={"precision": "fp32"}),
    Contestant(name="engine, auto", kind="engine", settings={}),
)
_HEADS = ("", "seconds (low to high)", "sampling", "decoding", "images/min", "speed", "memory")
_GIB = 1 << 30


def main() -> None:
    options = _options()
    end_servers_on_sigterm()
    place = place_of(options, "cpu")
    if options.shared:
        # torch's threads spin while they wait for each other, and where other programs want the
        # cores too that makes everything many times slower. The engine does so by itself.
        os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
    path = checkpoint("sd15", options.models, "cpu", tiny=options.tiny)
    job = ContestantJob(checkpoint=path.name, size=options.size, steps=options.steps)
    chosen = [one for one in CONTESTANTS if wanted(one, options)]
    facts = {**machine(), "rounds": options.rounds, "shared": options.shared}
    results = _opened(options.out / "cpu.json", facts, job)
    with ExitStack() as stack:
        running: dict[str, ContestantSession] = {}
        for number, contestant in product(range(options.rounds), chosen):
            name = contestant.name
            if sum(row.contestant == name for row in results.rows) > number:
                continue
            print(f"{name} ...", flush=True)
            if not options.in_turns:
                stack.close()  # ends the one before
                running.clear()
            if name not in running:
                running[name] = stack.enter_context(session(contestant, place))
            # A server that goes on has made the pictures of the rounds before.
            here = replace(job, seed=job.seed + number * options.repeats)
            row, pictures = measured(contestant, running[name], here, options.repeats, warm_steps=1)
            results.add(row)
            if number == 0:
                _keep(options.out, contestant, pictures)
    text = report(results.rows, options.out, chosen)
    (options.out / "cpu.md").write_text(text + "\n", encoding="utf-8")
    print(text)


def report(rows: Sequence[ContestantRow], out: Path, chosen: Sequence[Contestant]) -> str:
    """The table, the ratios that are asked for, and how far the pictures are apart."""
    merged = [_merged(rows, one.name) for one in chosen]
    stock = next((row for row in merged if row.contestant == STOCK), None)
    lines = [table(_HEADS, [_cells(row, stock) for row in merged]), ""]
    lines += _ratios(merged)
    for one in chosen:
        mine, theirs = _kept(out, one.name), _kept(out, STOCK)
        if mine and theirs and one.name != STOCK:
            lines.append(f"- picture of {one.name} against {STOCK}'s: {apart(mine, theirs)}")
    return "\n".join(lines)


def _ratios(rows: Sequence[ContestantRow]) -> list[str]:
    by_name = {row.contestant: row.median for row in rows}
    pairs = [(STOCK, OURS), (STOCK, AUTO), (DIFFUSERS, AUTO), (STOCK, "engine, auto")]
    pairs += [(DIFFUSERS, "engine, auto"), (DIFFUSERS, "engine, fp32")]
    return [
        f"- {fast} is {by_name[slow] / by_name[fast]:.2f} times as fast as {slow}"
        for slow, fast in pairs
        if slow in by_name and fast in by_name
    ]


def _merged(rows: Sequence[ContestantRow], name: str) -> ContestantRow:
    """All rounds of a contestant in one row."""
    mine = [row for row in rows if row.contestant == name]
    seconds = tuple(value for row in mine for value in row.seconds)
    return ContestantRow(**{**vars(mine[0]), "seconds": seconds})


def _cells(row: ContestantRow, stock: ContestantRow | None) -> list[str]:
    return [
        row.contestant,
        f"{row.median:.2f} ({min(row.seconds):.2f} to {max(row.seconds):.2f})",
        "–" if row.sampling_s is None else f"{row.sampling_s:.2f}",
        "–" if row.decoding_s is None else f"{row.decoding_s:.2f}",
        f"{row.rate:.2f}",
        "–" if stock is None else f"{stock.median / row.median:.2f} times",
        "–" if row.process is None else f"{row.process / _GIB:.2f} GiB",
    ]


def _opened(path: Path, facts: dict[str, object], job: ContestantJob) -> ResultsFile:
    """The results, with the rows of a run that was ended; exits where they are of another job."""
    results = ResultsFile(path, facts)
    if path.is_file():
        known = json.loads(path.read_text(encoding="utf-8"))["rows"]
        fields = ContestantRow.__dataclass_fields__
        for row in known:
            values = {key: value for key, value in row.items() if key in fields}
            results.rows.append(ContestantRow(**{**values, "seconds": tuple(row["seconds"])}))
    wanted = (job.checkpoint, job.size, job.steps)
    if any((row.checkpoint, row.size, row.steps) != wanted for row in results.rows):
        sys.exit(f"{path} holds figures of another job; give another --out, or delete it")
    return results


def _keep(out: Path, contestant: Contestant, pictures: Sequence[bytes]) -> None:
    for number, content in enumerate(pictures):
        path = out / "pictures" / f"{_slug(contestant.name)}-{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def _kept(out: Path, name: str) -> list[bytes]:
    found = sorted((out / "pictures").glob(f"{_slug(name)}-[0-9]*.png"))
    return [path.read_bytes() for path in found]


def _slug(name: str) -> str:
    return "".join(letter if letter.isalnum() else "_" for letter in name)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_comfyui_options(parser)
    parser.add_argument("--out", type=Path, default=Path("bench-cpu"))
    parser.add_argument(
        "--models",
        type=Path,
        default=Path(tempfile.gettempdir()) / "spriteworks-bench-models",
        help="where the checkpoint is made, 2.1 GB, and found again",
    )
    parser.add_argument("--size", type=int, default=512, help="side of the picture in px")
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=2, help="measured runs a round")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument(
        "--in-turns",
        action="store_true",
        help="keep all of them running, with their models loaded, and let them take turns: short "
        "rounds, so that all meet the same machine. Needs memory for all at once",
    )
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="NAME",
        help="regular expression to find in a name, as ^ComfyUI$ for the stock one; repeatable",
    )
    parser.add_argument("--tiny", action="store_true", help="a narrow model, for a try-out")
    parser.add_argument(
        "--shared",
        action="store_true",
        help="other programs want the cores, too: let no contestant's threads spin",
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
