"""Manifests: what they expand to, and every mistake with its line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.batch.execution.manifest_files import ManifestFile, load
from orchestrator.batch.logic.jobs import Gate
from orchestrator.batch.logic.manifest.expansion import Draft
from orchestrator.batch.logic.manifest.templates import TemplateError, fill, name_problem, slug
from orchestrator.batch.logic.manifest.yaml_lines import (
    Lines,
    YamlError,
    as_text,
    meaning,
    read_yaml,
)
from orchestrator.errors import ManifestError

SMALLEST = """\
name: potions
workflow: sprite            # a name under workflows/, or a path
defaults: {steps: 20}
items:
  - id: potion
    prompt: "a {colour} potion"
    vars: {colour: [red, blue]}
    seeds: {base: 100, count: 3}
"""
HEAD = "name: x\nworkflow: sprite\n"


def manifest(folder: Path, text: str) -> ManifestFile:
    path = folder / "batch.yaml"
    path.write_text(text, encoding="utf-8")
    return load(path)


def drafts(folder: Path, text: str) -> list[Draft]:
    file = manifest(folder, text)
    problems = file.problems()
    found = list(file.drafts(problems))
    problems.check()
    return found


def names(folder: Path, text: str) -> list[str]:
    return [draft.name for draft in drafts(folder, text)]


def mistakes(folder: Path, text: str) -> list[tuple[int | None, str, str]]:
    """(line, field, message) of everything that is wrong."""
    with pytest.raises(ManifestError) as caught:
        drafts(folder, text)
    return [(one.line, one.field, one.message) for one in caught.value.problems]


# --------------------------------------------------------------------------- expansion


def test_the_smallest_manifest(tmp_path: Path) -> None:
    found = drafts(tmp_path, SMALLEST)
    assert [draft.name for draft in found] == [
        f"potion-{colour}-{seed}" for colour in ("red", "blue") for seed in (100, 101, 102)
    ]
    assert found[0].parameters == {"steps": 20, "prompt": "a red potion"}
    assert (found[0].seed, found[0].item_id) == (100, "potion")


def test_product_and_zip(tmp_path: Path) -> None:
    items = "items:\n  - {id: a, vars: {x: [1, 2], y: [p, q]}, expand: %s}\n"
    assert names(tmp_path, HEAD + items % "product") == ["a-1-p", "a-1-q", "a-2-p", "a-2-q"]
    assert names(tmp_path, HEAD + items % "zip") == ["a-1-p", "a-2-q"]


def test_an_item_says_otherwise_than_the_manifest(tmp_path: Path) -> None:
    text = HEAD + (
        "defaults: {steps: 20, prompt: 'a {thing}', negative: blur}\n"
        "style: {prefix: 'pixel art of ', suffix: ', {mood}'}\n"
        "vars: {thing: sword, mood: calm}\nseeds: [7]\npriority: 1\noutput: '{id}/{thing}_{seed}'\n"
        "gates: {opaque: {min: 0.1}, blank: }\nrerolls: 2\n"
        "items:\n"
        "  - id: one\n"
        "  - {id: two, vars: {thing: axe}, set: {steps: 30, 6.cfg: 4.5}, seeds: {from: 1, to: 5,"
        " step: 2}, priority: 5, gates: {opaque: false}, rerolls: 0, negative: null}\n"
    )
    one, *two = drafts(tmp_path, text)
    assert one.parameters == {
        "steps": 20,
        "prompt": "pixel art of a sword, calm",
        "negative": "blur",
    }
    assert (one.name, one.priority, one.rerolls) == ("one/sword_7", 1, 2)
    assert one.gates == (
        Gate(name="blank", maximum=0.995),
        Gate(name="opaque", minimum=0.1),
    )
    assert [draft.seed for draft in two] == [1, 3, 5]
    assert two[0].parameters["steps"] == 30
    assert two[0].parameters["6.cfg"] == 4.5
    assert two[0].name == "two/axe_1"
    assert (two[0].priority, two[0].rerolls) == (5, 0)
    assert two[0].gates == (Gate(name="blank", maximum=0.995),)


def test_seeds_of_one_combination_share_their_parameters(tmp_path: Path) -> None:
    first, second, *_ = drafts(tmp_path, SMALLEST)
    assert first.parameters is second.parameters


def test_without_seeds_there_is_one_picture_with_the_workflows_own(tmp_path: Path) -> None:
    (draft,) = drafts(tmp_path, HEAD + "items: [{id: a, prompt: x}]\n")
    assert (draft.name, draft.seed) == ("a", None)


def test_pictures_by_glob_and_the_mask_that_belongs_to_each(tmp_path: Path) -> None:
    for name in ("in/b.png", "in/a.png", "masks/a_m.png", "masks/b_m.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    text = "items:\n  - {id: fix, images: {image: in/*.png, mask: 'masks/{image}_m.png'}}\n"
    found = drafts(tmp_path, "name: x\nworkflow: inpaint\n" + text)
    assert [draft.name for draft in found] == ["fix-a", "fix-b"]
    assert [Path(draft.parameters["mask"]).name for draft in found] == ["a_m.png", "b_m.png"]
    assert Path(found[0].parameters["image"]) == (tmp_path / "in/a.png").resolve()


def test_items_from_csv(tmp_path: Path) -> None:
    (tmp_path / "items.csv").write_text(
        'id,creature,seeds,set.steps,priority\r\nimp,"imp, red","1 2",12,\r\nelf,elf,3,,4\r\n',
        encoding="utf-8-sig",
    )
    text = HEAD + "defaults: {prompt: 'a {creature}', steps: 20}\nitems_from: items.csv\n"
    found = drafts(tmp_path, text)
    assert [(draft.name, draft.parameters["prompt"]) for draft in found] == [
        ("imp-1", "a imp, red"),
        ("imp-2", "a imp, red"),
        ("elf-3", "a elf"),
    ]
    assert [draft.parameters["steps"] for draft in found] == ["12", "12", 20]
    assert found[2].priority == 4


def test_items_from_jsonl_come_after_those_of_the_manifest(tmp_path: Path) -> None:
    rows = [{"id": "b", "vars": {"x": [1, 2]}}, {"id": "c", "seeds": [5]}]
    text = "\n\n".join(map(json.dumps, rows))
    (tmp_path / "more.jsonl").write_text(text, encoding="utf-8")
    found = names(tmp_path, HEAD + "items: [{id: a}]\nitems_from: more.jsonl\n")
    assert found == ["a", "b-1", "b-2", "c-5"]


@given(
    counts=st.lists(st.integers(1, 4), min_size=1, max_size=3),
    seeds=st.integers(1, 5),
    base=st.integers(0, 2**64 - 6),
)
def test_a_product_has_every_combination_once(
    counts: list[int], seeds: int, base: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("product")
    variables = {f"v{n}": list(range(count)) for n, count in enumerate(counts)}
    item = {"id": "i", "vars": variables, "seeds": {"base": base, "count": seeds}}
    found = names(folder, HEAD + f"items: [{json.dumps(item)}]\n")
    total = seeds
    for count in counts:
        total *= count
    assert len(set(found)) == len(found) == total


# --------------------------------------------------------------------------- mistakes

MANY = """\
name: ""
workflow: sprit
defaults: {steps: [20]}
stlye: {prefix: x}
gates: {opake: {min: 1}, opaque: {min: 2, max: 1}}
items:
  - id: potion
    prompt: "a {colour} potion"
    vars: {colour: [], 1x: 3}
    seeds: {base: 100, cuont: 3}
  - prompt: x
    seeds: [1, -2, x]
  - id: 5
    seeds: {from: 5, to: 3}
    priority: high
    expand: zap
