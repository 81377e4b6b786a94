"""LoRAs on tiny real models: every format changes the same weights, in copies."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from comfy_nodes.errors import ModelUnreadable, UnsupportedModel
from comfy_nodes.settings import LoaderSettings
from orchestrator.engine.handles.handles import Loaded
from orchestrator.engine.models.loading import load_diffusers
from orchestrator.engine.models.lora import apply_lora, read_lora
from orchestrator.engine.models.names import UnetNames

ATTENTION = "down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_out.0"
CONVOLUTION = "down_blocks.1.resnets.0.conv1"
TEXT = "text_model.encoder.layers.1.self_attn.q_proj"
RANK, ALPHA = 3, 6.0
Weights = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def loaded(tiny_models: Path) -> Loaded:
    return load_diffusers(tiny_models / "tiny-sdxl", LoaderSettings())


def kohya(name: str) -> str:
    return f"lora_unet_{name.replace('.', '_')}"


def pair(up_key: str, down_key: str, shape: torch.Size) -> tuple[Weights, torch.Tensor]:
    """A LoRA's two matrices for a weight of that shape, and what they multiply out to."""
    generator = torch.Generator().manual_seed(0)
    up = torch.randn(shape[0], RANK, generator=generator)
    down = torch.randn(RANK, *shape[1:], generator=generator)
    product = (up @ down.flatten(1)).reshape(shape)
    if len(shape) == 4:
        up = up[..., None, None]
    return {up_key: up, down_key: down}, product


def weight(loaded: Loaded, name: str) -> torch.Tensor:
    found: torch.Tensor = loaded.model.unet.module.get_parameter(f"{name}.weight")
    return found


def originals(loaded: Loaded) -> UnetNames:
    return UnetNames(loaded.model.unet.module.config)


FORMATS: dict[str, Callable[[Loaded, str], tuple[str, str]]] = {
    "kohya": lambda m, n: (f"{kohya(n)}.lora_up.weight", f"{kohya(n)}.lora_down.weight"),
    "original names": lambda m, n: (
        f"{kohya(originals(m).original(n + '.weight')[:-7])}.lora_up.weight",
        f"{kohya(originals(m).original(n + '.weight')[:-7])}.lora_down.weight",
    ),
    "peft": lambda m, n: (f"unet.{n}.lora_B.weight", f"unet.{n}.lora_A.weight"),
    "diffusers": lambda m, n: (
        f"unet.{n.replace('.to_out.0', '.processor.to_out')}_lora.up.weight",
        f"unet.{n.replace('.to_out.0', '.processor.to_out')}_lora.down.weight",
    ),
}


# diffusers' older files know attention only.
CASES = [(style, ATTENTION) for style in FORMATS]
CASES += [(style, CONVOLUTION) for style in FORMATS if style != "diffusers"]


@pytest.mark.parametrize(("style", "name"), CASES)
def test_every_format_finds_its_weight(loaded: Loaded, style: str, name: str) -> None:
    before = weight(loaded, name).clone()
    lora, product = pair(*FORMATS[style](loaded, name), before.shape)
    model, clip = apply_lora(loaded.model, loaded.clip, lora, 0.5, 1.0)
    torch.testing.assert_close(
        model.unet.module.get_parameter(f"{name}.weight"), before + 0.5 * product
    )
    assert torch.equal(weight(loaded, name), before)
    assert clip.encoders[0].part is loaded.clip.encoders[0].part


def test_alpha_is_divided_by_the_rank(loaded: Loaded) -> None:
    key = kohya(ATTENTION)
    before = weight(loaded, ATTENTION)
    lora, product = pair(f"{key}.lora_up.weight", f"{key}.lora_down.weight", before.shape)
    lora[f"{key}.alpha"] = torch.tensor(ALPHA)
    model, _ = apply_lora(loaded.model, loaded.clip, lora, 1.0, 1.0)
    after = model.unet.module.get_parameter(f"{ATTENTION}.weight")
    torch.testing.assert_close(after, before + ALPHA / RANK * product, rtol=1e-5, atol=1e-5)


def test_a_middle_matrix_carries_the_kernel(loaded: Loaded) -> None:
    key, before = kohya(CONVOLUTION), weight(loaded, CONVOLUTION)
    outs, ins = before.shape[:2]
    up, middle, down = (
        torch.randn(outs, RANK),
        torch.randn(RANK, RANK, 3, 3),
        torch.randn(RANK, ins),
    )
    lora = {
        f"{key}.lora_up.weight": up[..., None, None],
        f"{key}.lora_mid.weight": middle,
        f"{key}.lora_down.weight": down[..., None, None],
    }
    model, _ = apply_lora(loaded.model, loaded.clip, lora, 1.0, 1.0)
    expected = before + torch.einsum("or,rskl,si->oikl", up, middle, down)
    after = model.unet.module.get_parameter(f"{CONVOLUTION}.weight")
    torch.testing.assert_close(after, expected, rtol=1e-4, atol=1e-4)


def test_a_whole_difference_is_added(loaded: Loaded) -> None:
    before = weight(loaded, ATTENTION)
    lora = {f"{kohya(ATTENTION)}.diff": torch.ones_like(before)}
    model, _ = apply_lora(loaded.model, loaded.clip, lora, -2.0, 1.0)
    torch.testing.assert_close(model.unet.module.get_parameter(f"{ATTENTION}.weight"), before - 2.0)


