"""What a manifest may say: the fields of a batch's YAML file, checked one by one; with no I/O.

What depends on several fields (templates, names, lengths of lists) is checked by `expansion`, what
depends on the workflow by `planning`, and `manifest_file` reads files and gives mistakes their
lines.
"""

from __future__ import annotations

from enum import Enum
from types import NoneType
from typing import Annotated, Any, ClassVar, Literal, TypeAlias, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    model_validator,
)
from pydantic_core import PydanticCustomError

from ....errors import UsageError
from ....workflow.wording import did_you_mean, listed
from ..gates import MEASURES
from ..jobs import SEED_MODULUS
from .yaml_lines import PlainScalar, as_text, meaning

# More jobs than this are a slip of the pen (`count: 1000000000`), and would fill the disk.
MOST_JOBS = 5_000_000

Scalar: TypeAlias = str | int | float | bool


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
    # fields that take a text as it was written, and whether they must be there
    _texts: ClassVar[dict[str, bool]] = {}

    @classmethod
    def __pydantic_init_subclass__(cls, **_: Any) -> None:
        cls._texts = {
            field.alias or name: field.is_required()
            for name, field in cls.model_fields.items()
            if {field.annotation, *get_args(field.annotation)} & {str}
            and set(get_args(field.annotation)) <= {str, NoneType}
        }

    @model_validator(mode="before")
    @classmethod
    def _read_scalars(cls, data: Any) -> Any:
        """Give each field what its scalar is there: its spelling in a text, else its meaning."""
        if not isinstance(data, dict):
            return data
        return {name: cls._read_scalar(name, value) for name, value in data.items()}

    @classmethod
    def _read_scalar(cls, name: str, value: Any) -> Any:
        if not isinstance(value, PlainScalar | int | float):
            return value
        must_be = cls._texts.get(name)
        # `name: null` is a name, and `prompt: null` leaves the prompt out
        if must_be or (must_be is not None and meaning(value) is not None):
            return as_text(value)
        return meaning(value)


class Expansion(str, Enum):
    """How several lists of values become jobs."""

    # every value with every value
    PRODUCT = "product"
    # the first with the first, the second with the second, ...
    ZIP = "zip"


def _plain(value: Any) -> Any:
    """One value: a text, a number or a boolean."""
    if isinstance(value, PlainScalar):
        # pydantic would make a plain text of it
        return value
    if isinstance(value, str | int | float):
        return value
    what = "nothing" if value is None else "a list" if isinstance(value, list) else "a mapping"
    raise PydanticCustomError("value", "this is {what}, and one value is wanted", {"what": what})


def _text(value: Any) -> Any:
    return as_text(value) if isinstance(value, PlainScalar | int | float) else value


def _values(value: Any) -> Any:
    """One value, or a list of at least one."""
    if not isinstance(value, list):
        return _plain(value)
    if not value:
        raise PydanticCustomError("values", "the list is empty, so there would be no job")
    return [_plain(one) for one in value]


Plain = Annotated[Any, BeforeValidator(_plain)]
Values = Annotated[Any, BeforeValidator(_values)]
# letters of any script, digits and _; what a template can name
VariableName = Annotated[str, Field(pattern=r"^[^\W\d]\w*$")]
Seed = Annotated[int, Field(ge=0, lt=SEED_MODULUS, strict=True)]


class SeedRange(_Model):
    """Every `step`-th seed of a range, both ends included."""

    first: Seed = Field(alias="from")
    last: Seed = Field(alias="to")
    step: Annotated[int, Field(ge=1, strict=True)] = 1

    @model_validator(mode="after")
    def _rises(self) -> SeedRange:
        if self.last < self.first:
            raise PydanticCustomError("range", "`to` is smaller than `from`")
        return self

    @property
    def size(self) -> int:
        """How many there are; `len` of a range ends at 2^63."""
        return (self.last - self.first) // self.step + 1

    def values(self) -> range:
        return range(self.first, self.last + 1, self.step)


