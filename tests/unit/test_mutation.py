"""scripts/mutate: what it draws, how a mutant is judged, what it tells."""

from __future__ import annotations

import sys
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest
import yaml

REPOSITORY = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(REPOSITORY))

from scripts.mutation.covering import Covering  # noqa: E402
from scripts.mutation.mutants import Mutant  # noqa: E402
from scripts.mutation.results import (  # noqa: E402
    EQUIVALENTS,
    Equivalents,
    MutantFate,
    MutantRecord,
    MutantResult,
    MutationReport,
)
from scripts.mutation.targets import TARGETS, chosen  # noqa: E402

GATES = next(target for target in TARGETS if target.name == "gates")
MUTANT = Mutant(
    GATES, "orchestrator/batch/logic/gates.py", 3, "AddNot", 0, "if a:", "if not a:", ""
)


def drawing():
    why = "no cosmic-ray: .venv/bin/python -m pip install cosmic-ray"
    pytest.importorskip("cosmic_ray", reason=why)
    from scripts.mutation import drawing

    return drawing


def test_every_module_and_test_of_the_table_is_there():
    for target in TARGETS:
        assert list(target.module_paths()), target
        missing = [path for path in target.test_paths() if not (REPOSITORY / path).is_file()]
        assert not missing, target


def test_a_module_is_chosen_by_target_or_by_the_end_of_its_path():
    assert [path for _, path in chosen("gates")] == ["orchestrator/batch/logic/gates.py"]
    assert [path for _, path in chosen("store/statements.py")] == [
        "orchestrator/batch/execution/store/statements.py"
    ]
    with pytest.raises(LookupError, match="workflow, retry"):
        chosen("nothing")


def test_fewer_mutants_are_the_first_of_more_and_the_seed_draws_others():
    draw = drawing().draw
    few = [str(one) for one in islice(draw(chosen("gates"), 1), 5)]
    assert few == [str(one) for one in islice(draw(chosen("gates"), 1), 10)][:5]
    assert few != [str(one) for one in islice(draw(chosen("gates"), 2), 5)]


def test_a_mutant_is_other_python_and_names_its_line():
    source = (REPOSITORY / GATES.modules[0]).read_text(encoding="utf-8")
    for one in drawing().draw(chosen("gates"), 1):
        compile(one.code, one.path, "exec")
        assert one.code != source
        assert one.before != one.after
        line = " ".join(source.splitlines()[one.line - 1].split())
        assert one.before.startswith(line)


@pytest.mark.parametrize(
    ("before", "after", "same"),
    [
        ("def f(a: int | None) -> int: return a", "def f(a: int + None) -> str: return a", True),
        ("@dataclass(frozen=True)\nclass A: ...", "@dataclass(frozen=False)\nclass A: ...", True),
        ("def f(*, a=1): ...", "def f(a=1, /): ...", True),
        ("def f(*, a=1): ...", "def f(*, a=2): ...", False),
        ("a: int = 1", "a: int = 2", False),
        ("@dataclass(eq=True)\nclass A: ...", "@dataclass(eq=False)\nclass A: ...", False),
        ("if a: b()", "if not a: b()", False),
    ],
)
def test_what_the_type_checker_judges_is_no_change(before: str, after: str, same: bool):
    meaning = drawing()._meaning
    assert (meaning(before) == meaning(after)) is same


def test_a_line_is_tested_by_what_runs_it_the_quickest_first():
    seconds = {"a.py::slow": 2.0, "a.py::quick": 0.1, "b.py::other": 0.5}

    def tests(*contexts: str) -> list[str]:
        return Covering(seconds, {MUTANT.path: {"3": list(contexts)}}).tests(MUTANT)

    assert tests("a.py::slow|run", "b.py::other|run") == ["b.py::other", "a.py::slow"]
    # a fixture may serve the whole file
    assert tests("a.py::slow|setup") == ["a.py::quick", "a.py::slow"]
    assert tests("") == ["a.py::quick", "b.py::other", "a.py::slow"]
    assert tests() == []


def test_results_stay_where_a_call_ended_in_the_middle_of_a_line(tmp_path: Path):
    path = tmp_path / "results.jsonl"
    killed = MutantResult("one", "module", "tests", MutantFate.KILLED, "a test")
    survived = replace(killed, key="two", fate=MutantFate.SURVIVED, by="")
    MutantRecord(path).add(killed)
    with path.open("a", encoding="utf-8") as file:
        file.write('\n{"key": "half')
    MutantRecord(path).add(survived)
    record = MutantRecord(path)
    assert (record.get("one"), record.get("two")) == (killed, survived)
    assert record.get("half") is None


def test_equivalents_count_apart_and_survivors_are_named(tmp_path: Path):
    path = tmp_path / "equivalents.yaml"
    path.write_text(
        f"- file: {MUTANT.path}\n  operator: AddNot\n  before: 'if a:'\n  after: 'if not a:'\n"
        "  reason: a is never set\n",
        encoding="utf-8",
    )
    # the line has moved
    known = replace(MUTANT, line=7)
    other = replace(MUTANT, after="if 1:")
    fates = [
        (known, MutantFate.SURVIVED),
        (other, MutantFate.SURVIVED),
        (other, MutantFate.TIMED_OUT),
    ]
    fates += [(other, MutantFate.KILLED)]
    tried = [(mutant, MutantResult("", "", "", fate)) for mutant, fate in fates]
    report = MutationReport(4, tried, Equivalents(path))
    assert report.share == pytest.approx(2 / 3)
    assert report.survivors() == [(known, "a is never set"), (other, None)]
    assert "2 of 3 killed, 66.7%; 1 equivalent." in report.as_text()
    assert report.as_json()["modules"][MUTANT.path]["timed out"] == 1


def test_every_equivalent_is_a_change_of_a_line_that_is_there():
    entries = yaml.safe_load(EQUIVALENTS.read_text(encoding="utf-8"))
    assert entries
    for entry in entries:
        source = (REPOSITORY / entry["file"]).read_text(encoding="utf-8")
        assert entry["before"] in " ".join(source.split()), entry
        assert entry["after"] != entry["before"], entry
        assert entry["operator"], entry
        assert entry["reason"], entry
