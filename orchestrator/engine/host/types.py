"""The types that sockets carry: `io.Image`, `io.Int`, `io.Custom("NAME")` and so on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any, ClassVar

from . import inputs
from .inputs import Input, WidgetInput, without_none


class NumberDisplay(str, Enum):
    """How the canvas shows a number."""

    number = "number"
    slider = "slider"
    gradient_slider = "gradientslider"


class FolderType(str, Enum):
    """The three folders of files that a server has."""

    input = "input"
    output = "output"
    temp = "temp"


class UploadType(str, Enum):
    """What the upload button of a combo takes."""

    image = "image_upload"
    audio = "audio_upload"
    video = "video_upload"
    model = "file_upload"


class ComfyType:
    """A socket type; `Input` and `Output` of each subclass know the type that they belong to."""

    io_type: ClassVar[str]
    Type: ClassVar[Any] = Any
    Input = inputs.Input
    Output = inputs.Output

    def __init_subclass__(cls, io_type: str, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.io_type = io_type
        for name in ("Input", "Output"):
            bound = type(name, (getattr(cls, name),), {"Parent": cls})
            setattr(cls, name, bound)


def Custom(io_type: str) -> type[ComfyType]:
    """A type of one's own; sockets connect where the names are equal."""
    return type(io_type, (ComfyType,), {}, io_type=io_type)


class Boolean(ComfyType, io_type="BOOLEAN"):
    """A switch."""

    Type = bool

    class Input(WidgetInput):
        """Field with two states, named by `label_on` and `label_off`."""

        def __init__(
            self,
            id: str,
            display_name: str | None = None,
            optional: bool = False,
            tooltip: str | None = None,
            lazy: bool | None = None,
            default: bool | None = None,
            label_on: str | None = None,
            label_off: str | None = None,
            socketless: bool | None = None,
            force_input: bool | None = None,
            extra_dict: Mapping[str, Any] | None = None,
            raw_link: bool | None = None,
            advanced: bool | None = None,
        ) -> None:
            super().__init__(
                id,
                display_name,
                optional,
                tooltip,
                lazy,
                default,
                socketless,
                None,
                force_input,
                extra_dict,
                raw_link,
                advanced,
            )
            self.labels = {"label_on": label_on, "label_off": label_off}

        def as_dict(self) -> dict[str, Any]:
            return super().as_dict() | without_none(self.labels)


class Int(ComfyType, io_type="INT"):
    """A whole number."""

    Type = int

    class Input(WidgetInput):
        """Field for a whole number in `min`..`max`, both included."""

        def __init__(
            self,
            id: str,
            display_name: str | None = None,
            optional: bool = False,
            tooltip: str | None = None,
            lazy: bool | None = None,
            default: int | None = None,
            min: int | None = None,
            max: int | None = None,
            step: int | None = None,
            control_after_generate: bool | str | None = None,
            display_mode: NumberDisplay | None = None,
            socketless: bool | None = None,
            force_input: bool | None = None,
            extra_dict: Mapping[str, Any] | None = None,
            raw_link: bool | None = None,
            advanced: bool | None = None,
        ) -> None:
            super().__init__(
                id,
                display_name,
                optional,
                tooltip,
                lazy,
                default,
                socketless,
                None,
                force_input,
                extra_dict,
                raw_link,
                advanced,
            )
            self.range = {"min": min, "max": max, "step": step}
            self.control_after_generate = control_after_generate
            self.display_mode = display_mode

        def as_dict(self) -> dict[str, Any]:
            named = {
                "control_after_generate": self.control_after_generate,
                "display": self.display_mode and self.display_mode.value,
            }
            return super().as_dict() | without_none(self.range) | without_none(named)


