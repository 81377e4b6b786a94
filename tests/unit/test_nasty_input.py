"""Manifests, canvas files and settings that nobody means: never a fault of ours, never a hang.

Half of them are made at random, half are shipped files with something in them spoilt. Each goes the
way of the command: `batch plan`, `convert`, `run` up to what the server takes.
"""

from __future__ import annotations

import copy
import io
import json
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.__main__ import run
from orchestrator.testing import FakeServer

REPOSITORY = Path(__file__).resolve().parents[2]
# s for one command, on a machine that is busy
PATIENCE = 120.0
FEW, MANY = 50, 850

DATA = REPOSITORY / "tests" / "data"
WORKFLOWS = [
    json.loads(path.read_text(encoding="utf-8"))
    for path in (
        *sorted((REPOSITORY / "workflows").glob("*.json")),
        *sorted((REPOSITORY / "workflows" / "api").glob("*.json")),
        *sorted(path for path in (DATA / "canvas").glob("*.json") if path.stem != "object_info"),
    )
]
# The classes that these have; all there are take ten times as long to be read, every time.
NAMED = json.dumps(WORKFLOWS)
INFO = {
    name: one
    for name, one in json.loads((DATA / "canvas" / "object_info.json").read_bytes()).items()
    if json.dumps(name) in NAMED
}
MANIFESTS = [
    path.read_text(encoding="utf-8")
    for path in sorted((REPOSITORY / "workflows" / "batches").glob("*.yaml"))
]


@pytest.fixture(scope="module")
def fake() -> Iterator[FakeServer]:
    with FakeServer(object_info=INFO) as server:
        yield server


def commanded(folder: Path, *arguments: str) -> None:
    """Run a command; what it says when it fails is one sentence, and no fault of ours."""
    said = io.StringIO()
    done: list[int] = []

    def work() -> None:
        done.append(run(list(arguments)))

    before = Path.cwd()
    os.chdir(folder)
    try:
        with redirect_stdout(io.StringIO()), redirect_stderr(said):
            thread = threading.Thread(target=work, daemon=True)
            thread.start()
            thread.join(PATIENCE)
    finally:
        os.chdir(before)
    text = said.getvalue()
    assert done, f"this did not end: {arguments} {text[-500:]}"
    assert "fault of Spriteworks" not in text, text[-2000:]
    assert "Traceback" not in text, text[-2000:]
    assert done[0] == 0 or "error: " in text, f"no word of why: {done[0]} {text!r}"
    assert len(text) < 100_000


# --------------------------------------------------------------------------- what is nasty

DEEP: Any = 1
for _ in range(60):
    DEEP = [DEEP]

SCALARS: Any = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([-1, 0, 2**31, 2**63, 2**64, 10**40, -(10**30), 1e308, -0.0, 1e-320]),
    st.floats(),
    st.text(max_size=12),
    st.sampled_from(
        [
            *("", " ", "\0", "\ud800", "..", "../..", "/", "~", "a" * 5000, "9" * 5000, "{", "{x}"),
            *(
                "{{",
                "{id}",
                "{seed}",
                "%date%",
                "{a|b",
                "con",
                "NUL.png",
                "*",
                "**/*.png",
                "?",
                "[",
            ),
            *("=", "1.10", "0x1F", "nan", "inf", "-inf", "null", "‮", "é", "\r\n", "sprite"),
            *("6.steps", '"KSampler".seed', "99.x", ".", "random", "prompt", "workflow.json"),
        ]
    ),
)
VALUES: Any = st.recursive(
    SCALARS | st.just(DEEP),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4)
    ),
    max_leaves=8,
)


