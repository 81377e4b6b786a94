"""A record with wrong bytes works, or is told with the way to rebuild it; it is never a fault."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.batch import production as batch
from orchestrator.batch.execution.opening import record_of
from orchestrator.batch.execution.store import soundness
from orchestrator.batch.execution.store.facts import MANIFEST
from orchestrator.batch.execution.store.store import Store
from orchestrator.batch.logic.jobs import Artifact, Attempt, Gate, Job, Outcome, Shot, State, Timing
from orchestrator.batch.logic.manifest.manifest import Manifest
from orchestrator.batch.reporting.report import contact, page
from orchestrator.errors import RecordLost, StoreError

# 4 a second; more were tried by hand.
EXAMPLES = 40
COMMANDS: dict[str, Callable[[Path], Any]] = {
    "status": batch.status,
    "report": page.write,
    "contact": contact.write,
    "retry": batch.retry,
    "cancel": batch.cancel,
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A record with something in every table."""
    folder = tmp_path_factory.mktemp("whole")
    manifest = Manifest.model_validate({"name": "n", "workflow": "w", "items": []})
    jobs = [
        Job(
            key=f"{number:064x}",
            name=f"picture-{number}",
            item_id=f"item-{number}",
            parameters={"prompt": "a potion " * 20, "1.color": number},
            seed=2**63 + number,
            gates=(Gate(name="width", minimum=1.0, maximum=64.0),),
        )
        for number in range(40)
    ]
    with Store.open(folder) as store:
        store.plan(jobs)
        store.set_fact(MANIFEST, manifest.model_dump_json(by_alias=True))
        store.set_fact("workflow", str(folder / "w.json"))
        for number, job in enumerate(jobs[:30]):
            shot = Shot(key=job.key, seed=job.seed)
            attempt = store.claim(Attempt(prompt_id=f"p{number}", server="s", shots=(shot,)))
            store.close_attempt(attempt, Outcome.DONE, seconds=1.5)
            store.record_timings(attempt, [Timing(span="run", seconds=1.0)])
            store.settle([job.key], State.DONE if number % 5 else State.FAILED, "no reason")
            store.record_artifact(
                Artifact(
                    key=job.key,
                    path=f"{job.name}.png",
                    sha256="ab" * 32,
                    pixels_sha256="",
                    bytes=100,
                    mtime_ns=1,
                    width=8,
                    height=8,
                    seed=job.seed,
                    attempt_id=attempt,
                    measured={"width": 8.0},
                )
            )
        store.log("a line of the log", warning=True)
    return folder


def test_a_whole_record_has_no_fault(whole: Path) -> None:
    assert soundness.fault_in(whole) == ""
    for command in COMMANDS.values():
        command(whole)


def tried(folder: Path) -> None:
    """Let every command have a go; what it raises has to be the sentence with the offer."""
    for command in COMMANDS.values():
        said = ""
        try:
            command(folder)
        except RecordLost as error:
            said = str(error)
        assert not said or f"`spriteworks batch recover {folder}`" in said
        assert "\n" not in said


@st.composite
def harm(draw: st.DrawFn) -> Callable[[bytearray], None]:
    """Bits flipped, stretches replaced, the end cut off."""
    places = st.floats(min_value=0, max_value=1, exclude_max=True)
    kind = draw(st.sampled_from(["bits", "stretch", "cut", "header"]))
    where = draw(st.lists(places, min_size=1, max_size=20))
    values = draw(st.binary(min_size=1, max_size=64))

    def bits(content: bytearray) -> None:
        for number, place in enumerate(where):
            content[int(place * len(content))] ^= values[number % len(values)] or 1

    def header(content: bytearray) -> None:
        for number, place in enumerate(where):
            content[int(place * 200)] ^= values[number % len(values)] or 1

    def stretch(content: bytearray) -> None:
        at = int(where[0] * len(content))
        content[at : at + len(values)] = values[: len(content) - at]

    def cut(content: bytearray) -> None:
        del content[int(where[0] * len(content)) :]

    return {"bits": bits, "stretch": stretch, "cut": cut, "header": header}[kind]


@pytest.fixture
def copied(whole: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "copy"
    shutil.copytree(whole, folder)
    return folder


@settings(max_examples=EXAMPLES, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(change=harm())
def test_wrong_bytes_anywhere(whole: Path, copied: Path, change: Callable[[Any], None]) -> None:
    for path in copied.iterdir():
        path.unlink()
    content = bytearray((whole / "batch.sqlite").read_bytes())
    change(content)
    (copied / "batch.sqlite").write_bytes(content)
    tried(copied)


@pytest.mark.parametrize(
    ("table", "column", "value"),
    [
        ("jobs", "state", "dune"),
        ("jobs", "parameters", "{"),
        ("jobs", "parameters", "[]"),
        ("jobs", "gates", "7"),
        ("jobs", "seed", "x"),
        ("jobs", "rank", "x"),
        ("attempts", "outcome", "x"),
        ("attempts", "degraded", "{"),
        ("attempts", "started_at", "x"),
        ("artifacts", "measured", "{"),
        ("artifacts", "bytes", "x"),
        ("artifacts", "sha256", b"\xff"),
        ("timings", "seconds", "x"),
        ("events", "text", b"x"),
    ],
)
def test_values_that_make_no_sense(copied: Path, table: str, column: str, value: Any) -> None:
    connection = sqlite3.connect(copied / "batch.sqlite")
    connection.execute(f"UPDATE {table} SET {column} = ?", [value])
    connection.commit()
    connection.close()
    assert "damaged" in soundness.fault_in(copied)
    tried(copied)


@pytest.mark.parametrize(
    ("name", "value"), [("manifest", "{"), ("manifest", "{}"), ("retried_after", "x")]
)
def test_facts_that_make_no_sense(copied: Path, name: str, value: str) -> None:
    connection = sqlite3.connect(copied / "batch.sqlite")
    connection.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", [name, value])
    connection.commit()
    connection.close()
    assert "damaged" in soundness.fault_in(copied)
    tried(copied)


def test_a_fault_that_is_not_the_records_stays_what_it_is(whole: Path) -> None:
    with pytest.raises(ZeroDivisionError), record_of(whole):
        raise ZeroDivisionError
    with pytest.raises(StoreError) as told, record_of(whole) as store:
        store.entry("none")
    assert not isinstance(told.value, RecordLost)
