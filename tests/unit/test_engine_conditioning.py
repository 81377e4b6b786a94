"""Encoding texts on a tiny real text encoder."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from comfy_nodes.errors import ModelUnreadable, UnsupportedModel
from comfy_nodes.settings import LoaderSettings
from orchestrator.engine.handles.handles import Clip
from orchestrator.engine.models.loading import load_diffusers
from orchestrator.engine.sampling.conditioning import encode_text

CLOSE = {"rtol": 1e-4, "atol": 1e-5}


@pytest.fixture(scope="module")
def clip(tiny_models: Path) -> Clip:
    return load_diffusers(tiny_models / "tiny-sd1", LoaderSettings()).clip


@pytest.fixture(scope="module")
def both(tiny_models: Path) -> Clip:
    return load_diffusers(tiny_models / "tiny-sdxl", LoaderSettings()).clip


def states(clip: Clip, text: str) -> torch.Tensor:
    return encode_text(clip, text)[0][0]


def test_weights_move_states_away_from_the_empty_text(clip: Clip) -> None:
    # The tiny vocabulary spells words out: "gem" is tokens 1 to 3, "a" token 4.
    plain, empty = states(clip, "gem a"), states(clip, "")
    weighted = states(clip, "(gem:1.5) a")
    expected = plain.clone()
    expected[0, 1:4] = (plain[0, 1:4] - empty[0, 1:4]) * 1.5 + empty[0, 1:4]
    torch.testing.assert_close(weighted, expected, **CLOSE)


def test_a_weight_of_one_changes_nothing(clip: Clip) -> None:
    assert torch.equal(states(clip, "(gem:1.0) a"), states(clip, "gem a"))


def test_long_texts_are_encoded_in_chunks(clip: Clip) -> None:
    text = "potion " * 30
    assert states(clip, text).shape == (1, 3 * 77, 64)
    # Every chunk is encoded on its own.
    assert torch.equal(states(clip, text)[:, :77], states(clip, "potion " * 30 + "gem")[:, :77])


def test_clip_skip_takes_an_earlier_layer(clip: Clip) -> None:
    last, skipped = states(clip, "gem"), states(replace(clip, layer=-2), "gem")
    torch.testing.assert_close(states(replace(clip, layer=-1), "gem"), last, **CLOSE)
    assert not torch.allclose(skipped, last)
    # Further back than there are layers: the last one, as ComfyUI does it.
    torch.testing.assert_close(states(replace(clip, layer=-9), "gem"), last, **CLOSE)


def test_two_encoders_are_joined_and_the_second_one_is_pooled(both: Clip) -> None:
    joined, options = encode_text(both, "a gem")[0]
    assert joined.shape == (1, 77, 32 + 48)
    assert options["pooled_output"].shape == (1, 48)


@pytest.fixture
def with_embeddings(clip: Clip, tmp_path: Path) -> Clip:
    table = clip.encoders[0].part.module.get_input_embeddings().weight
    (tmp_path / "sub").mkdir()
    # "e" as the second half of its word: token 28 + 4 of the tiny vocabulary.
    save_file({"emb_params": table[[4, 32]].clone()}, tmp_path / "sub" / "double.safetensors")
    save_file(
        {"clip_l": table[[32]].clone(), "clip_g": torch.ones(1, 9)}, tmp_path / "e.safetensors"
    )
    save_file({"emb_params": torch.ones(1, 9)}, tmp_path / "alien.safetensors")
    (tmp_path / "old.pt").write_bytes(b"never opened")
    return replace(clip, embeddings=(tmp_path,))


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("a embedding:e gem", "a e gem"),
        ("embedding:e, gem", "e , gem"),
        ("a embedding:double", "a ee"),
        ("(a embedding:e:1.3)", "(a e:1.3)"),
    ],
)
def test_an_embedding_is_as_the_tokens_it_was_made_of(
    with_embeddings: Clip, text: str, same: str
) -> None:
    torch.testing.assert_close(
        states(with_embeddings, text), states(with_embeddings, same), **CLOSE
    )


@pytest.mark.parametrize("name", ["none", "old", "../e"])
def test_an_embedding_that_is_not_there_is_left_out_and_said(
    with_embeddings: Clip, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    with caplog.at_level(logging.WARNING):
        found = states(with_embeddings, f"a embedding:{name} gem")
    torch.testing.assert_close(found, states(with_embeddings, "a gem"), **CLOSE)
    assert "left out" in caplog.text


def test_an_embedding_for_another_model_is_refused(with_embeddings: Clip) -> None:
    with pytest.raises(UnsupportedModel, match=r"alien\.safetensors .* 9 numbers, .* takes \d+"):
        states(with_embeddings, "a embedding:alien gem")


def test_a_damaged_embedding_is_named(with_embeddings: Clip, tmp_path: Path) -> None:
    (tmp_path / "cut.safetensors").write_bytes(b"cut")
    with pytest.raises(ModelUnreadable, match=r"cut\.safetensors"):
        states(with_embeddings, "a embedding:cut gem")


def test_an_embedding_for_one_of_two_encoders_is_left_out_of_the_other(
    both: Clip, tmp_path: Path
) -> None:
    table = both.encoders[0].part.module.get_input_embeddings().weight
    save_file({"emb_params": table[[4]].clone()}, tmp_path / "half.safetensors")
    found, _ = encode_text(replace(both, embeddings=(tmp_path,)), "a embedding:half gem")[0]
    assert found.shape == (1, 77, 32 + 48)
