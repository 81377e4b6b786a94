"""What ComfyUI's editor reads in each language: whole, of this day, and in that language."""

from __future__ import annotations

import json
import re
import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from comfy_nodes.formats.sheets import FORMATS
from comfy_nodes.formats.well_known import WELL_KNOWN

REPOSITORY = Path(__file__).resolve().parent.parent.parent
BUILD = runpy.run_path(str(REPOSITORY / "scripts" / "build_locales.py"))
LOCALES: Path = BUILD["LOCALES"]
LANGUAGES: tuple[str, ...] = BUILD["LANGUAGES"]
TRANSLATED: tuple[str, ...] = BUILD["TRANSLATED"]
PANEL_WORDS = REPOSITORY / "comfy_nodes" / "web" / "words.js"


def listed(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Names of things, which every language writes so.
NAMES = listed(
    """
    alpha aseprite checkpoint checkpoints clip controlnet cuda cudnn diffusers diffusion geforce hub
    intel jasc k-centroid latent lora nnpack oklab onednn pickle pickles png px pytorch spriteworks
    stable torch turbo unet vae winograd
    """
)
# What Swap Ramp calls ramps.
RAMPS = listed("grey red brown orange yellow green cyan blue purple pink")
# English words that Spanish writes the same, or that its artists say.
SPANISH_TOO = listed("art color general inpainting pixel prompt prompts sprite sprites")
# Words without which an English sentence hardly does, and that Spanish has not.
ENGLISH = listed(
    """
    an and are as at by each for from goes have how if in into is it its much not of on once one
    only or out own set so stays such than that the their them then there they this to too what
    when where which with
    """
)
WORD = re.compile(r"[.#%]?[A-Za-zÀ-ÿ][A-Za-zÀ-ÿ0-9._/%#'-]*")
# The editor reads texts as messages in which these have a meaning.
SYNTAX = set("{}@|")


@pytest.fixture(scope="module")
def infos() -> list[dict[str, Any]]:
    return BUILD["node_infos"]()


@pytest.fixture(scope="module")
def built(infos: list[dict[str, Any]]) -> tuple[dict[Path, str], list[str]]:
    return BUILD["written"](infos)


@pytest.fixture(scope="module")
def values(infos: list[dict[str, Any]]) -> set[str]:
    """What people choose or type on the nodes, which is the same in every language."""
    choices = {
        str(word)
        for info in infos
        for _, options in BUILD["inputs_of"](info)
        for word in options.get("options") or ()
    }
    return choices | set(FORMATS) | set(WELL_KNOWN) | RAMPS


def texts(tree: Any) -> Iterator[str]:
    """All texts in a locale file."""
    if isinstance(tree, str):
        yield tree
    else:
        for one in tree.values():
            yield from texts(one)


def leftover(language: str, text: str, english: str, values: set[str]) -> list[str]:
    """Words of a translated text that are still English."""
    words = [word.rstrip(".'-/") for word in WORD.findall(text)]
    words = [word for word in words if not stays(word, values)]
    if language != "es":
        return words
    # Spanish has the same letters: a text that did not change, or has words that only English has.
    same = text == english and any(word.lower() not in SPANISH_TOO for word in words)
    return words if same else [word for word in words if word.lower() in ENGLISH]


def stays(word: str, values: set[str]) -> bool:
    """Whether a word is the same in every language: a value, a name, a file, a number format."""
    return (
        word.lower() in NAMES | {value.lower() for value in values}
        or bool(re.search(r"[0-9._/%#]", word))
        or (word.isupper() and len(word) > 1)
        or len(word) < 2
    )


def test_the_files_are_what_the_nodes_and_the_translations_say(
    built: tuple[dict[Path, str], list[str]],
) -> None:
    files, faults = built
    assert faults == []
    stale = [
        path.relative_to(REPOSITORY).as_posix()
        for path, text in files.items()
        if not path.is_file() or path.read_text(encoding="utf-8") != text
    ]
    assert stale == [], "run python scripts/build_locales.py"


def test_no_file_is_there_for_nothing(built: tuple[dict[Path, str], list[str]]) -> None:
    files, _ = built
    there = {path for path in LOCALES.rglob("*") if path.is_file()}
    assert there == {path for path in files if LOCALES in path.parents}


@pytest.mark.parametrize("language", TRANSLATED)
@pytest.mark.parametrize("file", ["main", "nodeDefs"])
def test_every_language_has_the_keys_of_english(language: str, file: str) -> None:
    def shape(tree: Any) -> Any:
        return {key: shape(one) for key, one in tree.items()} if isinstance(tree, dict) else "text"

    assert shape(read(language, file)) == shape(read("en", file))


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("file", ["main", "nodeDefs"])
def test_no_text_is_empty_or_has_a_meaning_for_the_editor(language: str, file: str) -> None:
    for text in texts(read(language, file)):
        assert text.strip() == text != ""
        assert not SYNTAX & set(text), text


@pytest.mark.parametrize("language", TRANSLATED)
def test_nothing_is_left_in_english(language: str, values: set[str]) -> None:
    file = BUILD["TRANSLATIONS"] / f"{language}.json"
    translated: dict[str, str] = json.loads(file.read_text(encoding="utf-8"))
    found = {
        english: words
        for english, text in translated.items()
        if (words := leftover(language, text, english, values))
    }
    assert found == {}


@pytest.mark.parametrize("language", TRANSLATED)
def test_a_text_that_is_left_in_english_is_found(
    language: str, values: set[str], infos: list[dict[str, Any]]
) -> None:
    told = [info["description"] for info in infos]
    assert [text for text in told if not leftover(language, text, text, values)] == []
    assert leftover(language, "width", "width", values) == ["width"]
    assert leftover(language, "VAE", "VAE", values) == []


def test_a_missing_and_an_unused_translation_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    made = BUILD["Translation"]("zh")
    monkeypatch.setattr(made, "_texts", {"width": "宽度", "gone": "没有"})
    assert made.say("width") == "宽度"
    assert made.say("height") == "height"
    assert made.faults() == [
        "zh: not translated: 'height'",
        "zh: nothing says this any more: 'gone'",
    ]


def panel_words(source: str) -> dict[str, dict[str, list[str]]]:
    """By language and key, the texts of the panels; what is put into them left out."""
    tables = dict(re.findall(r"^const ([A-Z]+) = \{\n(.*?)^\};", source, re.MULTILINE | re.DOTALL))
    named = re.search(r"^const LANGUAGES = \{(.*)\};", source, re.MULTILINE)
    assert named is not None
    found: dict[str, dict[str, list[str]]] = {}
    for language, name in re.findall(r"(\w+): ([A-Z]+)", named[1]):
        _, *parts = re.split(r"^  (\w+):", tables[name], flags=re.MULTILINE)
        found[language] = {
            key: re.findall(r"[\"`]([^\"`]*)[\"`]", re.sub(r"\$\{[^{}]*\}", "", part))
            for key, part in zip(parts[::2], parts[1::2], strict=True)
        }
    return found


def english_in_panels(source: str, language: str, values: set[str]) -> list[str]:
    """Words of the panels in a language that are still English."""
    said = panel_words(source)
    # Keys of the keyboard, endings of files, and a unit.
    kept = values | {"delete", "hex", "gpl", "pal", "ms"}
    return [
        word
        for key, every in said[language].items()
        for text in every
        for word in leftover(language, text, text if text in said["en"][key] else "", kept)
    ]


def test_the_words_of_the_panels_are_there_in_every_language() -> None:
    said = panel_words(PANEL_WORDS.read_text(encoding="utf-8"))
    assert set(said) == set(LANGUAGES)
    assert all(list(words) == list(said["en"]) for words in said.values())
    assert all(texts for words in said.values() for texts in words.values())


@pytest.mark.parametrize("language", TRANSLATED)
def test_no_word_of_the_panels_is_left_in_english(language: str, values: set[str]) -> None:
    assert english_in_panels(PANEL_WORDS.read_text(encoding="utf-8"), language, values) == []


@pytest.mark.parametrize(
    ("language", "told", "english", "words"),
    [
        ("es", '"Resultados"', '"Results"', ["Results"]),
        ("es", "`Imagen ${number} de", "`Imagen ${number} of", ["of"]),
        ("zh", '"播放"', '"Play"', ["Play"]),
        ("ja", "`画像 ${number}", "`Picture ${number}", ["Picture"]),
    ],
)
def test_a_word_of_the_panels_that_is_left_in_english_is_found(
    language: str, told: str, english: str, words: list[str], values: set[str]
) -> None:
    source = PANEL_WORDS.read_text(encoding="utf-8")
    assert source.count(told) == 1
    assert english_in_panels(source.replace(told, english), language, values) == words


def read(language: str, file: str) -> Any:
    return json.loads((LOCALES / language / f"{file}.json").read_text(encoding="utf-8"))


def test_the_pack_reads_them_where_comfyui_does() -> None:
    """ComfyUI looks for `locales` beside the file that it imports, nowhere else."""
    assert LOCALES == REPOSITORY / "locales"
    assert (REPOSITORY / "__init__.py").is_file()
    ignored = (REPOSITORY / ".comfyignore").read_text(encoding="utf-8")
    assert "locales" not in ignored