def mostly(likely: Any, *rare: Any) -> Any:
    """Four times in five what comes far; for `one_of` a strategy given twice counts once."""
    return st.sampled_from(range(5)).flatmap(lambda turn: likely if turn else st.one_of(*rare))


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where something stands in plain data."""
    parts: Any = ()
    if isinstance(value, dict):
        parts = value.items()
    elif isinstance(value, list):
        parts = enumerate(value)
    for key, inner in parts:
        yield (*path, key)
        yield from places(inner, (*path, key))


@st.composite
def spoilt(draw: Callable[[Any], Any], whole: Any) -> Any:
    """Plain data with one to three things in it exchanged, doubled or taken away."""
    data = copy.deepcopy(whole)
    for _ in range(draw(st.integers(1, 3))):
        found = list(places(data))
        if not found:
            break
        *path, last = draw(st.sampled_from(found))
        inside: Any = data
        for key in path:
            inside = inside[key]
        match draw(st.sampled_from(["exchange", "exchange", "remove", "rename", "double"])):
            case "exchange":
                inside[last] = copy.deepcopy(draw(VALUES))
            case "remove":
                del inside[last]
            case "rename" if isinstance(inside, dict):
                inside[draw(st.text(max_size=6))] = inside.pop(last)
            case _:
                other = draw(st.sampled_from(found))
                inside[last] = {"other": str(other)} if isinstance(inside, dict) else [inside[last]]
    return data


def text_of(data: Any, form: str) -> bytes:
    """Data as a file, whatever is in it."""
    if form == "yaml":
        text = yaml.safe_dump(data, allow_unicode=True)
    else:
        text = json.dumps(data, ensure_ascii=form == "ascii")
    return text.encode("utf-8", "surrogatepass")


FIELDS = [
    *("name", "workflow", "items", "defaults", "vars", "seeds", "output", "style", "images"),
    *(
        "gates",
        "export",
        "expand",
        "priority",
        "rerolls",
        "batch_size",
        "items_from",
        "contact_sheet",
    ),
]
SEEDS: Any = st.one_of(
    st.fixed_dictionaries({"base": SCALARS, "count": st.integers(-3, 10**12)}),
    st.fixed_dictionaries({"from": st.integers(0, 2**65), "to": st.integers(0, 2**65)}),
    st.lists(SCALARS, max_size=3),
    VALUES,
)
ITEM: Any = st.fixed_dictionaries(
    {"id": st.just("a") | SCALARS},
    optional={
        "prompt": SCALARS,
        "negative": VALUES,
        "seeds": SEEDS,
        "vars": st.dictionaries(
            st.sampled_from(["a", "b", "id", "x y", ""]), VALUES | st.lists(SCALARS), max_size=3
        ),
        "set": st.dictionaries(
            st.sampled_from(["prompt", "steps", "cfg", "model", "6.steps", "x", "seed", "image"]),
            VALUES,
            max_size=3,
        ),
        "images": st.dictionaries(st.sampled_from(["image", "mask", ""]), SCALARS, max_size=2),
        "output": SCALARS,
        "gates": VALUES,
        "rerolls": VALUES,
        "expand": st.sampled_from(["zip", "product", "x", None]),
    },
)
MADE: Any = st.fixed_dictionaries(
    {"name": st.just("x") | SCALARS, "workflow": st.just("sprite") | SCALARS},
    optional={
        "items": st.lists(ITEM, max_size=3) | VALUES,
        **{field: VALUES for field in FIELDS[3:] if field != "seeds"},
        "seeds": SEEDS,
        "defaults": st.dictionaries(
            st.sampled_from(["prompt", "steps", "cfg"]), SCALARS, max_size=2
        ),
    },
)
MADE_TEXT: Any = st.builds(text_of, MADE, st.sampled_from(["yaml", "json", "ascii"]))
SPOILT_TEXT: Any = st.builds(
    text_of,
    st.sampled_from(MANIFESTS).map(yaml.safe_load).flatmap(spoilt),
    st.sampled_from(["yaml", "json"]),
)
NASTY_MANIFEST: Any = mostly(
    st.one_of(MADE_TEXT, SPOILT_TEXT),
    st.binary(max_size=200),
    st.tuples(st.sampled_from(MANIFESTS), st.integers(0, 400), st.text(max_size=5)).map(
        lambda one: (one[0][: one[1]] + one[2] + one[0][one[1] :]).encode("utf-8", "surrogatepass")
    ),
)
CELL: Any = st.text(max_size=8) | st.sampled_from(['"', ";", "1,5", "id", "\r", "\0", "9" * 5000])
CREATURES = (REPOSITORY / "workflows" / "batches" / "creatures.csv").read_text(encoding="utf-8")
NASTY_CSV: Any = st.one_of(
    st.just(CREATURES),
    st.tuples(st.integers(0, 300), st.text(max_size=5)).map(
        lambda one: CREATURES[: one[0]] + one[1] + CREATURES[one[0] : 400]
    ),
    st.lists(st.lists(CELL, max_size=5), max_size=5).map(
        lambda rows: "id,vars.a\n" + "\n".join(",".join(row) for row in rows)
    ),
    st.lists(st.lists(CELL, max_size=5), max_size=5).map(
        lambda rows: "\n".join(";".join(row) for row in rows)
    ),
    st.text(max_size=60),
).map(lambda text: text.encode("utf-8", "surrogatepass"))
SPOILT_WORKFLOW: Any = st.builds(
    text_of, st.sampled_from(WORKFLOWS).flatmap(spoilt), st.sampled_from(["json", "ascii"])
)
NASTY_WORKFLOW: Any = mostly(
    SPOILT_WORKFLOW,
    st.builds(text_of, VALUES, st.sampled_from(["json", "ascii"])),
    st.binary(max_size=100),
    st.sampled_from(WORKFLOWS).map(lambda one: json.dumps(one)[:-40].encode()),
)
ROLE: Any = st.sampled_from(
    [
        *("prompt", "negative", "seed", "steps", "cfg", "width", "height", "model", "sampler"),
        *(
            "scheduler",
            "denoise",
            "batch_size",
            "image",
            "mask",
            "1.seed",
            '"a".b',
            "",
            ".",
            "x.y.z",
        ),
    ]
)
# What a shell can hand over: no NUL; bytes that are no UTF-8 come as halves of characters.
WORD: Any = SCALARS.map(lambda one: str(one).replace("\0", ""))
GIVEN: Any = st.builds(lambda name, value: f"{name}={value}", ROLE, WORD)
SETTING: Any = mostly(GIVEN, st.builds(lambda name, value: f"{name}={value}", WORD, WORD), WORD)


def settled(examples: int) -> settings:
    slow = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large]
    return settings(max_examples=examples, deadline=None, suppress_health_check=slow)


# --------------------------------------------------------------------------- what must hold


def plan(folder: Path, fake: FakeServer, manifest: bytes, rows: bytes, workflow: bytes) -> None:
    folder = folder / "batches"
    folder.mkdir(exist_ok=True)
    if not (folder.parent / "inputs").exists():
        shutil.copytree(REPOSITORY / "workflows" / "inputs", folder.parent / "inputs")
        shutil.copy(REPOSITORY / "workflows" / "batches" / "frames.json", folder)
    (folder / "batch.yaml").write_bytes(manifest)
    (folder / "creatures.csv").write_bytes(rows)
    (folder / "workflow.json").write_bytes(workflow)
    commanded(folder, "batch", "plan", "batch.yaml", "--out", "out", "--server", fake.url)


def convert(folder: Path, fake: FakeServer, workflow: bytes) -> None:
    (folder / "workflow.json").write_bytes(workflow)
    commanded(folder, "convert", "workflow.json", "--out", "graph.json", "--server", fake.url)


def submit(folder: Path, fake: FakeServer, workflow: str, given: list[str]) -> None:
    # what is right is not run: the parameters are all that a server would see
    words = [word for one in given for word in ("--set", one)]
    commanded(folder, "validate", workflow, *words, "--server", fake.url)


# s for all of them together, where other programs have the machine: each has its own patience
ALL: list[Any] = [
    pytest.param(FEW, id="few", marks=pytest.mark.timeout(1800)),
    pytest.param(MANY, id="many", marks=[pytest.mark.slow, pytest.mark.timeout(7200)]),
]


@pytest.mark.parametrize("examples", ALL)
def test_manifests(fake: FakeServer, tmp_path: Path, examples: int) -> None:
    @settled(2 * examples)
    @given(NASTY_MANIFEST, NASTY_CSV, NASTY_WORKFLOW)
    def check(manifest: bytes, rows: bytes, workflow: bytes) -> None:
        plan(tmp_path, fake, manifest, rows, workflow)

    check()


@pytest.mark.parametrize("examples", ALL)
def test_workflows(fake: FakeServer, tmp_path: Path, examples: int) -> None:
    @settled(2 * examples)
    @given(NASTY_WORKFLOW)
    def check(workflow: bytes) -> None:
        convert(tmp_path, fake, workflow)
        submit(tmp_path, fake, "workflow.json", [])

    check()


@pytest.mark.parametrize("examples", ALL)
def test_settings(fake: FakeServer, tmp_path: Path, examples: int) -> None:
    @settled(2 * examples)
    @given(st.sampled_from(["sprite", "inpaint", "batch"]), st.lists(SETTING, max_size=3))
    def check(workflow: str, given: list[str]) -> None:
        submit(tmp_path, fake, workflow, given)

    check()
