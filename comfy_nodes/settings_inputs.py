"""The optimisation settings as inputs of a node, and back from a node's values.

The four that every loader had from the first are required and stand first, so that canvas files
saved before the others came keep their order of fields. The others are optional: a graph may leave
out any of them. A loader folds all of them, a node for them alone only the others.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any

from annotated_types import Ge, Le, MultipleOf
from pydantic import BaseModel, ValidationError

from .errors import BadInput
from .settings import SETTINGS, LoaderSettings, Scope, Setting, settings_of_scope


def loader_inputs() -> list[Any]:
    """Inputs of a loader, one for each field of LoaderSettings and called like it."""
    names = sorted(SETTINGS, key=lambda name: SETTINGS[name].advanced)
    return [_widget(name, optional=SETTINGS[name].advanced) for name in names]


def optimize_inputs(scope: Scope) -> list[Any]:
    """Inputs of a node for a MODEL or a VAE alone: the settings and choices for it, all optional.

    `scope` is that one output.
    """
    return [_widget(name, optional=True, scope=scope) for name in settings_of_scope(scope)]


def shown_settings(scope: Scope) -> tuple[str, ...]:
    """Those of such a node's settings that stay open on it."""
    return tuple(name for name in settings_of_scope(scope) if not SETTINGS[name].advanced)


def bounds(model: type[BaseModel], name: str) -> dict[str, Any]:
    """What a model's field says of the numbers that it takes, as arguments of a widget.

    min, max and step, each where the field has one.
    """
    found: dict[str, Any] = {}
    for one in model.model_fields[name].metadata:
        if isinstance(one, Ge):
            found["min"] = one.ge
        elif isinstance(one, Le):
            found["max"] = one.le
        elif isinstance(one, MultipleOf):
            found["step"] = one.multiple_of
    return found


def settings_of(values: Mapping[str, Any]) -> LoaderSettings:
    """The settings among a node's values; those not given have their defaults.

    Raises BadInput, naming the setting, for an unknown one and for a value that it cannot have.
    """
    try:
        return LoaderSettings.model_validate(dict(values))
    except ValidationError as error:
        raise BadInput(" ".join(_sentence(one) for one in error.errors())) from error


def _sentence(error: Any) -> str:
    if not error["loc"]:  # two settings that contradict each other; the message names both
        return f"{error['ctx']['error']}."
    name = error["loc"][0]
    if error["type"] == "extra_forbidden":
        return f"There is no setting {name!r}."
    return f"Setting {name} cannot be {error['input']!r}: {error['msg'].lower()}."


def _widget(name: str, *, optional: bool = False, scope: Scope = Scope.ALL) -> Any:
    from comfy_api.latest import io  # only a host has it; settings_of works without one

    field, setting = LoaderSettings.model_fields[name], SETTINGS[name]
    kind: Any = field.annotation
    common = {"optional": optional, "tooltip": setting.tooltip}
    if issubclass(kind, Enum):
        # 0.3.64 takes words only: with an Enum its /object_info fails, and no editor opens.
        words = [one.value for one in _choices(kind, setting, scope)]
        return io.Combo.Input(name, options=words, default=field.default.value, **common)
    if kind is bool:
        return io.Boolean.Input(name, default=field.default, **common)
    own = {"step": setting.step, "round": setting.round}
    numbers = {key: value for key, value in own.items() if value is not None}
    widget = io.Int.Input if kind is int else io.Float.Input
    return widget(name, default=field.default, **bounds(LoaderSettings, name), **numbers, **common)


def _choices(kind: type[Enum], setting: Setting, scope: Scope) -> list[Enum]:
    """The choices that mean something to a node of this scope."""
    narrower = dict(setting.narrower)
    return [one for one in kind if narrower.get(one, setting.scope) & scope]
