"""Core nodes that load models and encode texts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ..handles.handles import Clip, Model
from ..host import CoreNode, context, io
from ..models.loading import load_checkpoint_as_comfyui
from ..models.lora import apply_lora, read_lora
from ..sampling.conditioning import encode_text


class CheckpointLoaderSimple(CoreNode):
    """A single-file checkpoint."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Id, inputs and outputs."""
        return io.Schema(
            node_id="CheckpointLoaderSimple",
            display_name="Load Checkpoint",
            category="model/loaders",
            description="Loads a Stable Diffusion checkpoint: its denoiser, text encoder and VAE.",
            inputs=[
                io.Combo.Input(
                    "ckpt_name",
                    options=list(context().folders.models("checkpoints")),
                    tooltip="File in the checkpoints folder.",
                )
            ],
            outputs=[
                io.Model.Output(tooltip="Takes the noise out of latents."),
                io.Clip.Output(tooltip="Encodes texts."),
                io.Vae.Output(tooltip="Turns pictures into latents and back."),
            ],
        )

    @classmethod
    def execute(cls, ckpt_name: str) -> io.NodeOutput:
        """MODEL, CLIP and VAE."""
        folders = context().folders
        path = folders.find("checkpoints", ckpt_name)
        loaded = load_checkpoint_as_comfyui(path)
        clip = replace(loaded.clip, embeddings=tuple(folders.model_folders("embeddings")))
        return io.NodeOutput(loaded.model, clip, loaded.vae)


class LoraLoader(CoreNode):
    """A LoRA over a model and its text encoder."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Id, inputs and outputs."""
        strength: dict[str, Any] = {"default": 1.0, "min": -100.0, "max": 100.0, "step": 0.01}
        return io.Schema(
            node_id="LoraLoader",
            display_name="Load LoRA (Model and CLIP)",
            category="model/loaders",
            description="Changes a model and its text encoder by a LoRA, for example towards a "
            "style. Several can be put in a row.",
            essentials_category="Image Generation",
            inputs=[
                io.Model.Input("model", tooltip="The model to change."),
                io.Clip.Input("clip", tooltip="The text encoder to change."),
                io.Combo.Input(
                    "lora_name",
                    options=list(context().folders.models("loras")),
                    tooltip="File in the loras folder.",
                ),
                io.Float.Input(
                    "strength_model", tooltip="Weight in the model; may be negative.", **strength
                ),
                io.Float.Input(
                    "strength_clip",
                    tooltip="Weight in the text encoder; may be negative.",
                    **strength,
                ),
            ],
            outputs=[
                io.Model.Output(tooltip="The changed model."),
                io.Clip.Output(tooltip="The changed text encoder."),
            ],
        )

    @classmethod
    def execute(
        cls, model: Model, clip: Clip, lora_name: str, strength_model: float, strength_clip: float
    ) -> io.NodeOutput:
        """Changed copies; the originals stay as they were. Raises UnsupportedModel."""
        if strength_model == 0 and strength_clip == 0:
            return io.NodeOutput(model, clip)
        path = context().folders.find("loras", lora_name)
        lora = read_lora(path)
        return io.NodeOutput(
            *apply_lora(model, clip, lora, strength_model, strength_clip, path.name)
        )


class CLIPSetLastLayer(CoreNode):
    """Clip skip."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Id, inputs and outputs."""
        return io.Schema(
            node_id="CLIPSetLastLayer",
            display_name="CLIP Set Last Layer",
            category="model/conditioning",
            inputs=[
                io.Clip.Input("clip"),
                io.Int.Input(
                    "stop_at_clip_layer", default=-1, min=-24, max=-1, step=1, advanced=True
                ),
            ],
            outputs=[io.Clip.Output()],
        )

    @classmethod
    def execute(cls, clip: Clip, stop_at_clip_layer: int) -> io.NodeOutput:
        """A CLIP that gives that layer, counted from the end."""
        return io.NodeOutput(replace(clip, layer=stop_at_clip_layer))


class CLIPTextEncode(CoreNode):
    """Text to conditioning."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Id, inputs and outputs."""
        return io.Schema(
            node_id="CLIPTextEncode",
            display_name="CLIP Text Encode (Prompt)",
            category="model/conditioning",
            description="Encodes a text, so that it can guide the sampler.",
            inputs=[
                io.String.Input(
                    "text", multiline=True, dynamic_prompts=True, tooltip="What to encode."
                ),
                io.Clip.Input("clip", tooltip="The text encoder to use."),
            ],
            outputs=[io.Conditioning.Output(tooltip="The encoded text.")],
        )

    @classmethod
    def execute(cls, text: str, clip: Clip) -> io.NodeOutput:
        """CONDITIONING."""
        return io.NodeOutput(encode_text(clip, text))


MODEL_NODES = [CheckpointLoaderSimple, LoraLoader, CLIPSetLastLayer, CLIPTextEncode]
