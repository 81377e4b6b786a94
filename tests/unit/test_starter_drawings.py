"""The starter model's drawings, captions, judge and folder: what its training stands on."""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors import safe_open

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from scripts.starter_model import captions  # noqa: E402
from scripts.starter_model.colours import COLOURS, colour_votes, measure_colour  # noqa: E402
from scripts.starter_model.draw import SIZES, SUBJECTS, draw, enlarge  # noqa: E402
from scripts.starter_model.judge import judge  # noqa: E402
from scripts.starter_model.pairs import make_pairs  # noqa: E402
from scripts.starter_model.words import learn_merges  # noqa: E402

MODEL = ROOT / "comfy_nodes" / "model_files" / "spriteworks-starter"
JUDGE = ROOT / "tests" / "data" / "judge.safetensors"


def config(part: str) -> dict[str, object]:
    return json.loads((MODEL / part / "config.json").read_text(encoding="utf-8"))


def test_there_are_enough_subjects_and_ten_colours() -> None:
    assert len(SUBJECTS) >= 28
    assert len(COLOURS) == 10
    assert set(captions.NOUNS) == set(SUBJECTS)
    assert set(captions.COLOUR_WORDS) == set(COLOURS)
    assert set(captions.SIZE_WORDS) == set(SIZES)


@pytest.mark.parametrize("subject", SUBJECTS)
def test_a_drawing_is_outlined_coloured_and_repeatable(subject: str) -> None:
    for step, colour in enumerate(COLOURS):
        drawing = draw(subject, colour, seed=5000 + step)
        assert drawing.pixels.shape == (32, 32, 3)
        assert (drawing.pixels[~drawing.opaque] == 255).all(), "the background is plain white"
        assert 90 <= drawing.opaque.sum() <= 1000
        assert np.array_equal(drawing.pixels, draw(subject, colour, seed=5000 + step).pixels)
        assert 4 <= len(np.unique(drawing.pixels[drawing.opaque], axis=0)) <= 64
        assert colour_votes(drawing.pixels)[colour] > 0.3
        assert measure_colour(drawing.pixels) == colour


def test_seeds_vary_a_drawing_and_sizes_order_it() -> None:
    areas = {
        size: np.mean([draw("coin", "red", seed, size).opaque.sum() for seed in range(20)])
        for size in SIZES
    }
    assert areas["small"] < areas["medium"] < areas["large"]
    assert len({draw("coin", "red", seed).pixels.tobytes() for seed in range(20)}) == 20


def test_enlarging_repeats_pixels_and_refuses_odd_sides() -> None:
    small = draw("key", "blue", 1).pixels
    large = enlarge(small, 64)
    assert np.array_equal(large[::2, ::2], small)
    assert np.array_equal(large[1::2, 1::2], small)
    with pytest.raises(ValueError, match="multiple"):
        enlarge(small, 50)


@pytest.mark.parametrize(
    ("rgb", "name"),
    [
        ((220, 30, 40), "red"),
        ((255, 140, 20), "orange"),
        ((250, 220, 50), "yellow"),
        ((40, 160, 60), "green"),
        ((50, 210, 220), "cyan"),
        ((40, 80, 220), "blue"),
        ((130, 60, 200), "purple"),
        ((255, 140, 190), "pink"),
        ((130, 80, 45), "brown"),
        ((145, 145, 150), "grey"),
    ],
)
def test_the_colour_measure_names_plain_colours(rgb: tuple[int, int, int], name: str) -> None:
    picture = np.full((16, 16, 3), 255, dtype=np.uint8)
    picture[4:12, 4:12] = rgb
    assert measure_colour(picture) == name
    alpha = np.zeros((16, 16, 4), dtype=np.uint8)
    alpha[..., :3] = (0, 255, 0)
    alpha[4:12, 4:12] = (*rgb, 255)
    assert measure_colour(alpha) == name, "transparent pixels do not vote"


def test_an_empty_picture_has_no_colour() -> None:
    assert measure_colour(np.full((8, 8, 3), 255, dtype=np.uint8)) == ""


def test_captions_name_what_they_say_and_keep_held_out_wordings_apart() -> None:
    rng = random.Random(3)
    trained: set[str] = set()
    for _ in range(3000):
        subject, colour = rng.choice(list(SUBJECTS)), rng.choice(list(COLOURS))
        caption = captions.write_caption(rng, subject, colour, rng.choice(SIZES))
        assert caption.text.strip()
        assert caption.subject in (subject, None)
        assert caption.colour in (colour, None)
        trained.add(caption.text.lower())
    people = {pair.text.lower() for pair in make_pairs(100, "people")}
    assert len(people) >= 95
    assert not people & trained
    opened = [captions.write_caption(rng, "key", "red", "small") for _ in range(500)]
    assert any(caption.subject is None for caption in opened)
    assert any(caption.colour is None for caption in opened)


def test_unconditional_texts_are_empty_or_quality_words() -> None:
    rng = random.Random(4)
    texts = [captions.unconditional(rng).lower() for _ in range(400)]
    assert 0.35 < sum(text == "" for text in texts) / len(texts) < 0.65
    words = {word for text in texts for word in text.replace(",", " ").split()}
    assert not words & set(SUBJECTS)
    assert not words & set(COLOURS)


