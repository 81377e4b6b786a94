"""Number formats and shapes of weights after loading, on layers such as ComfyUI's are."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from comfy_nodes.native.loaded_weights import count_dtypes, set_dtypes, shape_mismatch

FP32, FP16, BF16, FP8 = torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn


class Casting(nn.Linear):
    """A linear layer that can be told to cast its weights, and notes what it was built with."""

    comfy_cast_weights = False

    def __init__(self, rows: int, columns: int, dtype: torch.dtype) -> None:
        super().__init__(columns, rows, dtype=dtype)
        self.weight_comfy_model_dtype = self.bias_comfy_model_dtype = dtype


def network(*dtypes: torch.dtype) -> Any:
    layers = [Casting(8, 8, FP16 if dtype is FP8 else dtype) for dtype in dtypes]
    for layer, dtype in zip(layers, dtypes, strict=True):
        layer.weight = nn.Parameter(layer.weight.detach().to(dtype), requires_grad=False)
    return nn.Sequential(*layers)


def casting(layers: Any) -> list[bool]:
    return [layer.comfy_cast_weights for layer in layers]


def test_a_named_format_is_stored_in_all_layers() -> None:
    layers = network(FP16, FP32)
    set_dtypes(layers, computed=BF16, stored=BF16)
    assert set(count_dtypes(layers)) == {BF16}
    assert casting(layers) == [False, False]


def test_layers_cast_what_is_stored_otherwise() -> None:
    layers = network(FP16, FP16)
    set_dtypes(layers, computed=FP32, stored=FP16)
    assert set(count_dtypes(layers)) == {FP16}
    assert casting(layers) == [True, True]


def test_left_open_it_is_the_format_that_most_numbers_have() -> None:
    layers = network(FP16, FP32, FP16)
    set_dtypes(layers, computed=FP32, stored=None)
    assert set(count_dtypes(layers)) == {FP16}
    assert casting(layers) == [True, True, True]


def test_left_open_weights_of_8_bits_stay_and_are_cast() -> None:
    layers = network(FP8, FP16)
    set_dtypes(layers, computed=FP16, stored=None)
    assert layers[0].weight.dtype is FP8
    assert casting(layers) == [True, False]


def test_what_dynamic_memory_casts_to_is_what_is_computed_in() -> None:
    layers = network(FP16)
    set_dtypes(layers, computed=BF16, stored=None)
    assert layers[0].weight_comfy_model_dtype is BF16


def test_text_encoders_keep_what_they_were_built_with() -> None:
    layers = network(FP32)
    set_dtypes(layers, computed=None, stored=FP16)
    assert layers[0].weight_comfy_model_dtype is FP32
    assert casting(layers) == [False]


def test_a_weight_that_no_layer_casts_is_told_its_format() -> None:
    owner = nn.Module()
    owner.scale = nn.Parameter(torch.tensor(4.6))
    owner.scale_comfy_model_dtype = FP32
    set_dtypes(owner, computed=None, stored=FP16)
    assert owner.scale.dtype is owner.scale_comfy_model_dtype is FP16


@pytest.mark.parametrize(
    ("name", "shape", "said"),
    [
        ("weight", (8, 7), "0.weight is [8, 7], not [8, 8]"),
        ("bias", (9,), "0.bias is [9], not [8]"),
        ("weight", None, "0.weight is missing"),
    ],
)
def test_a_wrong_or_missing_weight_is_named(
    name: str, shape: tuple[int, ...] | None, said: str
) -> None:
    layers = network(FP32)
    setattr(layers[0], name, None if shape is None else nn.Parameter(torch.zeros(shape)))
    assert shape_mismatch(layers) == said


def test_an_embedding_of_another_size_is_named() -> None:
    table = nn.Embedding(10, 4)
    table.weight = nn.Parameter(torch.zeros(11, 4))
    assert shape_mismatch(nn.Sequential(table)) == "0.weight is [11, 4], not [10, 4]"


def test_right_shapes_are_right() -> None:
    assert shape_mismatch(nn.Sequential(nn.Embedding(3, 2), nn.Linear(2, 2, bias=False))) is None
