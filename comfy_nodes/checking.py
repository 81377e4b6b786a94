"""What nodes check before anything runs: their `validate_inputs`.

A check raises a PackError, and its sentence reaches the user as it is. A sentence that it returned
instead, hosts would repeat for each input that the check looks at. They leave range and choices of
those inputs to the check, and give None for an input that is linked.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from comfy_api.latest import io

from .errors import BadInput
from .hardware import Device, refuse_impossible
from .settings import SETTINGS
from .settings_inputs import settings_of


def check_values(node: type[io.ComfyNode], values: Mapping[str, Any]) -> None:
    """Raises BadInput for a value that its input does not take; None is a link's."""
    for one in node.define_schema().inputs:
        value = values.get(one.id)
        if value is None:
            continue
        told = one.as_dict()
        options = told.get("options")
        if options is not None and value not in options:
            there = ", ".join(map(str, options)) or "none"
            raise BadInput(f"{one.id} cannot be {value!r}: choose one of {there}.")
        least, most = told.get("min"), told.get("max")
        if least is not None and value < least:
            raise BadInput(f"{one.id} cannot be {value}: {least} is the least.")
        if most is not None and value > most:
            raise BadInput(f"{one.id} cannot be {value}: {most} is the most.")


class SettingsNode(io.ComfyNode):
    """Base of the nodes that have optimisation settings."""

    @classmethod
    def device(cls) -> Device:
        """The device that the host computes on."""
        from .native.compat import require_host

        require_host()
        from .native.tuning import hardware

        return hardware()

    @classmethod
    def validate_inputs(cls, **values: Any) -> bool:
        """Check the settings against each other and, where they are strict, against the device.

        Where one of them is linked nothing is known of the others together. Raises PackError.
        """
        given = {name: value for name, value in values.items() if name in SETTINGS}
        if None not in given.values():
            settings = settings_of(given)
            if settings.strict:
                refuse_impossible(settings, cls.device())
        check_values(cls, values)
        return True