class SeedCount(_Model):
    """`count` seeds from `base` on."""

    base: Seed
    count: Annotated[int, Field(ge=1, strict=True)]

    @model_validator(mode="after")
    def _fits(self) -> SeedCount:
        if self.base + self.count > SEED_MODULUS:
            raise PydanticCustomError("range", "the last seed would be above 18446744073709551615")
        return self

    @property
    def size(self) -> int:
        """How many there are."""
        return self.count

    def values(self) -> range:
        return range(self.base, self.base + self.count)


def _kind_of_seeds(value: Any) -> str:
    if isinstance(value, SeedRange) or (isinstance(value, dict) and {"from", "to"} & value.keys()):
        return "range"
    return "count" if isinstance(value, dict | SeedCount) else "list"


def _as_list(value: Any) -> Any:
    return [meaning(one) for one in value] if isinstance(value, list) else [value]


SeedList = Annotated[list[Seed], Field(min_length=1), BeforeValidator(_as_list)]
Seeds = Annotated[
    Annotated[SeedRange, Tag("range")]
    | Annotated[SeedCount, Tag("count")]
    | Annotated[SeedList, Tag("list")],
    Discriminator(_kind_of_seeds),
]


class ValueBounds(_Model):
    """What a gate's measured value must lie between, both ends included."""

    low: float | None = Field(default=None, alias="min")
    high: float | None = Field(default=None, alias="max")

    @model_validator(mode="after")
    def _rises(self) -> ValueBounds:
        if self.low is not None and self.high is not None and self.high < self.low:
            raise PydanticCustomError("bounds", "`max` is smaller than `min`")
        return self


def _gate_name(name: str) -> str:
    if name not in MEASURES:
        raise PydanticCustomError(
            "gate",
            "there is no gate {name}{hint} (there is: {known})",
            {
                "name": repr(name),
                "hint": did_you_mean(name, MEASURES),
                "known": listed(MEASURES),
            },
        )
    return name


