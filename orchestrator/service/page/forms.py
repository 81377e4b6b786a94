"""From a workflow's parameters to fields, and from a form that was posted to what is wanted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.datastructures import FormData, UploadFile

from ...errors import BadValue
from ..intake import Caller
from ..prompting import Prompt, WorkflowView
from ..service import Service

PICTURES = ("image", "mask")
# role: (label, type of its widget, its attributes)
_KNOWN: Mapping[str, tuple[str, str, Mapping[str, Any]]] = {
    "prompt": ("Prompt", "text", {"rows": 3}),
    "negative": ("Negative prompt", "text", {"rows": 2}),
    "seed": ("Seed", "number", {"min": 0, "max": 2**64 - 1, "step": 1}),
    "steps": ("Steps", "number", {"min": 1, "max": 10_000, "step": 1}),
    "cfg": ("Guidance scale", "number", {"min": 0, "max": 100, "step": "any"}),
    "width": ("Width", "number", {"min": 8, "max": 16_384, "step": 1}),
    "height": ("Height", "number", {"min": 8, "max": 16_384, "step": 1}),
    "denoise": ("Denoise", "number", {"min": 0, "max": 1, "step": "any"}),
    "batch_size": ("Pictures", "number", {"min": 1, "max": 4096, "step": 1}),
    "model": ("Model", "model", {}),
    "sampler": ("Sampler", "line", {}),
    "scheduler": ("Scheduler", "line", {}),
    "image": ("Picture", "image", {}),
    "mask": ("Mask", "mask", {}),
}
# what is asked for first; the rest is behind "More"
_FIRST = ("prompt", "negative", "image", "mask", "seed", "steps", "width", "height", "denoise")
# characters of one value
_LONGEST = 20_000


@dataclass(frozen=True, kw_only=True)
class Field:
    """A widget of a form."""

    role: str
    label: str
    kind: str
    attributes: Mapping[str, Any]
    # what it says; "" leaves it to the workflow
    value: str
    # what the workflow has by itself
    hint: str
    is_first: bool


def fields(
    view: WorkflowView, given: Mapping[str, Any], pictures: Mapping[str, str]
) -> list[Field]:
    """The fields of a workflow, filled with what another request had."""
    found = []
    for role, (label, kind, attributes) in _KNOWN.items():
        if role not in view.parameters or isinstance(view.parameters[role], Mapping):
            continue
        own = view.parameters[role]
        value = pictures.get(role) if role in PICTURES else given.get(role)
        if value is None and kind == "text":
            value = own
        hint = "random" if role == "seed" else "the model's" if own is None else str(own)
        found.append(
            Field(
                role=role,
                label=label,
                kind=kind,
                attributes=attributes,
                value="" if value is None or isinstance(value, Mapping) else str(value),
                hint=hint,
                is_first=role in _FIRST,
            )
        )
    return sorted(found, key=lambda one: _FIRST.index(one.role) if one.is_first else len(_FIRST))


def prompt_of(
    service: Service, caller: Caller, form: FormData, files: Mapping[str, bytes]
) -> Prompt:
    """What a form asks for; its pictures are kept as assets. Raises BadValue."""
    settings: list[tuple[str, Any]] = []
    for role, (label, kind, _) in _KNOWN.items():
        value = form.get(role)
        if role in PICTURES or not isinstance(value, str):
            continue
        if len(value) > _LONGEST:
            raise BadValue(f"{label} has {_LONGEST:,} characters at most")
        if value.strip() or kind == "text":
            settings.append((role, value if kind == "text" else value.strip()))
        elif role == "seed":
            settings.append((role, "random"))
    pictures = {}
    for role in PICTURES:
        known = form.get(f"{role}_asset")
        if role in files:
            content = files[role]
            pictures[role] = service.picture(caller, "", lambda content=content: content)  # type: ignore[misc]
        elif isinstance(known, str) and known:
            pictures[role] = service.asset(caller, known).id
    workflow = form.get("workflow")
    name = workflow if isinstance(workflow, str) else ""
    return Prompt(workflow=name, settings=settings, pictures=pictures)


async def files_of(form: FormData, names: Sequence[str] = PICTURES) -> dict[str, bytes]:
    """The files of a form that have any bytes."""
    found = {}
    for name in names:
        file = form.get(name)
        if isinstance(file, UploadFile) and file.size:
            found[name] = await file.read()
    return found


def many(text: str | None, most: int = 64) -> int:
    """How many of the same are wanted."""
    if not text:
        return 1
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= most):
        raise BadValue(f"1 to {most} pictures can be asked for at once")
    return int(text)
