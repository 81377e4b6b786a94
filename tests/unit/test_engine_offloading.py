"""Where a model's weights lie before, while and after they are used."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from comfy_nodes.hardware import Device
from comfy_nodes.placing import Memory, place
from comfy_nodes.settings import LoaderSettings, MemoryFormat, Offload, Precision
from orchestrator.engine.handles.handles import Part
from orchestrator.engine.handles.offloading import lent, lent_by_layer
from orchestrator.engine.models.loading import load_diffusers
from orchestrator.engine.tuning.parts import text_part, unet_part, vae_handle

CPU, META = torch.device("cpu"), torch.device("meta")


class Places(nn.Module):
    """A layer that notes where its own and its neighbours' weights are while it computes."""

    def __init__(self, notes: list[list[str]], among: list[Places]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(4, 4), requires_grad=False)
        self.register_buffer("shift", torch.zeros(4))
        self._notes = notes
        self._among = among
        among.append(self)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        assert self.shift.device == self.weight.device
        self._notes.append([layer.weight.device.type for layer in self._among])
        return x @ self.weight + self.shift


def layers() -> tuple[nn.Module, list[list[str]]]:
    notes: list[list[str]] = []
    among: list[Places] = []
    return nn.Sequential(Places(notes, among), Places(notes, among)), notes


@pytest.mark.parametrize(
    ("by_layer", "during"),
    [(False, [["meta"] * 2] * 2), (True, [["meta", "cpu"], ["cpu", "meta"]])],
)
def test_weights_are_on_the_device_only_while_they_are_needed(
    by_layer: bool, during: list[list[str]]
) -> None:
    network, notes = layers()
    before = [(name, id(tensor)) for name, tensor in network.state_dict(keep_vars=True).items()]
    # torch's device without memory stands for an accelerator.
    part = Part(network, META, CPU, torch.float32, by_layer=by_layer)
    with part.ready() as ready:
        assert ready(torch.ones(1, 4, device=META)).device == META
    assert notes == during
    after = [(name, id(tensor)) for name, tensor in network.state_dict(keep_vars=True).items()]
    assert after == before
    assert {tensor.device for tensor in network.state_dict().values()} == {CPU}


@pytest.mark.parametrize("lend", [lent, lent_by_layer])
def test_weights_come_home_after_an_error(lend: Callable[..., Any]) -> None:
    network, _ = layers()
    with pytest.raises(RuntimeError), lend(network, META):
        network(torch.ones(1, 3, device=META))  # another width
    assert {tensor.device for tensor in network.state_dict().values()} == {CPU}
    assert not any(module._forward_hooks for module in network.modules())


def test_a_real_unet_can_be_lent_layer_by_layer(tiny_models: Path) -> None:
    network = load_diffusers(tiny_models / "tiny-sdxl", LoaderSettings()).model.unet.module
    most = 0

    def count(*_: Any) -> None:
        nonlocal most
        most = max(most, sum(weight.device == META for weight in network.parameters()))

    hooks = [module.register_forward_hook(count) for module in network.modules()]
    added = {
        "text_embeds": torch.ones(1, 48, device=META),
        "time_ids": torch.ones(1, 6, device=META),
    }
    with torch.inference_mode(), lent_by_layer(network, META):
        output = network(
            torch.ones(1, 4, 8, 8, device=META),
            torch.ones(1, device=META),
            encoder_hidden_states=torch.ones(1, 77, 80, device=META),
            added_cond_kwargs=added,
        ).sample
    for hook in hooks:
        hook.remove()
    assert output.shape == (1, 4, 8, 8)
    assert most <= 2  # a weight and its bias
    assert {weight.device for weight in network.parameters()} == {CPU}


@pytest.mark.parametrize(
    ("offload", "homes", "by_layer"),
    [
        (Offload.NONE, ("cuda", "cuda", "cuda"), False),
        (Offload.TEXT_ENCODER, ("cuda", "cpu", "cuda"), False),
        (Offload.MODEL, ("cpu", "cpu", "cpu"), False),
        (Offload.SEQUENTIAL, ("cpu", "cpu", "cpu"), True),
    ],
)
def test_offload_decides_where_parts_rest_on_a_card(
    tiny_models: Path, offload: Offload, homes: tuple[str, str, str], by_layer: bool
) -> None:
    card = Device("cuda", "pretended", 24 * 2**30, (8, 9), bf16=True)
    settings = LoaderSettings(
        offload=offload,
        precision=Precision.FP16,
        vae_precision="bf16",
        memory_format=MemoryFormat.CONTIGUOUS,
    )
    placement, device = place(settings, card, 860_000_000, Memory.FIXED), torch.device("cuda")
    text = text_part(nn.Linear(1, 1), placement, device)
    vae = vae_handle(nn.Linear(1, 1), placement, device).part
    network = load_diffusers(tiny_models / "tiny-sdxl", LoaderSettings()).model.unet.module
    part = unet_part(network, placement, device)
    assert (part.home.type, text.home.type, vae.home.type) == homes
    assert part.by_layer is by_layer
    # On a CPU, fp16 is slow.
    works_off_card = offload is Offload.TEXT_ENCODER
    assert text.device.type == ("cpu" if works_off_card else "cuda")
    assert text.dtype is (torch.float32 if works_off_card else torch.float16)