def _bounds(value: Any) -> Any:
    """A bare name of a gate, or `true`, stands for the gate's own bounds; a number for both."""
    value = meaning(value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return {"min": value, "max": value}
    return {} if value is None or value is True else value


def _named(value: Any) -> Any:
    """A list of names stands for these gates with their own bounds."""
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        return dict.fromkeys(value)
    return value


def _all_bounded(gates: dict[str, Any]) -> dict[str, Any]:
    """Refuse a gate that would let everything pass."""
    for name, bounds in gates.items():
        own = MEASURES[name]
        given = bounds and (bounds.low is not None or bounds.high is not None)
        if bounds and not given and own.minimum is None and own.maximum is None:
            raise PydanticCustomError(
                "gate",
                "{name} has no bounds of its own; give a number, or min and max",
                {"name": name},
            )
    return gates


GateName = Annotated[str, AfterValidator(_gate_name)]
GateBounds = Annotated[
    Annotated[ValueBounds, Tag("bounds")] | Annotated[Literal[False], Tag("off")],
    Discriminator(lambda value: "off" if value is False else "bounds"),
    BeforeValidator(_bounds),
]


Gates = Annotated[dict[GateName, GateBounds], BeforeValidator(_named), AfterValidator(_all_bounded)]


class Style(_Model):
    """Texts around every prompt, as they stand: blanks and commas included."""

    prefix: str = ""
    suffix: str = ""


class ContactSheet(_Model):
    """The overview picture."""

    columns: Annotated[int, Field(ge=1, le=200)] = 10
    # edge of a cell in pixels
    cell: Annotated[int, Field(ge=16, le=1024)] = 128
    # write each picture's name under it
    labels: bool = True


def _palette(value: Any) -> Any:
    """How many colours to find, or which: a name, a file, or hex colours."""
    if isinstance(value, int) and not isinstance(value, bool) and not 1 <= value <= 256:
        raise PydanticCustomError("palette", "a palette has 1 to 256 colours")
    if isinstance(value, list) and value:
        # hex colours look like numbers
        return [as_text(_plain(one)) for one in value]
    return value if value is None else _plain(value)


def _dithering(name: str) -> str:
    from comfy_nodes.ops.palette import Dither

    known = [one.value for one in Dither]
    if name not in known:
        raise PydanticCustomError(
            "dither",
            "there is no dithering {name}{hint} (there is: {known})",
            {"name": repr(name), "hint": did_you_mean(name, known), "known": listed(known)},
        )
    return name


def _one_or_more(value: Any) -> Any:
    """`for: phaser, godot` is a list, too."""
    return [one.strip() for one in value.split(",")] if isinstance(value, str) else value


def _sheet_formats(names: list[str]) -> list[str]:
    from comfy_nodes.formats.sheets import FORMATS

    for name in names:
        if name not in FORMATS:
            raise PydanticCustomError(
                "for",
                "no sheet is written for {name}{hint} (there is: {known})",
                {
                    "name": repr(name),
                    "hint": did_you_mean(name, FORMATS),
                    "known": listed(list(FORMATS)),
                },
            )
    return names


def _sheet_name(name: str) -> str:
    from ....sprites.parsing import is_name

    if not is_name(name):
        raise PydanticCustomError("name", "a sheet's name has letters, digits, - and _")
    return name


def _pivot(pivot: str) -> str:
    from ....sprites.parsing import point_of

    try:
        point_of(pivot, (1, 1))
    except UsageError:
        raise PydanticCustomError("pivot", "give bottom, center, or x,y in px") from None
    return pivot


def _check_rotated(formats: list[str]) -> None:
    from comfy_nodes.errors import BadInput
    from comfy_nodes.formats.sheets import check_takes_rotated

    try:
        check_takes_rotated(formats)
    except BadInput as error:
        raise PydanticCustomError("for", "{why}", {"why": str(error)}) from None


class SheetExport(_Model):
    """One sheet of all pictures, as game engines read it."""

    formats: Annotated[list[str], BeforeValidator(_one_or_more), AfterValidator(_sheet_formats)] = (
        Field(alias="for", min_length=1)
    )
    name: Annotated[str, AfterValidator(_sheet_name)] = "sheet"
    # of a grid
    columns: Annotated[int, Field(ge=1, le=16_384)] | None = None
    padding: Annotated[int, Field(ge=0, le=256)] | None = None
    extrude: Annotated[int, Field(ge=0, le=16)] | None = None
    power_of_two: bool = False
    max_size: Annotated[int, Field(ge=1, le=16_384)] = 4096
    # frames may be turned by 90 degrees
    rotate: bool = False
    # frames of which no pixel differs by more have one picture: OKLab, alpha of 1
    near: Annotated[float, Field(ge=0, le=1)] = 0.0
    # None: where the pictures are aligned, else the middle of the lower edge
    pivot: Annotated[str, AfterValidator(_pivot)] | None = None
    fps: Annotated[float, Field(ge=0.1, le=1000)] = 10.0
    # names of animations
    pingpong: Annotated[list[str], BeforeValidator(_one_or_more)] = []
    once: Annotated[list[str], BeforeValidator(_one_or_more)] = []

    @model_validator(mode="after")
    def _is_one_kind(self) -> SheetExport:
        if self.columns is not None and self.power_of_two:
            raise PydanticCustomError("sheet", "a grid has the size of its cells")
        if self.columns is not None and (self.rotate or self.near):
            raise PydanticCustomError("sheet", "a grid has a cell for each frame, as it is")
        if self.rotate:
            _check_rotated(self.formats)
        return self


def _alignment_pivot(name: str) -> str:
    from comfy_nodes.ops.alignment import Pivot

    known = [one.value for one in Pivot]
    if name not in known:
        raise PydanticCustomError(
            "pivot",
            "there is no pivot {name}{hint} (there is: {known})",
            {"name": repr(name), "hint": did_you_mean(name, known), "known": listed(known)},
        )
    return name


def _canvas(canvas: str) -> str:
    from ....sprites.parsing import size_of

    if size_of(canvas) is None:
        raise PydanticCustomError("canvas", "this is no size; give 64x48")
    return canvas


class Align(_Model):
    """One canvas for all pictures, on which each stands at one place."""

    pivot: Annotated[str, AfterValidator(_alignment_pivot)] = "ground"
    # leave each frame at its height, for jumps
    keep_height: bool = False
    # px around all
    margin: Annotated[int, Field(ge=0, le=4096)] = 0
    # width and height; None: the smallest that holds all
    canvas: Annotated[str, AfterValidator(_canvas)] | None = None


def _aligned_anyhow(value: Any) -> Any:
    """`align: true` is the way it is done by itself."""
    return {} if value is True else None if value is False else value


class Export(_Model):
    """What is made of all pictures together, once they are there."""

    # find the grid of each, and its true pixels
    snap: bool = True
    # all are frames of one size: one grid for all of them
    sequence: bool = False
    # each picture is a row of so many frames, and they are cut apart
    frames: Annotated[int, Field(strict=True, ge=1, le=64)] = 1
    # take away the background
    cutout: bool = False
    # one palette for all: how many colours to find, or which
    palette: Annotated[
        Annotated[int, Field(strict=True)] | str | list[str] | None, BeforeValidator(_palette)
    ] = None
    dither: Annotated[str, AfterValidator(_dithering)] = "none"
    align: Annotated[Align | None, BeforeValidator(_aligned_anyhow)] = None
    sheet: SheetExport | None = None

    @model_validator(mode="after")
    def _does_something(self) -> Export:
        wanted = (self.snap, self.cutout, self.palette, self.align, self.sheet, self.frames > 1)
        if not any(wanted):
            raise PydanticCustomError("export", "there is nothing to do")
        if self.sequence and not self.snap:
            raise PydanticCustomError("export", "a sequence has one grid, and none is snapped to")
        if self.palette is None and self.dither != "none":
            raise PydanticCustomError("export", "there is nothing to dither without a palette")
        return self


# pydantic copies a `{}` deeply for every item, which was a third of the time it took
_NOTHING: Any = Field(default_factory=dict)


class _Shared(_Model):
    """What an item may say, and the manifest for all items."""

    vars: dict[VariableName, Values] = _NOTHING
    expand: Expansion | None = None
    seeds: Seeds | None = None
    images: dict[str, Annotated[str, BeforeValidator(_text)]] = _NOTHING
    priority: Annotated[int, Field(ge=-1000, le=1000)] | None = None
    output: Annotated[str, Field(min_length=1)] | None = None
    gates: Gates = _NOTHING
    rerolls: Annotated[int, Field(ge=0, le=100)] | None = None


class Item(_Shared):
    """One thing to make pictures of, as often as its variables and seeds say."""

    id: Annotated[str, Field(min_length=1)]
    prompt: str | None = None
    negative: str | None = None
    # role or NODE.input -> value
    set: dict[str, Plain] = _NOTHING


class Manifest(_Shared):
    """A whole batch."""

    name: Annotated[str, Field(min_length=1)]
    workflow: Annotated[str, Field(min_length=1)]
    # role or NODE.input -> value, for items that do not say otherwise
    defaults: dict[str, Plain] = _NOTHING
    style: Style = Style()
    # at most so many pictures in one graph, where they differ in nothing but the seed
    batch_size: Annotated[int, Field(ge=1, le=4096)] = 1
    contact_sheet: ContactSheet = ContactSheet()
    export: Export | None = None
    # checked one by one as `Item`: 100,000 of them at once would take 100 MB
    items: list[Any] = []
    # a CSV or JSONL file with more items, seen from the manifest's folder
    items_from: str | None = None
