"""docs/optimization-guide.md against the code: every setting, every choice, the table of auto."""

from __future__ import annotations

import re
from enum import Enum
from pathlib import Path

import pytest

from comfy_nodes.hardware import GIB, Device, resolve
from comfy_nodes.settings import LoaderSettings

XL = 2_567_463_684
COLUMNS = (
    "precision",
    "vae_precision",
    "vae_tiling",
    "vae_slicing",
    "offload",
    "memory_format",
    "attention",
)
DEVICES = {
    "CPU": Device("cpu", "a CPU", 32 * GIB),
    "CPU that computes in bf16": Device("cpu", "a CPU", 32 * GIB, bf16=True),
    "Metal, 16 GB": Device("mps", "Metal", 16 * GIB, bf16=True),
}


def device_of(name: str) -> Device:
    if name in DEVICES:
        return DEVICES[name]
    # A card reports somewhat less than it is sold with.
    memory = int((float(name.removesuffix(" GB")) - 0.3) * GIB)
    return Device("cuda", name, memory, (8, 9), bf16=True)


@pytest.fixture(scope="module")
def guide(repository: Path) -> str:
    return (repository / "docs" / "optimization-guide.md").read_text(encoding="utf-8")


def test_the_table_of_auto_is_what_the_code_chooses(guide: str) -> None:
    lines = guide.split("| device |")[1].split("\n\n")[0].splitlines()[2:]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert len(rows) == 12
    for name, *said in rows:
        chosen = resolve(LoaderSettings(), device_of(name), XL).settings
        assert said == [getattr(chosen, column).value for column in COLUMNS], name


def test_every_setting_and_choice_is_explained(guide: str) -> None:
    for name, field in LoaderSettings.model_fields.items():
        assert f"`{name}`" in guide, name
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, Enum):
            missing = [one.value for one in kind if not re.search(rf"`{one.value}`", guide)]
            assert missing == [], name