"""


def test_all_mistakes_in_fields_come_at_once_with_their_lines(tmp_path: Path) -> None:
    found = mistakes(tmp_path, MANY)
    assert [(line, field) for line, field, _ in found] == [
        (1, "name"),
        (2, "workflow"),
        (3, "defaults.steps"),
        (4, "stlye"),
        (5, "gates.opake"),
        (5, "gates.opaque"),
        (9, "items[0].vars.colour"),
        (9, "items[0].vars.1x"),
        (10, "items[0].seeds.count"),
        (10, "items[0].seeds.cuont"),
        (11, "items[1].id"),
        (12, "items[1].seeds[1]"),
        (12, "items[1].seeds[2]"),
        (14, "items[2].seeds"),
        (15, "items[2].priority"),
        (16, "items[2].expand"),
    ]
    messages = " ".join(message for _, _, message in found)
    for part in ("did you mean 'sprite'", "did you mean 'style'", "did you mean 'opaque'"):
        assert part in messages


def test_mistakes_between_fields_come_with_those_in_fields(tmp_path: Path) -> None:
    text = (
        "name: x\nworkflow: sprite\nbatch_size: 0\ndefaults: {stpes: 3, seed: 4}\nitems:\n"
        "  - {id: a, prompt: 'a {color}', vars: {colour: [red]}, rerolls: -1}\n"
        "  - {id: a}\n"
        "  - {id: b, prompt: y, set: {prompt: x}}\n"
        "  - {id: c, vars: {x: [1, 2], y: [1, 2, 3]}, expand: zip}\n"
        "  - {id: d, images: {image: 'none/*.png'}}\n"
        "  - {id: e, vars: {id: 3}, output: '{seed}'}\n"
    )
    found = [(line, field) for line, field, _ in mistakes(tmp_path, text)]
    assert found == [
        (3, "batch_size"),
        (4, "defaults.stpes"),
        (4, "defaults.seed"),
        (6, "items[0].rerolls"),
        (6, "items[0].prompt"),
        (7, "items[1].id"),
        (8, "items[2].set.prompt"),
        (9, "items[3].vars.y"),
        (10, "items[4].images.image"),
        (11, "items[5].vars.id"),
        (11, "items[5].output"),
    ]


def test_a_template_names_what_there_is(tmp_path: Path) -> None:
    text = HEAD + "items:\n  - {id: a, prompt: 'a {color}', vars: {colour: red, size: 3}}\n"
    ((line, field, message),) = mistakes(tmp_path, text)
    assert (line, field) == (4, "items[0].prompt")
    assert "no variable 'color', did you mean 'colour'" in message
    assert "(there is: id, colour, size)" in message


def test_csv_mistakes_have_the_csvs_lines(tmp_path: Path) -> None:
    (tmp_path / "items.csv").write_text(
        'id,prompt,seeds\na,"two\nlines",1\n,x,2\nb,"{y}",z\nc,x,3,4\n', encoding="utf-8"
    )
    with pytest.raises(ManifestError) as caught:
        drafts(tmp_path, HEAD + "items_from: items.csv\n")
    problems = caught.value.problems
    assert [(one.line, one.field) for one in problems] == [
        (4, "id"),
        (5, "seeds[0]"),
        (5, "prompt"),
        (6, ""),
    ]
    assert {Path(one.file).name for one in problems} == {"items.csv"}


def test_jsonl_mistakes_have_their_lines(tmp_path: Path) -> None:
    (tmp_path / "i.jsonl").write_text('{"id": "a"}\n{"id": \n[1]\n{"id":"b","promt":"x"}\n')
    found = mistakes(tmp_path, HEAD + "items_from: i.jsonl\n")
    assert [(line, field) for line, field, _ in found] == [(2, ""), (3, ""), (4, "promt")]


@pytest.mark.parametrize(
    ("text", "line", "part"),
    [
        ("name: x\nname: y\n", 2, "second time"),
        ("name: [x\n", 2, "not YAML"),
        ("name: !!python/object x\n", 1, "tags"),
        ("name: x\n---\nname: y\n", 2, "second document"),
        ("name: *nobody\n", 1, "anchor"),
        ("name: x\n\tworkflow: y\n", 2, "not YAML"),
        ("? [a]\n: b\n", 1, "plain text"),
        ("name: \x07\n", 1, "not YAML"),
    ],
)
def test_yaml_mistakes_have_their_line(tmp_path: Path, text: str, line: int, part: str) -> None:
    ((found, _, message),) = mistakes(tmp_path, text)
    assert found == line
    assert part in message


@pytest.mark.parametrize("text", ["", "- a\n", "5\n"])
def test_what_is_no_mapping(tmp_path: Path, text: str) -> None:
    ((_, _, message),) = mistakes(tmp_path, text)
    assert "is a mapping" in message


def test_a_manifest_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"none\.yaml cannot be read: No such file"):
        load(tmp_path / "none.yaml")


def test_names_that_differ_only_in_case_are_one_file_on_some_systems(tmp_path: Path) -> None:
    text = HEAD + "items: [{id: a, vars: {x: [Red, red]}}]\n"
    ((_, field, message),) = mistakes(tmp_path, text)
    assert field == "items[0].id"
    assert "a-red is used twice" in message


def test_two_spellings_of_a_letter_are_one_file_on_some_systems(tmp_path: Path) -> None:
    # the sign of the unit angstrom, and the letter
    text = HEAD + "items: [{id: a, output: \u212b}, {id: b, output: \u00c5}]\n"
    ((_, _, message),) = mistakes(tmp_path, text)
    assert "is used twice" in message


@pytest.mark.parametrize(
    "name",
    [
        "con",
        "a/NUL.x",
        "contact",
        "a//b",
        "../a",
        "a.",
        "x" * 201,
        "a.PNG/b",
        "x/a.webp/b",
        "batch.sqlite-wal/a",
        "Batch.log/a",
    ],
)
def test_names_that_some_system_cannot_keep(name: str) -> None:
    assert name_problem(name)


@pytest.mark.parametrize(
    "name", ["potion-red-100", "Ärger/剣_1", "a.b", "contact-1", "console", "a.png", "batch/a"]
)
def test_names_that_every_system_can_keep(name: str) -> None:
    assert name_problem(name) is None


# --------------------------------------------------------------------------- texts and YAML


@given(st.text(max_size=40))
def test_slugs_are_safe_or_empty(text: str) -> None:
    made = slug(text)
    assert not set(made) & set('<>:"/\\|?* \0\n')
    assert slug(made) == made


@given(st.text(max_size=30), st.text(max_size=10))
def test_doubled_braces_come_out_single(text: str, value: str) -> None:
    doubled = text.replace("{", "{{").replace("}", "}}")
    assert fill(doubled + "{x}", {"x": value}) == text + value


@pytest.mark.parametrize("text", ["{", "a}", "{a b}", "{}", "{1}", "{a.b}", "{a!r}"])
def test_wrong_braces(text: str) -> None:
    with pytest.raises(TemplateError):
        fill(text, {"a": 1})


def test_booleans_read_as_in_yaml() -> None:
    assert fill("{a} {b}", {"a": True, "b": 1.5}) == "true 1.5"


json_values: Any = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"])),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text("abc<", min_size=1, max_size=3), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(json_values)
def test_json_is_yaml_of_the_same_value(value: Any) -> None:
    if '"<<"' not in json.dumps(value):
        assert read_yaml(json.dumps([value], ensure_ascii=False)) == [value]


def test_words_that_yaml_1_1_changes_stay_texts_and_ids_keep_their_zeros() -> None:
    read = read_yaml("a: [no, on, 1:30, 2024-01-01, 007, 0x10, 1e3, .5, ~, True]")["a"]
    assert list(map(meaning, read)) == [
        "no", "on", "1:30", "2024-01-01", "007", 16, 1000.0, 0.5, None, True,
    ]  # fmt: skip


SPELLED = ["3e8", "1.20", "0x2A", "2_000", "on", "off", "NULL", "~", "2031-02-03", "23:59", "True"]


def test_what_is_put_into_texts_and_names_keeps_its_spelling(tmp_path: Path) -> None:
    listed = ", ".join(SPELLED)
    text = HEAD + f"vars: {{v: [{listed}]}}\nitems: [{{id: 1.20, prompt: 'x {{v}}', seeds: [1]}}]\n"
    made = drafts(tmp_path, text.replace("'x {v}'", "'x {v}', output: 'n/{id}/v{v}'"))
    assert [one.parameters["prompt"] for one in made] == [f"x {one}" for one in SPELLED]
    shown = ["" if one == "~" else one.replace(":", "-") for one in SPELLED]
    assert [one.name for one in made] == [f"n/1.20/v{one}" for one in shown]


@pytest.mark.parametrize("word", ["3e8", "1.20", "0x2A", "on", "True", "5", "7e999", "2031-02-03"])
def test_a_text_takes_what_was_written(tmp_path: Path, word: str) -> None:
    for field in (f"prompt: {word}", f"set: {{prompt: {word}}}"):
        text = f"name: {word}\nworkflow: sprite\nitems: [{{id: {word}, {field}}}]\n"
        (one,) = drafts(tmp_path, text)
        assert as_text(one.parameters["prompt"]) == word
        assert one.name == word


def test_null_leaves_out_what_may_be_left_out(tmp_path: Path) -> None:
    text = HEAD + "items: [{id: null, prompt: null, negative: ~, seeds: null, expand: ~}]\n"
    (one,) = drafts(tmp_path, text)
    assert one.name == "null"
    assert one.parameters == {}


def test_null_of_json_is_no_text(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="this is nothing"):
        drafts(tmp_path, '{"name": "a", "workflow": "sprite", "vars": {"v": [null]}, "items": []}')


def test_anchors_and_merges() -> None:
    text = "a: &x {b: 1, c: 2}\nd: {<<: *x, c: 3}\ne: *x\n"
    assert read_yaml(text) == {
        "a": {"b": 1, "c": 2},
        "d": {"b": 1, "c": 3},
        "e": {"b": 1, "c": 2},
    }
    with pytest.raises(YamlError, match="none"):
        read_yaml("a: {<<: 5}")


def test_lines_of_every_field() -> None:
    lines: Lines = {}
    read_yaml("a: 1\nb:\n  - c: 2\n\n  - [3,\n     4]\n", lines)
    assert lines == {
        ("a",): 1,
        ("b",): 2,
        ("b", 0): 3,
        ("b", 0, "c"): 3,
        ("b", 1): 5,
        ("b", 1, 0): 5,
        ("b", 1, 1): 6,
    }


def test_deep_nesting_is_refused_and_does_not_end_the_process() -> None:
    with pytest.raises(YamlError, match="deep"):
        read_yaml("[" * 40 + "]" * 40)
    # from some depth on PyYAML may refuse it first, in its own words
    with pytest.raises(YamlError) as caught:
        read_yaml("a: 1\nb: " + "[" * 5000 + "]" * 5000)
    assert caught.value.line == 2


def test_a_slip_that_would_make_millions_of_jobs(tmp_path: Path) -> None:
    text = HEAD + "seeds: {base: 0, count: 30}\nitems: [{id: a}, {id: b}, {id: c}]\n"
    manifest(tmp_path, text)
    file = load(tmp_path / "batch.yaml", most=50)
    problems = file.problems()
    assert not list(file.drafts(problems))
    with pytest.raises(ManifestError, match=r"items\[1\]: .* makes 60 jobs, .* at most 50"):
        problems.check()


@pytest.mark.parametrize("mistake", ["", "style: {prompts: x}\n"])
def test_one_item_that_would_never_end(tmp_path: Path, mistake: str) -> None:
    # with a mistake elsewhere all items are expanded, too, to find what else is wrong
    text = HEAD + mistake + "items: [{id: a, seeds: {base: 0, count: 1000000000000}}]\n"
    (tmp_path / "batch.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ManifestError, match=r"items\[0\]: .* at most 50"):
        load(tmp_path / "batch.yaml", most=50).check()


TEN = "[" + ", ".join(map(str, range(10))) + "]"
FAR = 2**63


@pytest.mark.parametrize(
    "item",
    [
        "seeds: {base: 0, count: 10000000000}",
        f"seeds: {{from: 0, to: {2 * FAR - 1}}}",
        f"seeds: {{base: 0, count: {2 * FAR}}}",
        "seeds: [1], vars: {" + ", ".join(f"v{n}: {TEN}" for n in range(40)) + "}",
    ],
)
def test_what_is_far_too_much_is_refused_before_any_is_made(tmp_path: Path, item: str) -> None:
    with pytest.raises(ManifestError, match="at most 5,000,000"):
        manifest(tmp_path, HEAD + f"items: [{{id: a, {item}}}]\n").check()


def test_lists_that_are_zipped_count_once(tmp_path: Path) -> None:
    values = ", ".join(map(str, range(3000)))
    text = HEAD + f"expand: zip\nvars: {{a: [{values}], b: [{values}]}}\nitems: [{{id: x}}]\n"
    assert manifest(tmp_path, text).check() == 3000


# --------------------------------------------------------------------------- gates


@pytest.mark.parametrize(
    ("gates", "expected"),
    [
        ("[graph, blank]", [("blank", None, 0.995), ("graph", 1.0, None)]),
        ("{width: 64}", [("width", 64.0, 64.0)]),
        ("{width: {min: 64}}", [("width", 64.0, None)]),
        ("{width: false}", []),
    ],
)
def test_gates_in_short(tmp_path: Path, gates: str, expected: list[Any]) -> None:
    (draft,) = drafts(tmp_path, HEAD + f"gates: {gates}\nitems: [{{id: a}}]\n")
    assert [(one.name, one.minimum, one.maximum) for one in draft.gates] == expected


@pytest.mark.parametrize("gates", ["[width]", "{height: }", "{height: true}"])
def test_a_gate_that_would_let_everything_pass_is_a_mistake(tmp_path: Path, gates: str) -> None:
    ((_, field, message),) = mistakes(tmp_path, HEAD + f"gates: {gates}\nitems: [{{id: a}}]\n")
    assert field == "gates"
    assert "has no bounds of its own; give a number, or min and max" in message
