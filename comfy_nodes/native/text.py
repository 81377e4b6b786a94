"""diffusers text encoders and tokenizers as ComfyUI's CLIP.

The parts keep ComfyUI's own names (clip_l, clip_h, clip_g), so LoRA loaders find their layers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from typing import Any

import comfy.clip_model
import comfy.sd
import comfy.sd1_clip
import comfy.sdxl_clip
import comfy.supported_models_base
import torch
from transformers import CLIPTokenizer

from ..errors import ModelUnreadable, UnsupportedModel
from ..models import Family
from ..profiles import read_json
from ..vocabulary import vocabulary_of, warning
from ..weights.files import Weights, read_part
from .compat import without_dynamic_memory
from .loaded_weights import mismatch, shape_mismatch
from .telling import tell

_PROJECTION = "text_projection.weight"
_LoadedSd = tuple[list[str], list[str]]  # names that are missing, and that have no place
_ACTIVATIONS = ("quick_gelu", "gelu", "gelu_pytorch_tanh")


@dataclass(frozen=True)
class TextPart:
    """One text encoder of a folder: its config.json, tokenizer folder, special tokens, weights."""

    config: Mapping[str, Any]
    tokenizer: Path
    tokens: Mapping[str, int]  # start, end, pad
    weights: Weights


def read_text_parts(folder: Path, family: Family, *, half: bool) -> list[TextPart]:
    """The text encoders of a diffusers folder: two for XL, else one."""
    suffixes = ("", "_2") if family is Family.SDXL else ("",)
    return [
        _read_part(folder / f"text_encoder{suffix}", folder / f"tokenizer{suffix}", half=half)
        for suffix in suffixes
    ]


def build_clip(
    family: Family,
    parts: list[TextPart],
    *,
    embeddings: list[Path],
    options: Mapping[str, Any],
    dynamic: bool,
) -> Any:
    """ComfyUI's CLIP. `options` may have dtype, load_device and offload_device.

    `dynamic`: in dynamic memory, where ComfyUI has that. Raises ModelUnreadable where the weights
    do not fit.
    """
    target, build = _target(family, parts), comfy.sd.CLIP
    more = {} if dynamic else without_dynamic_memory(build)
    # Newer versions load a model that is on its device already at once, so the weights go along.
    at_once = "state_dict" in signature(build).parameters
    clip = build(
        target,
        embedding_directory=[str(path) for path in embeddings],
        tokenizer_data=dict(target.params),
        parameters=sum(w.numel() for part in parts for w in part.weights.values()),
        model_options=dict(options),
        **({"state_dict": [parts]} if at_once else {}),
        **more,
    )
    if not at_once:
        clip.load_sd(parts)
    return clip


def _target(family: Family, parts: list[TextPart]) -> Any:
    """ComfyUI's note of which classes tokenize and encode, and with what."""
    if family is Family.SDXL:
        target = comfy.supported_models_base.ClipTarget(_XLTokenizer, _XLTextModel)
        target.params = {"parts": parts}
        return target
    target = comfy.supported_models_base.ClipTarget(_Tokenizer, _TextModel)
    target.params = {"part": parts[0], "letter": "h" if family is Family.SD2 else "l"}
    return target


def _read_part(folder: Path, tokenizer: Path, *, half: bool) -> TextPart:
    config = read_json(folder / "config.json")
    for key, allowed in {"hidden_act": _ACTIVATIONS, "layer_norm_eps": (1e-5,)}.items():
        if config.get(key, allowed[0]) not in allowed:
            raise UnsupportedModel(
                f"The text encoder has {key} {config[key]!r}; supported is "
                f"{' or '.join(map(str, allowed))}."
            )
    weights = _with_prefix(read_part(folder, "model", half=half))
    weights.pop("text_model.embeddings.position_ids", None)  # a counter that old files carry
    return TextPart(config, tokenizer, _special_tokens(tokenizer), weights)


def _with_prefix(weights: Weights) -> Weights:
    """The weights under the names that transformers gave them before 5.0, which ComfyUI knows."""
    apart = ("text_model.", "text_projection.")
    return {
        key if key.startswith(apart) else f"text_model.{key}": tensor
        for key, tensor in weights.items()
    }


def _special_tokens(folder: Path) -> dict[str, int]:
    if not folder.is_dir():
        raise ModelUnreadable(
            f"There is no {folder.parent.name}/{folder.name}: download the whole folder again."
        )
    try:
        tokenizer = CLIPTokenizer.from_pretrained(str(folder), local_files_only=True)
    except (OSError, ValueError) as error:
        raise ModelUnreadable(
            f"{folder.parent.name}/{folder.name} cannot be read ({error}): download it again."
        ) from error
    return {
        "start": tokenizer.bos_token_id,
        "end": tokenizer.eos_token_id,
        "pad": tokenizer.pad_token_id,
    }


class _Transformer(comfy.clip_model.CLIPTextModel):
    """ComfyUI's CLIP transformer with the folder's own vocabulary and projection sizes."""

    def __init__(self, config: dict[str, Any], dtype: Any, device: Any, operations: Any) -> None:
        super().__init__(config, dtype, device, operations)
        width = config["hidden_size"]
        kind = {"dtype": dtype, "device": device}
        self.set_input_embeddings(operations.Embedding(config["vocab_size"], width, **kind))
        projected = config.get("projection_dim") or width
        self.text_projection = operations.Linear(width, projected, bias=False, **kind)


