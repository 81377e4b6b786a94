"""What nodes know before a run: the engine and real ComfyUI refuse it with the same sentence."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from orchestrator.client.client import Client
from orchestrator.errors import JobRefused
from orchestrator.protocol import Graph

MODEL = "spriteworks-starter"
# What a loader is given; a graph may leave out all but the first four.
AUTO = {"precision": "auto", "attention": "auto", "vae_tiling": "auto", "offload": "auto"}
PICTURE = ["blank", 0]
FLAGS = ["flags", 0]


@pytest.fixture(
    scope="module", params=["engine", pytest.param("comfyui", marks=pytest.mark.comfyui)]
)
def client(request: pytest.FixtureRequest) -> Iterator[Client]:
    with Client(request.getfixturevalue(f"{request.param}_url")) as client:
        yield client


def graph(kind: str, inputs: dict[str, Any]) -> Graph:
    """The node that is looked at, with a picture and a mask before it, and what shows its value."""
    blank = {"width": 8, "height": 8, "batch_size": 1, "color": 0}
    return {
        "blank": {"class_type": "EmptyImage", "inputs": blank},
        "flags": {"class_type": "SpriteworksMask", "inputs": MASK | {"rule": "opaque"}},
        "it": {"class_type": f"Spriteworks{kind}", "inputs": inputs},
        "end": {
            "class_type": "SpriteworksMemoryReport",
            "inputs": {"value": ["it", 0], "label": ""},
        },
    }


MASK = {
    "image": PICTURE,
    "rule": "mask",
    "colour": "#ffffff",
    "tolerance": 0.1,
    "invert": False,
    "grow": 0,
    "true_pixels": False,
}
PALETTE = {"image": PICTURE, "colors": 16, "palette": "", "dither": False}
SNAP = {
    "image": PICTURE,
    "width": 0,
    "height": 0,
    "pitch": 0.0,
    "colour": "median",
    "scale": 1,
    "sequence": False,
}
ALIGN = {
    "image": PICTURE,
    "pivot": "ground",
    "keep_height": False,
    "one_scale": False,
    "margin": 0,
    "width": 0,
    "height": 0,
}
SHEET = {
    "image": PICTURE,
    "animation": "walk",
    "fps": 10.0,
    "direction": "forward",
    "loop": True,
    "columns": 0,
    "padding": 2,
    "extrude": 1,
    "power_of_two": False,
    "max_size": 4096,
}
CROP = {
    "image": PICTURE,
    "mask": FLAGS,
    "width": 64,
    "height": 64,
    "context": 1.5,
    "grow": 4,
    "feather": 2,
}
CUTOUT = {"image": PICTURE, "tolerance": 0.15, "smallest_hole": 0.004}
RAMPS = {"image": PICTURE, "old": "red", "new": "blue", "both_ways": False, "palette": ""}
LOADER = {"model_name": MODEL, **AUTO}

# (class, inputs, a part of the sentence)
MISTAKES = [
    ("Palette", PALETTE | {"palette": "nonsense"}, "'nonsense' is no palette: write hex colours"),
    ("Palette", PALETTE | {"palette": "#fff000 #12"}, "'#12' in the palette is no colour"),
    (
        "Palette",
        PALETTE | {"palette": "pico-8", "from_image": PICTURE},
        "Give the palette as a text or as a picture, not both.",
    ),
    ("SwapRamp", RAMPS | {"old": "#12"}, "'#12' in the palette is no colour"),
    ("SwapRamp", RAMPS | {"palette": "pico-8", "old": "mauve"}, "There is no ramp 'mauve'."),
    ("Quality", {"image": PICTURE, "palette": "zz"}, "'zz' in the palette is no colour"),
    ("Cutout", CUTOUT | {"outline_colour": "dark"}, "'dark' is no hex colour"),
    ("InpaintCrop", CROP | {"background": "paper"}, "The background 'paper' is no colour"),
    ("Mask", MASK, "The rule is 'mask', and none is given"),
    ("Mask", MASK | {"rule": "colour", "colour": "leaf"}, "'leaf' is no colour"),
    ("Mask", MASK | {"rule": "magic"}, "rule cannot be 'magic': choose one of mask, "),
    ("Snap", SNAP | {"height": 32}, "Give the true width, too"),
    ("Snap", SNAP | {"width": 100_000}, "width cannot be 100000: 16384 is the most."),
    ("AlignFrames", ALIGN | {"width": 32}, "Give width and height of the canvas"),
    ("SpriteSheet", SHEET | {"columns": 4, "rotate": True}, "A grid has a cell for each frame"),
    (
        "DiffusersLoader",
        LOADER | {"model_name": "spriteworks-start"},
        "Did you mean 'spriteworks-starter'?",
    ),
    (
        "CheckpointLoader",
        AUTO | {"ckpt_name": "gone.ckpt"},
        "There is no checkpoint named 'gone.ckpt'",
    ),
    ("StableDiffusionLoader", AUTO | {"version": "sd21"}, "Turn on download to fetch it"),
    ("StableDiffusionLoader", AUTO | {"version": "sd9"}, "version cannot be 'sd9'"),
    (
        "DiffusersLoader",
        LOADER | {"precision": "fp8", "quantization": "int8"},
        "precision fp8 and quantization both change how the UNet's weights are stored",
    ),
    ("DiffusersLoader", LOADER | {"vae_overlap": 512}, "more than a quarter of vae_tile 512"),
    (
        "DiffusersLoader",
        LOADER | {"compile": "whole", "offload": "sequential"},
        "compile whole and offload sequential exclude each other",
    ),
    ("DiffusersLoader", LOADER | {"precision": "fp99"}, "Setting precision cannot be 'fp99'"),
    (
        "DiffusersLoader",
        LOADER | {"attention": "xformers", "strict": True},
        "attention xformers is not possible: xformers",
    ),
]


@pytest.mark.parametrize(
    ("kind", "inputs", "sentence"), MISTAKES, ids=[f"{k}-{s[:24]}" for k, _, s in MISTAKES]
)
def test_a_mistake_is_refused_in_one_sentence(
    client: Client, kind: str, inputs: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(JobRefused) as caught:
        client.submit(graph(kind, inputs))
    (found,) = caught.value.problems
    assert found.node_id == "it"
    assert sentence in found.details
    assert "comfy_nodes" not in str(found)


@pytest.mark.parametrize(
    ("kind", "inputs"),
    [
        ("Palette", PALETTE | {"palette": "pico-8"}),
        ("SwapRamp", RAMPS),
        ("Mask", MASK | {"mask": FLAGS}),
        ("Snap", SNAP | {"width": 8}),
        ("DiffusersLoader", LOADER | {"precision": "fp8", "strict": True}),
        # What is linked is not known before the run.
        ("DiffusersLoader", LOADER | {"vae_overlap": 512, "vae_tile": ["size", 2]}),
        ("Snap", SNAP | {"height": 8, "width": ["size", 2]}),
    ],
)
def test_what_may_be_right_is_taken(client: Client, kind: str, inputs: dict[str, Any]) -> None:
    # A text makes no picture, so the run itself ends early; it is refused only where it is wrong.
    size = {"size": {"class_type": "SpriteworksAlignFrames", "inputs": ALIGN}}
    job = client.submit(graph(kind, inputs) | size)
    client.cancel(job.prompt_id)