class Float(ComfyType, io_type="FLOAT"):
    """A number."""

    Type = float

    class Input(WidgetInput):
        """Field for a number in `min`..`max`, both included; the canvas rounds to `round`."""

        def __init__(
            self,
            id: str,
            display_name: str | None = None,
            optional: bool = False,
            tooltip: str | None = None,
            lazy: bool | None = None,
            default: float | None = None,
            min: float | None = None,
            max: float | None = None,
            step: float | None = None,
            round: float | None = None,
            display_mode: NumberDisplay | None = None,
            gradient_stops: list[dict[str, Any]] | None = None,
            socketless: bool | None = None,
            force_input: bool | None = None,
            extra_dict: Mapping[str, Any] | None = None,
            raw_link: bool | None = None,
            advanced: bool | None = None,
        ) -> None:
            super().__init__(
                id,
                display_name,
                optional,
                tooltip,
                lazy,
                default,
                socketless,
                None,
                force_input,
                extra_dict,
                raw_link,
                advanced,
            )
            self.range = {"min": min, "max": max, "step": step, "round": round}
            self.display_mode = display_mode
            self.gradient_stops = gradient_stops

        def as_dict(self) -> dict[str, Any]:
            named = {
                "display": self.display_mode and self.display_mode.value,
                "gradient_stops": self.gradient_stops,
            }
            return super().as_dict() | without_none(self.range) | without_none(named)


class String(ComfyType, io_type="STRING"):
    """Text."""

    Type = str

    class Input(WidgetInput):
        """Field for text."""

        def __init__(
            self,
            id: str,
            display_name: str | None = None,
            optional: bool = False,
            tooltip: str | None = None,
            lazy: bool | None = None,
            multiline: bool = False,
            placeholder: str | None = None,
            default: str | None = None,
            dynamic_prompts: bool | None = None,
            socketless: bool | None = None,
            force_input: bool | None = None,
            extra_dict: Mapping[str, Any] | None = None,
            raw_link: bool | None = None,
            advanced: bool | None = None,
        ) -> None:
            super().__init__(
                id,
                display_name,
                optional,
                tooltip,
                lazy,
                default,
                socketless,
                None,
                force_input,
                extra_dict,
                raw_link,
                advanced,
            )
            self.text = {
                "multiline": multiline,
                "placeholder": placeholder,
                "dynamicPrompts": dynamic_prompts,
            }

        def as_dict(self) -> dict[str, Any]:
            return super().as_dict() | without_none(self.text)


class Combo(ComfyType, io_type="COMBO"):
    """One of a list of choices."""

    Type = str

    class Input(WidgetInput):
        """Field with choices: a list, or an Enum whose values they are."""

        def __init__(
            self,
            id: str,
            options: Sequence[str] | Sequence[int] | type[Enum] | None = None,
            display_name: str | None = None,
            optional: bool = False,
            tooltip: str | None = None,
            lazy: bool | None = None,
            default: str | int | Enum | None = None,
            control_after_generate: bool | None = None,
            upload: UploadType | None = None,
            image_folder: FolderType | None = None,
            remote: Any = None,
            socketless: bool | None = None,
            extra_dict: Mapping[str, Any] | None = None,
            raw_link: bool | None = None,
            advanced: bool | None = None,
        ) -> None:
            plain = default.value if isinstance(default, Enum) else default
            super().__init__(
                id,
                display_name,
                optional,
                tooltip,
                lazy,
                plain,
                socketless,
                None,
                None,
                extra_dict,
                raw_link,
                advanced,
            )
            self.options = _choices(options)
            self.control_after_generate = control_after_generate
            self.upload = upload
            self.image_folder = image_folder
            self.remote = remote

        def as_dict(self) -> dict[str, Any]:
            named = {
                "multiselect": False,
                "options": self.options,
                "control_after_generate": self.control_after_generate,
                "image_folder": self.image_folder and self.image_folder.value,
                "remote": self.remote and self.remote.as_dict(),
            }
            if self.upload is not None:
                named[self.upload.value] = True
            return super().as_dict() | without_none(named)

    class Output(inputs.Output):
        """A choice as a result; it fits inputs that have the same choices."""

        def __init__(
            self,
            id: str | None = None,
            display_name: str | None = None,
            options: Sequence[str] | None = None,
            tooltip: str | None = None,
            is_output_list: bool = False,
        ) -> None:
            super().__init__(id, display_name, tooltip, is_output_list)
            self.options = list(options or [])

        @property
        def io_type(self) -> Any:
            return self.options