@pytest.mark.parametrize(
    ("key", "encoder"),
    [
        (f"lora_te1_{TEXT.replace('.', '_')}", 0),
        (f"lora_te2_{TEXT.replace('.', '_')}", 1),
        (f"lora_te_{TEXT.replace('.', '_')}", 0),
        (f"text_encoder_2.{TEXT}", 1),
    ],
)
def test_text_encoders_are_told_apart(loaded: Loaded, key: str, encoder: int) -> None:
    def query(handles: Loaded, index: int) -> torch.Tensor:
        network = handles.clip.encoders[index].part.module
        core = getattr(network, "text_model", network)
        found: torch.Tensor = core.encoder.layers[1].self_attn.q_proj.weight
        return found

    before = query(loaded, encoder).clone()
    lora, product = pair(f"{key}.lora_up.weight", f"{key}.lora_down.weight", before.shape)
    model, clip = apply_lora(loaded.model, loaded.clip, lora, 1.0, 0.25)
    assert model.unet is loaded.model.unet
    changed = Loaded(model, clip, loaded.vae, loaded.profile)
    torch.testing.assert_close(query(changed, encoder), before + 0.25 * product)
    assert torch.equal(query(changed, 1 - encoder), query(loaded, 1 - encoder))


def test_unchanged_weights_are_shared(loaded: Loaded) -> None:
    before = weight(loaded, ATTENTION)
    lora = {f"{kohya(ATTENTION)}.diff": torch.ones_like(before)}
    model, _ = apply_lora(loaded.model, loaded.clip, lora, 1.0, 1.0)
    theirs = dict(loaded.model.unet.module.named_parameters())
    separate = [
        name
        for name, parameter in model.unet.module.named_parameters()
        if parameter.data_ptr() != theirs[name].data_ptr()
    ]
    assert separate == [f"{ATTENTION}.weight"]


def refusal(loaded: Loaded, lora: Weights) -> str:
    with pytest.raises(UnsupportedModel) as caught:
        apply_lora(loaded.model, loaded.clip, lora, 1.0, 1.0, "style.safetensors")
    return str(caught.value)


def test_a_lora_that_fits_nothing_is_refused(loaded: Loaded) -> None:
    said = refusal(loaded, {"lora_unet_none.diff": torch.ones(1)})
    assert said == (
        "style.safetensors was made for another kind of model: none of its 1 weights has a place "
        "in this one, as lora_unet_none.diff."
    )


def test_a_lora_that_fits_in_part_is_refused(loaded: Loaded) -> None:
    lora, _ = pair("x.lora_up.weight", "x.lora_down.weight", torch.Size([4, 4]))
    lora[f"{kohya(ATTENTION)}.diff"] = torch.ones_like(weight(loaded, ATTENTION))
    said = refusal(loaded, lora)
    assert "2 of its 3 weights have no place" in said
    assert "x.lora_up.weight" in said


@pytest.mark.parametrize("change", ["rows", "columns", "rank", "whole"])
def test_weights_of_another_shape_are_refused(loaded: Loaded, change: str) -> None:
    key, shape = kohya(ATTENTION), weight(loaded, ATTENTION).shape
    up, down = f"{key}.lora_up.weight", f"{key}.lora_down.weight"
    wrong = {
        "rows": torch.Size([shape[0] * 2, shape[1] // 2]),
        "columns": torch.Size([shape[0], shape[1] + 1]),
    }
    lora, _ = pair(up, down, wrong.get(change, shape))
    if change == "rank":
        lora[up] = torch.ones(shape[0], RANK + 1)
    elif change == "whole":
        lora = {f"{key}.diff": torch.ones(shape[0], 1)}
    said = refusal(loaded, lora)
    assert f"for {key} have another shape" in said


def kinds(key: str, shape: torch.Size) -> dict[str, Weights]:
    """What other trainers write for a weight of that shape, beside or in place of a LoRA."""
    lora, _ = pair(f"{key}.lora_up.weight", f"{key}.lora_down.weight", shape)
    left, right = torch.ones(shape[0], RANK), torch.ones(RANK, shape[1])
    halves = {
        f"{key}.hada_w{i}_{side}": m.clone()
        for i in (1, 2)
        for side, m in (("a", left), ("b", right))
    }
    return {
        "loha": halves,
        "lokr": {
            f"{key}.lokr_w1": torch.ones(2, 2),
            f"{key}.lokr_w2": torch.ones(shape[0] // 2, shape[1] // 2),
        },
        "dora": lora | {f"{key}.dora_scale": torch.ones(1, shape[1])},
        "diff_b": {f"{key}.diff": torch.ones(shape), f"{key}.diff_b": torch.ones(shape[0])},
        "oft": {f"{key}.oft_blocks": torch.ones(2, 4, 4)},
        "norm": {f"{key}.w_norm": torch.ones(shape[0]), f"{key}.b_norm": torch.ones(shape[0])},
        "set": {f"{key}.set_weight": torch.ones(shape)},
    }


@pytest.mark.parametrize(
    ("kind", "named"),
    [
        ("loha", "hada_w1_a, hada_w1_b, hada_w2_a, hada_w2_b"),
        ("lokr", "lokr_w1, lokr_w2"),
        ("dora", "dora_scale"),
        ("diff_b", "diff_b"),
        ("oft", "oft_blocks"),
        ("norm", "b_norm, w_norm"),
        ("set", "set_weight"),
    ],
)
def test_other_kinds_are_refused_and_named(loaded: Loaded, kind: str, named: str) -> None:
    key = kohya(ATTENTION)
    said = refusal(loaded, kinds(key, weight(loaded, ATTENTION).shape)[kind])
    assert f"does not apply: {named}, as in {key}." in said
    assert "--comfyui" in said


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "style.safetensors"
    save_file({"a": torch.ones(2)}, path)
    assert list(read_lora(path)) == ["a"]
    path.write_bytes(b"cut")
    with pytest.raises(ModelUnreadable, match=r"style\.safetensors"):
        read_lora(path)