def test_evaluation_pairs_cover_subjects_and_colours_evenly() -> None:
    for wording in ("plain", "people", "workflow"):
        pairs = make_pairs(100, wording)
        assert len({pair.subject for pair in pairs}) == len(SUBJECTS)
        assert len({pair.seed for pair in pairs}) == 100
        for colour in COLOURS:
            assert sum(pair.colour == colour for pair in pairs) == 10
    with pytest.raises(ValueError, match="plain, people or workflow"):
        make_pairs(1, "loud")


def test_merges_join_the_most_frequent_pair_first() -> None:
    merges = learn_merges({("a", "b", "c</w>"): 5, ("a", "b</w>"): 2, ("x", "c</w>"): 1}, 3)  # type: ignore[arg-type]
    assert merges == [("a", "b"), ("ab", "c</w>"), ("a", "b</w>")]


def test_the_judge_reads_fresh_drawings() -> None:
    assert JUDGE.stat().st_size < 1_000_000
    right = 0
    total = 0
    for subject in SUBJECTS:
        for step, colour in enumerate(list(COLOURS)[::3]):
            picture = Image.fromarray(enlarge(draw(subject, colour, 777_000 + step).pixels, 64))
            right += judge(picture) == (subject, colour)
            total += 1
    assert right / total >= 0.97


def test_the_judge_puts_transparency_on_white() -> None:
    drawing = draw("heart", "red", 31)
    clear = np.dstack([drawing.pixels, drawing.opaque.astype(np.uint8) * 255])
    clear[~drawing.opaque, :3] = (0, 255, 0)
    assert judge(Image.fromarray(clear, "RGBA")) == ("heart", "red")


def test_the_model_folder_is_whole_and_small() -> None:
    weights = sorted(MODEL.rglob("*.safetensors"))
    assert [path.parent.name for path in weights] == ["text_encoder", "unet", "vae"]
    assert sum(path.stat().st_size for path in weights) <= 48_000_000
    for path in weights:
        with safe_open(str(path), framework="pt") as stored:
            kinds = {stored.get_slice(key).get_dtype() for key in stored.keys()}  # noqa: SIM118
        assert kinds == {"F16"}, path.name
    index = json.loads((MODEL / "model_index.json").read_text(encoding="utf-8"))
    assert index["unet"] == ["diffusers", "UNet2DConditionModel"]
    defaults = json.loads((MODEL / "spriteworks.json").read_text(encoding="utf-8"))
    assert (defaults["width"], defaults["height"], defaults["steps"]) == (128, 128, 20)
    assert 1 <= defaults["cfg"] <= 10
    assert "Apache-2.0" in (MODEL / "README.md").read_text(encoding="utf-8")


def test_the_unet_is_one_that_comfyui_builds() -> None:
    unet = config("unet")
    widths = unet["block_out_channels"]
    assert isinstance(widths, list)
    assert all(width % 64 == 0 for width in widths)
    assert unet["attention_head_dim"] == [width // 64 for width in widths], "the number of heads"
    assert unet["norm_num_groups"] == 32
    assert unet["norm_eps"] == 1e-5
    assert unet["act_fn"] == "silu"
    assert (unet["in_channels"], unet["out_channels"]) == (4, 4)
    assert unet["cross_attention_dim"] == config("text_encoder")["hidden_size"]


def test_the_autoencoder_is_one_that_comfyui_builds() -> None:
    vae = config("vae")
    widths = vae["block_out_channels"]
    assert isinstance(widths, list)
    assert len(widths) == 4, "factor 8"
    assert all(width % 32 == 0 for width in widths)
    assert vae["norm_num_groups"] == 32
    assert vae["latent_channels"] == 4
    assert vae["scaling_factor"] == 1.0, "its latents are of unit spread"
    assert vae["mid_block_add_attention"] is True


def test_the_text_encoder_and_tokenizer_agree() -> None:
    transformers = pytest.importorskip("transformers")
    text = config("text_encoder")
    tokenizer = transformers.CLIPTokenizer.from_pretrained(MODEL / "tokenizer")
    assert len(tokenizer) == text["vocab_size"]
    assert text["max_position_embeddings"] == 77
    assert text["hidden_act"] in ("quick_gelu", "gelu")
    empty = tokenizer("")["input_ids"]
    assert empty == [text["bos_token_id"], text["eos_token_id"]]
    assert tokenizer.pad_token_id == text["eos_token_id"]
    assert text["eos_token_id"] != 2, "2 makes transformers look for the largest id instead"
    assert tokenizer("A RED Potion")["input_ids"] == tokenizer("a red   potion")["input_ids"]
    for words in (*captions.NOUNS, *captions.COLOUR_WORDS):
        assert len(tokenizer(words)["input_ids"]) == 3, f"{words} is one token"
    assert tokenizer("żółć 漢字 🙂 zzqx")["input_ids"][-1] == text["eos_token_id"]


def test_the_noise_schedule_hides_the_picture_at_its_end() -> None:
    content = json.loads(
        (MODEL / "scheduler" / "scheduler_config.json").read_text(encoding="utf-8")
    )
    assert content["beta_schedule"] == "scaled_linear"
    assert (content["beta_start"], content["beta_end"]) == (0.00085, 0.02)
    assert content["prediction_type"] == "v_prediction"
    assert content["num_train_timesteps"] == 1000