def _choices(options: Any) -> list[Any] | None:
    if isinstance(options, type) and issubclass(options, Enum):
        return [member.value for member in options]
    return None if options is None else list(options)


class MultiType(ComfyType, io_type="COMFY_MULTITYPED_V3"):
    """An input that takes several types."""

    class Input(inputs.Input):
        """`id` may be a widget input, which then is shown where nothing is linked."""

        def __init__(
            self,
            id: str | inputs.Input,
            types: Sequence[type[ComfyType]],
            display_name: str | None = None,
            optional: bool = False,
            tooltip: str | None = None,
            lazy: bool | None = None,
            extra_dict: Mapping[str, Any] | None = None,
            raw_link: bool | None = None,
            advanced: bool | None = None,
        ) -> None:
            self.widget = id if isinstance(id, Input) else None
            if isinstance(id, Input):
                optional, tooltip = id.optional or optional, id.tooltip or tooltip
                display_name = id.display_name or display_name
            name = id.id if isinstance(id, Input) else id
            super().__init__(
                name, display_name, optional, tooltip, lazy, extra_dict, raw_link, advanced
            )
            self.io_types = list(types)

        def get_io_type(self) -> str:
            names = [self.widget.get_io_type()] if self.widget else []
            return ",".join(dict.fromkeys([*names, *(each.io_type for each in self.io_types)]))

        def as_dict(self) -> dict[str, Any]:
            if self.widget is None:
                return super().as_dict()
            widget_type = {"widgetType": self.widget.get_io_type()}
            return self.widget.as_dict() | widget_type | super().as_dict()


class AnyType(ComfyType, io_type="*"):
    """Connects to everything."""


class Image(ComfyType, io_type="IMAGE"):
    """float32 [B, H, W, C] in 0..1."""


class Mask(ComfyType, io_type="MASK"):
    """float32 [B, H, W] in 0..1."""


class Latent(ComfyType, io_type="LATENT"):
    """`{"samples": [B, 4, H/8, W/8], "noise_mask"?: ..., "batch_index"?: [int]}`."""


class Conditioning(ComfyType, io_type="CONDITIONING"):
    """List of (tensor [B, tokens, channels], options)."""


class Model(ComfyType, io_type="MODEL"):
    """A diffusion model."""


class Clip(ComfyType, io_type="CLIP"):
    """A text encoder with its tokenizer."""


class Vae(ComfyType, io_type="VAE"):
    """Pictures to latents and back."""


class ClipVision(ComfyType, io_type="CLIP_VISION"):
    """A picture encoder."""


class ClipVisionOutput(ComfyType, io_type="CLIP_VISION_OUTPUT"):
    """What a picture encoder gives."""


class ControlNet(ComfyType, io_type="CONTROL_NET"):
    """A model that steers another by a picture."""


class StyleModel(ComfyType, io_type="STYLE_MODEL"):
    """A model that steers another by a style."""


class UpscaleModel(ComfyType, io_type="UPSCALE_MODEL"):
    """A model that enlarges pictures."""


class LoraModel(ComfyType, io_type="LORA_MODEL"):
    """Weights of a LoRA."""


class Sampler(ComfyType, io_type="SAMPLER"):
    """A way to step through the noise levels."""


class Sigmas(ComfyType, io_type="SIGMAS"):
    """float32 [steps + 1], noise levels in falling order."""


class Noise(ComfyType, io_type="NOISE"):
    """A source of noise."""


class Guider(ComfyType, io_type="GUIDER"):
    """A way to combine positive and negative."""


class Hooks(ComfyType, io_type="HOOKS"):
    """Changes to a model for some of the steps."""


class Audio(ComfyType, io_type="AUDIO"):
    """Sound."""


class Video(ComfyType, io_type="VIDEO"):
    """Moving pictures."""