class _Part(comfy.sd1_clip.SDClipModel):
    """One text encoder."""

    def __init__(self, part: TextPart, name: str, options: Mapping[str, Any], **kind: Any) -> None:
        config = {
            **part.config,
            "eos_token_id": part.tokens["end"],
        }
        super().__init__(
            max_length=config["max_position_embeddings"],
            textmodel_json_config=config,
            model_class=_Transformer,
            special_tokens=dict(part.tokens),
            model_options={**options, "model_name": name},
            **kind,
        )

    def load_part(self, part: TextPart) -> None:
        """Fills in the weights. Raises ModelUnreadable when they do not fit."""
        try:
            missing, unknown = self.load_sd(part.weights)
        except RuntimeError as error:
            raise mismatch("text encoder", str(error)) from error
        lost = [key for key in missing if key != _PROJECTION]
        if lost or unknown:
            raise mismatch("text encoder", f"{[*lost, *unknown][0]} is missing or has no place")
        if _PROJECTION not in part.weights:  # the host multiplies by it even where nobody asks
            _zero(self.transformer.text_projection)
        wrong = shape_mismatch(self.transformer)
        if wrong:
            raise mismatch("text encoder", wrong)


class _TextModel(comfy.sd1_clip.SD1ClipModel):
    """The text encoder of the 1.x and 2.x families: last layer, final norm, as they were trained.

    diffusers folders of 2.x leave out the layer that ComfyUI's single-file loader skips.
    """

    def __init__(
        self,
        part: TextPart,
        letter: str,
        device: Any = "cpu",
        dtype: Any = None,
        model_options: Any = None,
    ) -> None:
        def build(device: Any, dtype: Any, model_options: Any) -> _Part:
            return _Part(
                part,
                f"clip_{letter}",
                model_options,
                device=device,
                dtype=dtype,
                return_projected_pooled=False,
            )

        super().__init__(device, dtype, model_options or {}, clip_name=letter, clip_model=build)

    def load_sd(self, sd: list[TextPart]) -> _LoadedSd:
        """Fills in the weights; ComfyUI's name for it, which is called by its CLIP."""
        getattr(self, self.clip).load_part(sd[0])
        return [], []


class _XLTextModel(comfy.sdxl_clip.SDXLClipModel):
    """Both text encoders of XL: the last but one layer of each, the second one's pooled text."""

    def __init__(
        self,
        parts: list[TextPart],
        device: Any = "cpu",
        dtype: Any = None,
        model_options: Any = None,
    ) -> None:
        torch.nn.Module.__init__(self)  # the host's would build its own sizes
        kind = {"layer": "hidden", "layer_idx": -2, "layer_norm_hidden_state": False}
        where = {"device": device, "dtype": dtype}
        self.clip_l = _Part(parts[0], "clip_l", model_options or {}, **kind, **where)
        self.clip_g = _Part(parts[1], "clip_g", model_options or {}, **kind, **where)
        self.dtypes = {dtype}

    def load_sd(self, sd: list[TextPart]) -> _LoadedSd:
        """Fills in the weights; ComfyUI's name for it, which is called by its CLIP."""
        self.clip_l.load_part(sd[0])
        self.clip_g.load_part(sd[1])
        return [], []


def _tokenizer(part: TextPart, key: str, embeddings: Any) -> Any:
    return comfy.sd1_clip.SDTokenizer(
        tokenizer_path=str(part.tokenizer),
        max_length=part.config["max_position_embeddings"],
        embedding_directory=embeddings,
        embedding_size=part.config["hidden_size"],
        embedding_key=key,
        end_token=part.tokens["end"],
        pad_token=part.tokens["pad"],
    )


class _Tokenizer(comfy.sd1_clip.SD1Tokenizer):
    """The tokenizer of a 1.x or 2.x folder; it tells of words that the model does not know."""

    def __init__(self, embedding_directory: Any = None, tokenizer_data: Any = None) -> None:
        self.clip_name = tokenizer_data["letter"]
        self.clip = f"clip_{self.clip_name}"
        part = tokenizer_data["part"]
        setattr(self, self.clip, _tokenizer(part, self.clip, embedding_directory))
        self._model = part.tokenizer.parent.name
        self._words = vocabulary_of(part.tokenizer.parent)

    def tokenize_with_weights(self, text: str, *args: Any, **kwargs: Any) -> Any:
        """ComfyUI's own, for a text node that runs."""
        unknown = self._words.unknown(text) if self._words else []
        if unknown:
            tell(warning(self._model, unknown))
        return super().tokenize_with_weights(text, *args, **kwargs)


class _XLTokenizer(comfy.sdxl_clip.SDXLTokenizer):
    """Both tokenizers of an XL folder."""

    def __init__(self, embedding_directory: Any = None, tokenizer_data: Any = None) -> None:
        first, second = tokenizer_data["parts"]
        self.clip_l = _tokenizer(first, "clip_l", embedding_directory)
        self.clip_g = _tokenizer(second, "clip_g", embedding_directory)


def _zero(layer: Any) -> None:
    """A linear layer that gives zero; before it was loaded it may have no weight at all."""
    shape = (layer.out_features, layer.in_features)
    layer.weight = torch.nn.Parameter(torch.zeros(shape), requires_grad=False)
