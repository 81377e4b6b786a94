"""Which settings give up ComfyUI's dynamic memory, and that it is said."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from comfy_nodes.native import dynamic
from comfy_nodes.native.compat import Host
from comfy_nodes.native.dynamic import Kept, kept
from comfy_nodes.settings import LoaderSettings

ALL, NONE = Kept(model=True, vae=True), Kept(model=False, vae=False)


@pytest.fixture(autouse=True)
def host(monkeypatch: pytest.MonkeyPatch) -> None:
    there = Host(dynamic=True, shared=frozenset())
    monkeypatch.setattr(dynamic, "host", lambda: there)


@pytest.mark.parametrize(
    ("settings", "model", "vae"),
    [
        ({}, True, True),
        ({"attention": "sliced", "vae_tiling": "on", "vae_slicing": "on"}, True, True),
        ({"memory_format": "contiguous", "offload": "text_encoder"}, True, True),
        ({"precision": "fp16"}, False, True),
        ({"precision": "fp8"}, False, True),
        ({"quantization": "int8"}, False, True),
        ({"compile": "blocks"}, False, True),
        ({"vae_precision": "bf16"}, True, False),
        ({"offload": "none"}, False, False),
        ({"offload": "model"}, False, False),
        ({"offload": "sequential"}, False, False),
        ({"memory_format": "channels_last"}, False, False),
    ],
)
def test_what_gives_it_up(
    settings: dict[str, Any], model: bool, vae: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    assert kept(LoaderSettings.model_validate(settings)) == Kept(model=model, vae=vae)
    assert len(caplog.records) == (0 if model and vae else 1)


def test_one_line_names_every_setting_that_does(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    kept(LoaderSettings.model_validate({"precision": "fp16", "offload": "none"}))
    assert [record.message for record in caplog.records] == [
        "Loading the whole model without ComfyUI's dynamic memory, because of precision fp16 and "
        "offload none."
    ]


def test_a_model_that_comfyui_wants_without_it_has_none() -> None:
    assert kept(LoaderSettings(), wanted=False) == NONE


def test_a_host_without_it_has_nothing_to_keep(monkeypatch: pytest.MonkeyPatch) -> None:
    there = Host(dynamic=False, shared=frozenset())
    monkeypatch.setattr(dynamic, "host", lambda: there)
    assert kept(LoaderSettings()) == NONE
