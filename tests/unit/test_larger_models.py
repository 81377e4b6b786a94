"""LoRAs for pixel art: the one table, what is said of it once, and the pages that name it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import typer.main

from comfy_nodes.hub.pulling import gigabytes
from comfy_nodes.loras import LORAS, READ, lora_named
from comfy_nodes.models import Family
from orchestrator.errors import BadValue
from orchestrator.models import larger, store
from orchestrator.models.cli import app
from orchestrator.models.larger import told_once


def told(folder: Path, model: Any = "spriteworks-starter") -> list[str]:
    return told_once(model, {"SPRITEWORKS_STATE": str(folder)})


def test_it_is_said_after_the_first_sprite_and_never_again(tmp_path: Path) -> None:
    folder = tmp_path / "of a user" / "state"
    lines = told(folder)
    assert len(lines) == len(LORAS) + 2
    for lora, line in zip(LORAS, lines[1:], strict=False):
        assert line.split()[0] == lora.key
        assert lora.licence in line
        assert lora.page_of in line
        assert gigabytes(lora.file.size) in line
        assert lora.base.name in line
    assert "spriteworks models pull" in lines[-1]
    assert READ in lines[-1]
    assert told(folder) == []


@pytest.mark.parametrize("model", ["sdxl", "", "../model_files", None, 7])
def test_other_models_are_no_reason_to_say_it(tmp_path: Path, model: Any) -> None:
    assert told(tmp_path, model) == []
    assert told(tmp_path) != []


def test_nothing_is_said_where_it_could_not_be_remembered(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert told(tmp_path / "file") == []


def test_there_are_some_for_both_families_and_all_is_told(repository: Path) -> None:
    assert len(LORAS) >= 3
    assert {lora.base.family for lora in LORAS} == {Family.SD1, Family.SDXL}
    assert len({lora.key for lora in LORAS}) == len({lora.hub_id for lora in LORAS}) == len(LORAS)
    for lora in LORAS:
        assert lora.file.name.endswith(".safetensors")
        assert lora.licence
        assert lora.page_of
        assert re.fullmatch(r"\d{4}-\d\d-\d\d", READ)
        for name in (lora.key, lora.key.upper(), lora.hub_id, lora.file.name):
            assert lora_named(name) is lora


def rows(page: str) -> dict[str, list[str]]:
    """The table of LoRAs: {name: other cells}."""
    lines = [line for line in page.splitlines() if line.startswith("| [`")]
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    return {first: rest for first, *rest in cells}


def test_the_page_names_what_the_table_has(repository: Path) -> None:
    page = (repository / "docs" / "starter-model.md").read_text("utf-8")
    assert rows(page) == {
        f"[`{lora.key}`]({lora.page})": [
            f"`{lora.base.key}`",
            gigabytes(lora.file.size),
            lora.licence,
            lora.words or "none",
            lora.page_of,
        ]
        for lora in LORAS
    }
    assert READ in page
    used = store.how_to_use(LORAS[1], Path("~/models"))
    assert used.replace('"~/models"', "~/models") in re.sub(r" \\\n\s+", " ", page)


def test_help_and_pages_name_no_other_than_the_table(repository: Path) -> None:
    command = typer.main.get_command(app)
    texts = [command.get_help(typer.Context(command))]
    texts += [
        " ".join(str(getattr(one, "help", "")) for one in sub.params)
        for sub in command.commands.values()  # type: ignore[attr-defined]
    ]
    texts += [(repository / page).read_text("utf-8") for page in ("README.md", "docs/cli.md")]
    named = set(re.findall(r"\bpixel-?art-[a-z]+(?:-[a-z0-9]+)?\b", " ".join(texts)))
    assert named
    assert named <= {lora.key for lora in LORAS}


def test_a_lora_wants_a_models_folder() -> None:
    lora = LORAS[0]
    for ask in (store.base_of, store.located):
        with pytest.raises(BadValue, match="--models DIR"):
            ask(lora, None)
    assert store.named("PIXEL-ART-XL").key == "pixel-art-xl"
    with pytest.raises(BadValue, match="pixel-art-xl"):
        store.named("pixel-art-xxl")


def test_the_message_names_no_other_page_than_there_is(repository: Path) -> None:
    for name in re.findall(r"docs/[\w-]+\.md", " ".join(larger.lines("spriteworks-starter"))):
        assert (repository / name).is_file()
