"""What is said once, after the first sprite of a model that comes with Spriteworks: larger ones."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from comfy_nodes.folders import MODEL_FILES

if TYPE_CHECKING:
    from comfy_nodes.loras import Lora

# Names another folder for what is remembered of this user.
VARIABLE = "SPRITEWORKS_STATE"
_MARK = "told-of-larger-models"


def comes_along(model: object) -> bool:
    """Whether a model of that name comes with Spriteworks."""
    return model in {one.name for one in MODEL_FILES.iterdir()}


def names() -> list[str]:
    """What 'spriteworks models pull' calls them."""
    from comfy_nodes.loras import LORAS

    return [one.key for one in LORAS]


def told_once(model: object, environment: Mapping[str, str] = os.environ) -> list[str]:
    """The lines to say after a sprite that `model` made; none the next time, or for other models.

    `model` is the name in the run's parameters. Where nothing can be remembered, nothing is said.
    """
    if not isinstance(model, str) or not comes_along(model):
        return []
    mark = _folder(environment) / _MARK
    try:
        mark.parent.mkdir(parents=True, exist_ok=True)
        mark.open("x").close()
    except OSError:  # it is there, or cannot be: a note that comes every time is worse than none
        return []
    return lines(model)


def lines(model: str) -> list[str]:
    """What is said: the model's limit; LoRAs, their licence, size and page; how to get one."""
    # every run comes by here, and one of them gets this far
    from comfy_nodes.loras import LORAS, READ

    return [
        f"{model} is small and knows few words. Models that draw anything as pixel art want a GPU:",
        *map(_line, LORAS),
        "'spriteworks models pull NAME --models DIR' gets one with the model that it changes, and "
        f"says how to use it; docs/starter-model.md has more. Pages read on {READ}; said once.",
    ]


def _line(lora: Lora) -> str:
    from comfy_nodes.hub.pulling import gigabytes

    sizes = f"{gigabytes(lora.file.size)} and {gigabytes(lora.base.folder_size)}"
    what = f"LoRA for {lora.base.name}, {sizes}, licence {lora.licence}"
    return f"  {lora.key:20}{what}, page of {lora.page_of}"


def _folder(environment: Mapping[str, str]) -> Path:
    named = environment.get(VARIABLE, "").strip()
    if named:
        return Path(named).expanduser().absolute()
    from platformdirs import user_state_path

    return user_state_path("spriteworks", appauthor=False)
