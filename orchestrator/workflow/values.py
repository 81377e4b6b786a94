"""What a person gives for an input, as the value that it takes, with no I/O."""

from __future__ import annotations

import math
import secrets
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from ..errors import BadValue
from .checking import value_problem
from .choices import same_file
from .inputs import NodeInput
from .wording import shown

# What a parameter is given as: a text means what it means after --set.
Value: TypeAlias = str | int | float | bool
# What a role of a graph has: None where it follows the model; by NODE.input where nodes differ.
Held: TypeAlias = Value | Mapping[str, Value | None] | None

# What a seed is given as where any will do.
RANDOM = "random"
# Seeds that the browser keeps exactly are below this.
_SEEDS = 2**53


def is_random(value: Any) -> bool:
    """Whether any seed will do."""
    return isinstance(value, str) and value.strip() == RANDOM


def random_seed(entry: NodeInput) -> int | None:
    """A seed for an input that takes one, or None where it takes none."""
    if not entry.has_control or entry.type != "INT":
        return None
    least, most = int(entry.minimum or 0), int(entry.maximum or _SEEDS)
    return least + secrets.randbelow(min(most - least, _SEEDS) + 1)


def parse_value(name: str, text: str, entry: NodeInput) -> Any:
    """The value that `text` means for an input; raises BadValue where it cannot be one."""
    value = _convert(name, text, entry)
    problem = value_problem(entry, value)
    if problem:
        raise BadValue(f"{name}={shown(text)}: {problem[1]}")
    return value


def typed(name: str, value: Any, entry: NodeInput) -> Any:
    """A value, which may have come from YAML, as the server takes it.

    Texts mean what they mean after `--set`, which is what the cells of a CSV need; an input for
    texts takes nothing else. Raises BadValue where it does not suit.
    """
    if isinstance(value, str):
        return value if entry.value_type == "STRING" else parse_value(name, value, entry)
    if entry.value_type == "STRING":
        raise BadValue(f"{name}: {value!r} is no text; put quotes around it")
    wanted = {"INT": int, "FLOAT": int | float, "BOOLEAN": bool}.get(entry.value_type or "")
    if wanted is None or (isinstance(value, bool) and wanted is not bool):
        return parse_value(name, _written(value, entry), entry)
    if not isinstance(value, wanted):
        return parse_value(name, str(value), entry)
    problem = value_problem(entry, value)
    if problem:
        raise BadValue(f"{name}: {problem[1]}")
    # 8 and 8.0 are one picture, so they are one text
    return float(value) if entry.value_type == "FLOAT" else value


def _written(value: Any, entry: NodeInput) -> str:
    """A value from YAML as a text; yes and no as the choices write them, else in small letters."""
    text = str(value)
    if isinstance(value, bool) and text not in map(str, entry.options or ()):
        return text.lower()
    return text


def _convert(name: str, text: str, entry: NodeInput) -> Any:
    match entry.value_type:
        case None:
            raise BadValue(
                f"{name}: {entry.name} takes {entry.type} from another node, and no value"
            )
        case "INT":
            return _number(name, text, int, "a whole number")
        case "FLOAT":
            return _number(name, text, float, "a number")
        case "BOOLEAN":
            return _boolean(name, text)
        case "COMBO":
            # choices may be numbers; a text that is none of them is refused by the caller
            same: Iterable[Any] = (entry for entry in entry.options or () if str(entry) == text)
            return next(iter(same), same_file(text, entry))
    return text


def _number(name: str, text: str, kind: type, wanted: str) -> Any:
    try:
        value = kind(text.strip())
        # inf and nan are no JSON
        if math.isfinite(value):
            return value
    except (ValueError, OverflowError) as error:
        raise BadValue(f"{name}={shown(text)}: {shown(text)!r} is not {wanted}") from error
    raise BadValue(f"{name}={shown(text)}: {shown(text)!r} is not {wanted}")


def _boolean(name: str, text: str) -> bool:
    word = text.strip().casefold()
    if word in ("true", "yes", "on", "1"):
        return True
    if word in ("false", "no", "off", "0"):
        return False
    raise BadValue(f"{name}={shown(text)}: {shown(text)!r} is neither true nor false")
