"""Words that a small model does not know are told, on every way by which a prompt comes."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from comfy_nodes import folders
from comfy_nodes.errors import ModelUnreadable
from comfy_nodes.folders import MODEL_FILES
from comfy_nodes.vocabulary import Vocabulary, read_vocabulary, vocabulary_of, warning
from orchestrator.batch.logic.manifest.expansion import Draft
from orchestrator.batch.logic.planning import Planner
from orchestrator.errors import BadValue
from orchestrator.models.cli import app
from orchestrator.runs.workflows import load_workflow
from orchestrator.service.prompting import Prompt, Workflows
from orchestrator.workflow.catalogue import Catalogue
from orchestrator.workflow.vocabulary import unknown_words

STARTER = "spriteworks-starter"
OTHER = "cyclist"
"""A model that knows a word more than the starter model does."""
PROMPTS = Path("scripts/starter_model/tables/prompts.yaml")


@pytest.fixture
def starter() -> Vocabulary:
    found = vocabulary_of(MODEL_FILES / STARTER)
    assert found is not None
    return found


@pytest.fixture
def telling(info: Catalogue) -> Catalogue:
    """A server whose loader tells the words of the starter model, and of one that knows more."""
    raw = copy.deepcopy(dict(info.raw))
    told = raw["SpriteworksDiffusersLoader"]["input"]["required"]["model_name"]
    told[1]["options"] = [STARTER, OTHER, "large"]
    words = json.loads((MODEL_FILES / STARTER / "words.json").read_text())
    more = words | {"knows": [*words["knows"], "bicycle"]}
    told[1]["words"] = {STARTER: words, OTHER: more}
    return Catalogue(raw)


def test_unknown_words_are_named_with_the_nearest(starter: Vocabulary) -> None:
    (sord, zebra) = starter.unknown("a red SORD, and a zebra! 32x32 (blue:1.3)")
    assert (sord.word, sord.nearest[0]) == ("sord", "sword")
    assert zebra.word == "zebra"
    assert zebra.nearest, "the nearest is named, however far it is"
    said = warning(STARTER, [sord, zebra])
    assert "'sord' (nearest: sword" in said
    assert "zebra" in said


@pytest.mark.parametrize(
    "text", ["a dragon's potion", "two swords", "Pixel art of the BERRY berries", "ruby elixirs"]
)
def test_plurals_and_filler_are_known(text: str) -> None:
    words = Vocabulary(
        ("dragon", "potion", "sword", "berry", "ruby", "elixir"),
        frozenset(["pixel", "art", "of", "the", "two"]),
    )
    assert words.unknown(text) == []


def test_embeddings_numbers_and_letters_are_no_words() -> None:
    assert Vocabulary(("sword",)).unknown("sword embedding:style.pt 16 x (sword:1.2) é") == []


def test_people_s_prompts_outside_are_warned_and_those_inside_are_not(
    repository: Path, starter: Vocabulary
) -> None:
    sets = yaml.safe_load((repository / PROMPTS).read_text(encoding="utf-8"))
    outside = [(text, words) for part in sets.values() for text, words in part["outside"]]
    said = [{one.word for one in starter.unknown(text)} for text, _ in outside]
    asked = [word for _, words in outside for word in words]
    told = [
        word for (_, words), found in zip(outside, said, strict=True) for word in found & {*words}
    ]
    assert len(told) >= 0.95 * len(asked)


def test_people_s_prompts_inside_are_known(repository: Path, starter: Vocabulary) -> None:
    sets = yaml.safe_load((repository / PROMPTS).read_text(encoding="utf-8"))
    texts = [text for part in sets.values() for text, _, _ in part["known"]]
    wrong = [one.word for text in texts for one in starter.unknown(text)]
    assert len(wrong) <= 0.02 * len(" ".join(texts).split()), wrong


def test_a_model_without_a_list_knows_every_word(tmp_path: Path) -> None:
    assert vocabulary_of(tmp_path) is None


@pytest.mark.parametrize("content", ["{", "[]", '{"knows": "sword"}', '{"knows": [1]}', "{}"])
def test_a_damaged_list_is_told_and_hides_no_model(
    tmp_path: Path, content: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "words.json").write_text(content, encoding="utf-8")
    with pytest.raises(ModelUnreadable, match=r"words\.json"):
        vocabulary_of(tmp_path)
    (tmp_path / "model_index.json").write_text("{}", encoding="utf-8")
    monkeypatch.setattr(folders, "_diffusers_folders", lambda: {"damaged": tmp_path})
    assert folders.diffusers_words() == {}


def test_what_a_server_tells_is_read_back(starter: Vocabulary) -> None:
    again = read_vocabulary(json.loads(json.dumps(starter.to_json())))
    assert again is not None
    assert again.unknown("a zebra") == starter.unknown("a zebra")


@pytest.mark.parametrize("name", ["sprite", "batch", "icons", "pixel_art"])
def test_the_note_of_a_workflow_names_the_word(name: str, telling: Catalogue) -> None:
    notes = load_workflow(Path(name), [("prompt", "a zebra")], telling).notes
    assert [note for note in notes if "zebra" in note and STARTER in note]
    assert load_workflow(Path(name), [("prompt", "a red sword")], telling).notes == ()


def test_another_model_that_knows_all_the_words_is_named(telling: Catalogue) -> None:
    def notes(*settings: tuple[str, str]) -> tuple[str, ...]:
        return tuple(load_workflow(Path("sprite"), list(settings), telling).notes)

    (said,) = notes(("prompt", "a bicycle"))
    assert f"the model {OTHER} knows it" in said
    (said,) = notes(("prompt", "a zebra on a bicycle"))
    assert OTHER not in said, "it does not know the zebra"
    assert notes(("prompt", "a bicycle"), ("model", OTHER)) == ()
    (said,) = notes(("prompt", "a zebra"), ("model", OTHER))
    assert STARTER not in said
    assert f"'spriteworks models words --model {OTHER}'" in said


def test_a_larger_model_and_an_older_server_are_told_nothing(
    info: Catalogue, telling: Catalogue
) -> None:
    graph = load_workflow(
        Path("sprite"), [("model", "large"), ("prompt", "a zebra")], telling
    ).graph
    assert unknown_words(graph, telling) == []
    assert load_workflow(Path("sprite"), [("prompt", "a zebra")], info).notes == ()


def test_the_negative_text_is_not_judged(telling: Catalogue) -> None:
    assert load_workflow(Path("sprite"), [("negative", "zebra")], telling).notes == ()


def test_a_request_of_the_service_is_warned(telling: Catalogue) -> None:
    made = Workflows().fill(Prompt(settings=[("prompt", "a zebra")]), telling)
    assert [one for one in made.warnings if "zebra" in one]


def test_a_batch_is_warned_once_for_all_its_prompts(telling: Catalogue) -> None:
    graph = load_workflow(Path("sprite"), [], telling).graph
    planner = Planner(graph, telling, lambda value: None)
    drafts = [
        Draft(
            name=f"item{number}",
            item_id=f"item{number}",
            parameters={"prompt": text},
            seed=number,
            priority=0,
            gates=(),
            rerolls=0,
            place=("items", number),
            places={},
        )
        for number, text in enumerate(["a zebra", "a red sword", "a zeppelin"])
    ]
    problems: list[Any] = []
    assert len(list(planner.jobs(drafts, lambda *one: problems.append(one)))) == 3
    (said,) = planner.notes()
    assert OTHER not in said
    assert "zebra" in said
    assert "zeppelin" in said
    assert not problems


def test_words_are_listed_by_their_beginning() -> None:
    run = CliRunner().invoke
    assert run(app, ["words", "shorts"]).stdout.split() == ["shortsword"]
    told = json.loads(run(app, ["words", "--json", "Axe"]).stdout)
    assert told == {"model": STARTER, "words": ["axe", "axes"]}


@pytest.mark.parametrize(
    ("words", "says"),
    [(["zzz"], "knows no word that begins with 'zzz'"), (["--model", "nope"], "there is no model")],
)
def test_a_wrong_question_is_one_sentence(words: list[str], says: str) -> None:
    found = CliRunner().invoke(app, ["words", *words])
    assert isinstance(found.exception, BadValue)
    assert says in str(found.exception)
