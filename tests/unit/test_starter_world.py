"""The data, the autoencoder and the measures of the starter model of the whole world.

The tiles are no part of the project: what needs them is shown on small ones of the same names.
"""

from __future__ import annotations

import random
import re
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml
from diffusers import AutoencoderKL
from transformers import CLIPTextModel, CLIPTokenizer

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from comfy_nodes.vocabulary import Vocabulary  # noqa: E402
from scripts.starter_model import measuring  # noqa: E402
from scripts.starter_model.captions import COLOUR_WORDS, NOUNS, STONES  # noqa: E402
from scripts.starter_model.colours import COLOURS, measure_colour  # noqa: E402
from scripts.starter_model.denoiser import (  # noqa: E402
    NOISE_CENTRES,
    NOISE_SPREAD,
    noise_moments,
    noise_schedule,
    redrawn,
)
from scripts.starter_model.draw import SUBJECTS, draw  # noqa: E402
from scripts.starter_model.dressing import (  # noqa: E402
    Wardrobe,
    describe_character,
    named_parts,
    roles,
)
from scripts.starter_model.examples import (  # noqa: E402
    LEVELS,
    World,
    level_of,
    natural_colours,
    outfit_is_held_out,
    to_sprite,
    with_few_of_a_name,
    with_names_of_their_own,
)
from scripts.starter_model.fillers import Fillers, make_fillers  # noqa: E402
from scripts.starter_model.interface import PIECES, draw_piece  # noqa: E402
from scripts.starter_model.known_words import words_of_world  # noqa: E402
from scripts.starter_model.pool import Pool, encode, load_pool  # noqa: E402
from scripts.starter_model.progress import Budget  # noqa: E402
from scripts.starter_model.recolour import recoloured  # noqa: E402
from scripts.starter_model.sprite_vae import (  # noqa: E402
    FACTOR,
    PAINTED,
    SpriteAutoencoder,
    load_sprite_autoencoder,
    standardised,
    trained_of,
    whole_vae,
)
from scripts.starter_model.team import Team  # noqa: E402
from scripts.starter_model.text import encoder_of, tokenise  # noqa: E402
from scripts.starter_model.text_pictures import load_teller, parts_of, train_text  # noqa: E402
from scripts.starter_model.tiles import (  # noqa: E402
    TABLES,
    Tile,
    chosen,
    describe,
    named_tiles,
    read_pictures,
    tiles_file,
)
from scripts.starter_model.walks import WALKERS, march, side_walk  # noqa: E402
from scripts.starter_model.words import learn_merges, write_tokenizer  # noqa: E402

NO_MEANING = Fillers(np.full((1, 8), -1, dtype=np.int16), np.ones(4000, dtype=bool))

LAYERS = [
    "player/base/human_m",
    "player/base/elf_f",
    "player/base/lorc_m0",
    "player/body/robe_blue",
    "player/body/half_plate",
    "player/legs/pants_brown",
    "player/boots/middle_brown",
    "player/hand1/long_sword_slant",
    "player/hand1/bow",
    "player/hand2/shield_knight_blue",
    "player/head/wizard_purple",
    "player/cloak/green",
    "player/hair/brown1",
]


def figure(
    left: int, right: int, top: int, bottom: int, colour: tuple[int, int, int]
) -> np.ndarray:
    pixels = np.zeros((32, 32, 4), dtype=np.uint8)
    pixels[top:bottom, left:right] = (*colour, 255)
    return pixels


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of tiles with a body of two legs, layers, a monster and a floor."""
    pictures = {
        "mon/goblin": figure(8, 24, 6, 30, (60, 160, 60)),
        "dngn/floor/grass/grass0": figure(0, 32, 0, 32, (40, 140, 40)),
        "item/potion/i-magic": figure(0, 8, 0, 8, (0, 0, 200)),
        "item/potion/ruby": figure(10, 22, 8, 28, (200, 20, 30)),
    }
    body = figure(11, 21, 3, 22, (220, 170, 130))
    body[22:31, 11:15] = body[22:31, 17:21] = (220, 170, 130, 255)
    for number, path in enumerate(LAYERS):
        if "/base/" in path:
            pictures[path] = body
        else:
            top = 2 + number * 2
            pictures[path] = figure(9, 23, top, min(top + 5, 31), (20 * number, 90, 160))
    path = tmp_path_factory.mktemp("tiles") / "tiles.npz"
    np.savez(path, names=np.array(list(pictures)), pixels=np.stack(list(pictures.values())))
    return path


@pytest.fixture(scope="module")
def world(tiny: Path) -> World:
    return World(tiny)


@pytest.mark.parametrize(
    ("path", "subject", "kind"),
    [
        ("item/potion/sky_blue", "potion", "item"),
        ("item/weapon/long_sword1", "sword", "item"),
        ("UNUSED/weapons/battle_axe4", "axe", "item"),
        ("mon/undead/skeletons/skeleton_humanoid_small", "skeleton", "monster"),
        ("mon/dragons/ice_dragon", "dragon", "monster"),
        ("mon/animals/wolf_spider", "spider", "monster"),
        ("dngn/floor/grass/grass1", "grass", "floor"),
        ("dngn/wall/brick_gray0", "wall", "wall"),
        ("dngn/doors/closed_door", "door", "door"),
        ("dngn/altars/zin", "altar", "altar"),
        ("gui/spells/fire/fireball", "icon", "icon"),
        ("player/felids/cat6", "cat", "monster"),
    ],
)
def test_a_path_is_named(path: str, subject: str, kind: str) -> None:
    found = describe(path, figure(4, 28, 4, 28, (9, 9, 9)))
    assert found is not None
    assert (found.subject, found.kind) == (subject, kind)
    assert not [name for name in found.names if re.search(r"[{}_0-9]|^ | $|  ", name)]


@pytest.mark.parametrize(
    "path",
    [
        "item/potion/i-magic",
        "item/armour/brands/i-running",
        "mon/statues/overlay_axe",
        "misc/mdam_almost_dead",
        "dngn/wall/shadow_ne",
        "player/hand1/bow",
        "mon/tentacles/kraken_segments/kraken_tentacle_segment_E_NW",
        "mon/siren_water",
    ],
)
def test_what_is_no_picture_of_a_thing_is_left_out(path: str) -> None:
    assert describe(path, figure(4, 28, 4, 28, (9, 9, 9))) is None


def test_the_file_of_the_tiles_is_asked_for_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SPRITEWORKS_TILES", raising=False)
    assert tiles_file() is None
    with pytest.raises(FileNotFoundError, match=r"missing\.npz"):
        tiles_file(tmp_path / "missing.npz")
    np.savez(tmp_path / "other.npz", a=np.zeros(1))
    with pytest.raises(ValueError, match=r"other\.npz"):
        read_pictures(tmp_path / "other.npz")


def test_without_tiles_there_are_the_project_s_own_drawings() -> None:
    world = World(None)
    rng = random.Random(2)
    kinds = {world.example(rng).kind for _ in range(60)}
    assert kinds == {"drawing", "interface"}
    assert world.walk(rng).pixels.shape == (32, 128, 4)


def test_examples_have_the_shape_that_is_trained(world: World) -> None:
    rng = random.Random(3)
    for _ in range(200):
        one = world.example(rng)
        assert one.pixels.shape == (32, 32, 4)
        assert set(np.unique(one.pixels[..., 3])) <= {0, 255}
        assert (one.pixels[..., 3] > 0).sum() >= 12
        assert one.text.strip()
        assert to_sprite(one.pixels).shape == (4, 32, 32)


def test_tables_fit_what_is_drawn() -> None:
    assert set(natural_colours()) == set(SUBJECTS)
    assert {colour for given in natural_colours().values() for colour in given} <= set(COLOURS)
    for rule in yaml.safe_load((TABLES / "tiles.yaml").read_text(encoding="utf-8")):
        re.compile(rule[0])


def test_prompts_are_many_and_not_twice() -> None:
    parts = {part: measuring.prompts(part) for part in ("first", "held")}
    assert len(parts["first"]["known"]) == 160
    assert len(parts["first"]["outside"]) == 40
    assert len(parts["held"]["known"]) + len(parts["held"]["outside"]) == 100
    texts = [row[0] for part in parts.values() for rows in part.values() for row in rows]
    assert len(set(texts)) == len(texts)


@pytest.mark.parametrize("colour", COLOURS)
def test_recolouring_is_seen_by_the_colour_measure(colour: str) -> None:
    for subject in ("potion", "slime", "sword", "heart"):
        drawn = draw(subject, "grey" if subject == "sword" else "red", 4)
        whole = np.dstack([drawn.pixels, np.full((32, 32), 255, dtype=np.uint8)])
        sprite = np.where(drawn.opaque[..., None], whole, 0).astype(np.uint8)
        assert measure_colour(recoloured(sprite, colour)) == colour


@pytest.mark.parametrize("piece", PIECES)
def test_interface_pieces_have_their_colour(piece: str) -> None:
    sprite = draw_piece(piece, "red", 3)
    assert (sprite[..., 3] > 0).sum() > 60
    assert measuring.has_colour(sprite, "red")


def test_held_out_outfits_are_never_trained(world: World) -> None:
    held = {(one.text.split(" ")[0], one.places) for one in measuring.held_out_characters(world, 5)}
    assert all(len(places) > 1 for _, places in held), "a part alone is needed to learn it"
    rng = random.Random(4)
    outfits = [world.outfit(rng, 0) for _ in range(2000)]
    named = [one for one in outfits if len(one.parts) > 1]
    assert 0.01 < np.mean([outfit_is_held_out(one) for one in named]) < 0.15
    assert not any(outfit_is_held_out(one) for one in outfits if len(one.parts) < 2)
    shown = {one.pixels.tobytes() for one in (world.character(rng) for _ in range(500))}
    assert len(shown) > 20
    trained = [world.trained_outfit(rng, 0) for _ in range(500)]
    assert not any(outfit_is_held_out(one) for one in trained)
    asked = {one.text for one in measuring.held_out_characters(world, 20)}
    assert not asked & {one.text for one in trained}


def test_a_text_names_what_is_worn(tiny: Path) -> None:
    wardrobe = Wardrobe(read_pictures(tiny))
    rng = random.Random(5)
    for _ in range(100):
        character = wardrobe.dress(rng, rng.choice([None, *roles()]))
        said = named_parts(rng, character)
        text = describe_character(rng, character, said)
        assert not re.search(r"\ba [aeiou]|  ", text)
        assert said.keys() <= character.layers.keys()
        assert all(phrase in text for phrase in said.values())


def test_a_text_stands_for_one_character_in_each_variant(tiny: Path) -> None:
    wardrobe = Wardrobe(read_pictures(tiny))
    rng = random.Random(6)
    for _ in range(100):
        role = rng.choice([None, *roles()])
        character = wardrobe.dress(rng, role)
        said = named_parts(rng, character)
        meant = wardrobe.meant(character, said, 0)
        for place, phrase in said.items():
            assert phrase in meant.layers[place].phrases()
        assert wardrobe.meant(meant, said, 0) == meant, "what it stands for stands for itself"
        assert {wardrobe.meant(character, said, v).species for v in (0, 1)} == {character.species}


def test_variants_are_told_by_what_is_under_white(world: World) -> None:
    pixels = figure(8, 24, 6, 30, (60, 160, 60))
    outside = pixels[..., 3] == 0
    dark, light = (to_sprite(pixels, level) for level in LEVELS)
    assert (dark[:3, outside] < 0).all()
    assert (light[:3, outside] > 0).all()
    assert (dark[:3, ~outside] == light[:3, ~outside]).all()
    assert (dark[3] == light[3]).all()
    rng = random.Random(7)
    assert [level_of(rng, variant) for variant in (0, 1)] == list(LEVELS)
    assert {level_of(rng, None) for _ in range(50)} == set(LEVELS)
    by_text: dict[tuple[str, int | None], set[bytes]] = {}
    for _ in range(3000):
        one = world.drawing(rng)
        assert one.variant in (0, 1)
        key = (f"{one.subject} {one.colour}", one.variant)
        by_text.setdefault(key, set()).add(one.pixels.tobytes())
    assert max(map(len, by_text.values())) == 1, "a text has one picture in each variant"


@pytest.mark.parametrize("who", WALKERS)
def test_side_walks_are_walks_by_the_measures(who: str) -> None:
    for seed in range(5):
        sheet = side_walk(who, "blue", seed)
        assert sheet.shape == (32, 128, 4)
        assert measuring.is_steady(sheet)
        assert measuring.leg_positions(sheet) == 4
        assert measuring.is_one_palette(sheet)


def test_a_march_is_a_walk_and_standing_is_none(world: World) -> None:
    assert world.wardrobe is not None
    character = world.wardrobe.dress(random.Random(8))
    sheet = march(character)
    assert measuring.is_steady(sheet)
    assert measuring.leg_positions(sheet) == 4
    standing = np.concatenate([character.pixels] * 4, axis=1)
    assert measuring.leg_positions(standing) == 1
    jumping = sheet.copy()
    jumping[:, 32:64] = np.roll(jumping[:, 32:64], -3, axis=0)
    assert not measuring.is_steady(jumping)
    painted = sheet.copy()
    painted[:, 64:96, :3] = 255 - painted[:, 64:96, :3]
    assert not measuring.is_one_palette(painted)


def test_parts_are_told_from_their_absence(world: World) -> None:
    from scripts.starter_model.dressing import composed

    for asked in measuring.held_out_characters(world, 10):
        character = asked.meant[0]
        assert measuring.is_figure(character.pixels)
        for place in asked.places:
            assert measuring.part_is_there(character, place, character.pixels)
            bare = composed(character.layers, without=frozenset({place}))
            if (bare != character.pixels).any():
                assert not measuring.part_is_there(character, place, bare)


@pytest.fixture
def autoencoder() -> SpriteAutoencoder:
    """One that was trained for a moment: its mask is sure, its colours are not."""
    torch.manual_seed(1)
    model = SpriteAutoencoder()
    with torch.no_grad():
        model.give.weight *= 0.3  # colours within -1 and 1, as trained ones are
        model.give.bias[3] = -PAINTED
        model.middle += 0.3
        model.spread *= 1.7
    return model.eval()


def sprite_of_a_box(rng: np.random.Generator) -> torch.Tensor:
    sprite = np.zeros((32, 32, 4), dtype=np.uint8)
    sprite[4:28, 8:24] = rng.integers(0, 256, (24, 16, 4))
    sprite[4:28, 8:24, 3] = 255
    return torch.from_numpy(to_sprite(sprite)).float()[None] / 127


def painted(sprite: torch.Tensor) -> torch.Tensor:
    """A picture as the autoencoder takes it: every pixel 4 times 4, white around."""
    shown = torch.where(sprite[:, 3:] > 0, sprite[:, :3], torch.ones(1))
    return shown.repeat_interleave(FACTOR, 2).repeat_interleave(FACTOR, 3)


@torch.no_grad()
def test_the_whole_autoencoder_is_the_trained_one_with_its_outer_levels(
    autoencoder: SpriteAutoencoder,
) -> None:
    whole = whole_vae(autoencoder)
    sprite = sprite_of_a_box(np.random.default_rng(1))
    latents = autoencoder.encode(sprite)
    found = whole.encode(painted(sprite)).latent_dist.mean
    assert found.shape == (1, 4, 16, 16)
    assert float((found - latents).abs().mean()) < 0.02
    for bias in (-PAINTED, PAINTED):
        autoencoder.give.bias[3] += bias - autoencoder.give.bias[3]
        inner = autoencoder.decode(latents)
        picture = whole_vae(autoencoder).decode(latents).sample
        assert picture.shape == (1, 3, 128, 128)
        squares = picture[..., ::FACTOR, ::FACTOR]
        assert (
            float((squares - picture[..., FACTOR - 1 :: FACTOR, FACTOR - 1 :: FACTOR]).abs().max())
            == 0
        )
        there = (inner[:, 3:] > 0).expand(-1, 3, -1, -1)
        unsure = (inner[:, 3:].abs() < 0.12).expand(-1, 3, -1, -1)
        assert (
            (squares.clamp(-1, 1) - inner[:, :3].clamp(-1, 1))[there & ~unsure].abs().le(0.02).all()
        )
        assert (squares[~there & ~unsure] >= 1.0).all(), "the background is exactly white"


def test_latents_are_standardised_and_restore_the_same(autoencoder: SpriteAutoencoder) -> None:
    rng = np.random.default_rng(2)
    sprites = torch.cat([sprite_of_a_box(rng) for _ in range(8)])
    with torch.no_grad():
        before = autoencoder.decode(autoencoder.encode(sprites))
        latents = standardised(autoencoder, sprites).encode(sprites)
        after = autoencoder.decode(latents)
    assert float(latents.mean(dim=(0, 2, 3)).abs().max()) < 1e-4
    assert float((latents.std(dim=(0, 2, 3)) - 1).abs().max()) < 1e-4
    assert float((after - before).abs().max()) < 1e-3


def test_words_of_the_world_are_its_own(world: World) -> None:
    words = words_of_world(world)
    assert words.unknown("a green goblin in a blue robe with a bow, walking, side view") == []
    assert [one.word for one in words.unknown("a zebra on a bicycle")] == ["zebra", "bicycle"]


def test_merges_make_frequent_words_whole() -> None:
    from collections import Counter

    letters = {tuple([*"swor", "d</w>"]): 5, tuple([*"wor", "d</w>"]): 3, ("a</w>",): 9}
    merges = learn_merges(Counter(letters), 100)
    assert merges[-1][0] + merges[-1][1] in ("sword</w>", "word</w>")
    assert len(merges) == len(set(merges))


@pytest.mark.slow
def test_training_goes_on_from_its_checkpoint_and_from_a_model(tmp_path: Path, tiny: Path) -> None:
    from scripts.starter_model.__main__ import main

    def run(stage: str, out: Path, *more: str) -> int:
        few = ["--singles", "64", "--walks", "16", "--batch", "4", "--workers", "1"]
        return main([stage, "--tiles", str(tiny), "--out", str(out), "--watch", "0", *few, *more])

    def steps(out: Path) -> int:
        return int(torch.load(out / "denoiser.pt", weights_only=True)["step"])

    first, second, model = tmp_path / "first", tmp_path / "second", tmp_path / "model"
    assert run("train", first, "--steps", "2") == 2, "there are no latents"
    assert run("vae", first, "--steps", "2") == 0
    assert run("train", first, "--steps", "2") == 0
    assert steps(first) == 2
    assert run("train", first, "--steps", "3") == 0
    assert steps(first) == 3
    assert run("decoder", first, "--steps", "2") == 0
    assert run("export", first, "--model", str(model)) == 0
    trained, taken = (
        load_sprite_autoencoder(first / f"{name}.pt").state_dict() for name in ("vae", "decoder")
    )
    torch.testing.assert_close(taken["encoder_out.weight"], trained["encoder_out.weight"])
    assert (taken["give.weight"] - trained["give.weight"]).abs().max() > 0
    exported = trained_of(AutoencoderKL.from_pretrained(model / "vae").float()).state_dict()
    torch.testing.assert_close(exported["give.weight"], taken["give.weight"], rtol=2e-3, atol=1e-4)
    assert sum(p.stat().st_size for p in model.rglob("*.safetensors")) <= 48_000_000
    second.mkdir()
    shutil.copy(first / "vae.pt", second)
    assert run("vae", second, "--steps", "1", "--start", str(model)) == 0, "it is trained already"
    assert (second / "vae.pt").read_bytes() == (first / "vae.pt").read_bytes()
    assert run("train", second, "--steps", "1", "--start", str(model)) == 0
    stored = torch.load(second / "denoiser.pt", weights_only=True)["model"]
    before = torch.load(first / "denoiser.pt", weights_only=True)["average"]
    key = "unet.mid_block.resnets.0.conv1.weight"
    assert float((stored[key] - before[key]).abs().max()) < 0.01
    assert run("train", tmp_path / "third", "--watch", "5") == 2, "there is no judge"

    taught = tmp_path / "taught"
    assert run("vae", taught, "--steps", "1") == 0
    assert run("text", taught, "--steps", "2") == 0
    first_lesson = torch.load(taught / "text.pt", weights_only=True)["average"]
    assert run("text", taught, "--steps", "3") == 0
    again = torch.load(taught / "text.pt", weights_only=True)["average"]
    key = "encoder.text_model.embeddings.token_embedding.weight"
    key = key if key in again else key.replace("text_model.", "")
    assert 0 < float((again[key] - first_lesson[key]).abs().max()) < 0.05
    assert run("train", taught, "--steps", "1") == 0
    begun = torch.load(taught / "denoiser.pt", weights_only=True)["model"]
    assert float((begun[key] - again[key]).abs().max()) < 0.01, "training begins with the lessons"
    assert run("rewording", taught, "--steps", "1") == 0
    assert run("export", taught, "--model", str(tmp_path / "reworded")) == 0
    reworded = torch.load(taught / "rewording.pt", weights_only=True)["average"]
    exported = encoder_of(tmp_path / "reworded").state_dict()
    for name, value in reworded.items():
        torch.testing.assert_close(exported[name], value, rtol=2e-3, atol=1e-4)


def test_examples_are_drawn_again_as_the_denoiser_sees_them() -> None:
    """One that always sees the same picture draws it, whatever was there."""
    seen = torch.randn(1, 4, 16, 16)
    alphas = noise_schedule().alphas_cumprod

    class Seer(torch.nn.Module):
        def encoder(self, input_ids: torch.Tensor) -> SimpleNamespace:
            return SimpleNamespace(last_hidden_state=torch.zeros(len(input_ids), 77, 8))

        def unet(
            self, noisy: torch.Tensor, moment: torch.Tensor, states: torch.Tensor
        ) -> SimpleNamespace:
            signal = alphas[moment]
            return SimpleNamespace(sample=(signal.sqrt() * noisy - seen) / (1 - signal).sqrt())

    ids = torch.zeros(3, 77, dtype=torch.int64)
    found = redrawn(Seer(), torch.randn(3, 4, 16, 16), ids, 6.0)  # type: ignore[arg-type]
    torch.testing.assert_close(found, seen.expand(3, -1, -1, -1), rtol=0, atol=0.05)


def test_parts_are_rows_of_the_picture() -> None:
    latents = torch.arange(2 * 4 * 16 * 16).reshape(2, 4, 16, 16).float()
    parts = parts_of(latents)
    assert parts.shape == (2, 16, 64)
    assert torch.equal(parts[1, 6].view(4, 4, 4), latents[1, :, 4:8, 8:12])


def test_texts_are_told_apart_by_what_they_show(tmp_path: Path) -> None:
    """Two texts of opposite pictures, each dark in one variant and light in the other."""
    ids = np.full((64, 77), 9, dtype=np.int16)
    ids[:, 0] = 8
    ids[:, 1] = np.arange(64) % 2
    variants = np.arange(64) // 2 % 2
    shade = np.where(ids[:, 1] > 0, 0.9, -0.9) * np.where(variants > 0, 1.0, 0.5)
    latents = np.broadcast_to(shade[:, None, None, None], (64, 4, 16, 16)).astype(np.float16)
    pool = Pool(latents, ids, ids[:1], variants, NO_MEANING)
    train_text(Team(), pool, pool, 10, 64, tmp_path / "text.pt", Budget(steps=110), batch=16)
    teller = load_teller(tmp_path / "text.pt", 10, 64)
    assert teller is not None
    told = teller(torch.from_numpy(ids[:2]).long())
    assert told.shape == (2, 16, 2, 64)
    for text, sign in ((0, -1.0), (1, 1.0)):
        small, large = (told[text, :, variant].mean() * sign for variant in (0, 1))
        assert 0.2 < small < 0.7 < large, "each text and variant has its own"


def test_words_of_no_meaning_stand_between_those_of_a_text(tmp_path: Path) -> None:
    write_tokenizer(tmp_path, ["a red potion", "long sword"] * 20, 600)
    tokenizer = CLIPTokenizer.from_pretrained(tmp_path)
    known = Vocabulary(("potion", "dungeon", "door"), frozenset({"painted", "should"}))
    fillers = make_fillers(known, tokenizer, random.Random(1))
    words = {tokenizer.decode(row[row >= 0]).strip() for row in fillers.words}
    assert {"painted", "should", ","} <= words
    assert "castle" in words
    assert "dungeon" not in words, "what is known is no filler"

    text = tokenise(tokenizer, ["a red potion, long sword"]).numpy().astype(np.int16)
    texts = np.repeat(text, 400, axis=0)
    asked = text[0, : int((text[0] == text[0, -1]).argmax())]
    filled = fillers.put_into(texts, np.random.default_rng(1), 61)
    changed = (filled != texts).any(axis=1)
    assert 0.4 < changed.mean() < 0.6
    assert (filled[:, 61:] == texts[0, -1]).all(), "the positions of the parts stay free"
    for row in filled[changed]:
        left = iter(row)
        assert all(token in left for token in asked), "all that was asked, in its order"
        assert any(token in fillers.words for token in row), "and more"
    kept = fillers.put_into(texts, np.random.default_rng(1), len(asked))
    assert (kept == texts).all(), "no room"


def test_which_variant_an_example_shows_is_seen_under_its_white(
    tmp_path: Path, autoencoder: SpriteAutoencoder
) -> None:
    pixels = figure(8, 24, 6, 30, (60, 160, 60))
    sprites = np.stack([to_sprite(pixels, level) for level in (*LEVELS, *LEVELS)])
    rows = np.zeros((4, 77), dtype=np.int16)
    for name in ("singles", "walks"):
        np.savez(
            tmp_path / f"{name}.npz",
            sprites=sprites,
            tokens=rows,
            nothing=rows[:1],
            fillers=NO_MEANING.words,
            word_ends=NO_MEANING.ends,
        )
    with pytest.raises(FileNotFoundError, match="run vae first"):
        load_pool(tmp_path, "singles")
    encode(tmp_path, autoencoder)
    pool = load_pool(tmp_path, "singles")
    assert pool.variants.tolist() == [0, 1, 0, 1]
    assert pool.latents.shape == (4, 4, 16, 16)
    assert (pool.latents[0] == pool.latents[2]).all()
    assert (pool.latents[0] != pool.latents[1]).any()


def test_a_teller_without_lessons_is_none(tmp_path: Path) -> None:
    assert load_teller(tmp_path / "text.pt", 10, 64) is None


def test_a_subject_is_trained_on_few_tiles_of_a_name() -> None:
    def tile(number: int, name: str, kind: str = "item") -> Tile:
        return Tile(f"{number:03}", np.zeros((32, 32, 4), np.uint8), kind, kind, (name,))

    swords = [tile(n, "sword") for n in range(20)]
    assert len(chosen(swords)) == 3
    many = [tile(n, f"sword {n}") for n in range(20)] + swords
    found = chosen(many)
    assert len(found) == len({one.names for one in found}) == 10
    artefact = replace(tile(0, "sword"), path="item/artefact/sword")
    assert artefact not in chosen([artefact, *swords]), "what is one of a kind comes last"
    assert len(chosen([tile(n, "wall", "wall") for n in range(40)])) == 3
    assert len(chosen([tile(n, f"wall {n}", "wall") for n in range(40)])) == 24


def test_a_text_stands_for_a_tile_or_for_a_drawing() -> None:
    def tile(subject: str, *names: str) -> Tile:
        return Tile(names[0], np.zeros((32, 32, 4), np.uint8), "item", subject, names)

    katana = tile("sword", "katana", "long sword", "blade", "golden katana")
    potion = tile("potion", "red potion", "flask")
    zebra = tile("zebra", "zebra", "white zebra")
    found = with_names_of_their_own([katana, potion, zebra])
    assert [one.names for one in found] == [("katana",), ("zebra", "white zebra")]


def test_a_name_stands_for_few_tiles() -> None:
    def tile(path: str, *names: str) -> Tile:
        return Tile(path, np.zeros((32, 32, 4), np.uint8), "monster", "dog", names)

    tiles = [
        tile("a", "hound", "dog"),
        tile("b", "dog", "cur"),
        tile("c", "wolf", "dog"),
        tile("d", "cur", "dog"),
        tile("e", "dog"),
        tile("f", "dog"),
    ]
    found = {one.path: one.names for one in with_few_of_a_name(tiles)}
    assert found == {
        "a": ("hound",),
        "b": ("dog", "cur"),
        "c": ("wolf",),
        "d": ("cur",),
        "e": ("dog",),
    }


def test_the_texts_of_drawings_name_what_they_show_in_many_wordings() -> None:
    world, rng = World(None), random.Random(2)
    texts = []
    for _ in range(150):
        one = world.drawing(rng)
        said = re.sub(r"[^a-z ]", " ", one.text.lower())
        nouns = [*NOUNS[one.subject], *(stone for stone in STONES if one.subject == "gem")]
        assert any(noun in said for noun in nouns), one.text
        if one.colour:
            hues = [*COLOUR_WORDS[one.colour], *(k for k, v in STONES.items() if v == one.colour)]
            assert any(hue in said for hue in hues), one.text
        texts.append(said)
    coloured = [text for text in texts if "colored" in text or "coloured" in text]
    assert coloured, "captions have wordings that sentences have not"


def test_a_colour_of_what_is_drawn_comes_from_the_drawings_alone(world: World) -> None:
    rng = random.Random(3)
    for _ in range(300):
        for example in (world.tile(rng), world.coloured_tile(rng)):
            assert example.colour is None or example.subject not in SUBJECTS


@pytest.mark.parametrize(
    ("share", "centre"), [(0.0, NOISE_CENTRES[0]), (0.5, sum(NOISE_CENTRES) / 2)]
)
def test_noise_levels_of_training_are_log_normal(share: float, centre: float) -> None:
    alphas = noise_schedule().alphas_cumprod
    torch.manual_seed(1)
    levels = ((1 - alphas) / alphas).sqrt().log()[noise_moments(4000, alphas, share)]
    assert abs(float(levels.median()) - centre) < 0.05
    inner = torch.quantile(levels, torch.tensor([0.25, 0.75]))
    assert abs(float(inner[1] - inner[0]) / 1.349 - NOISE_SPREAD) < 0.05


def test_the_report_measures_the_autoencoder(world: World, autoencoder: SpriteAutoencoder) -> None:
    report = measuring.Report()
    with torch.no_grad():
        autoencoder.give.bias[3] = PAINTED  # a mask that shows the picture
    measuring.measure_autoencoder(report, whole_vae(autoencoder), world.tiles, 4)
    assert 0 <= report.figures["autoencoder: pixels within 40 of 255"] < 0.9, "it is not trained"
    assert 0 < float(report.lines[0].split()[1]) < 20


def test_tiles_that_are_not_trained_on_are_held_out(tiny: Path, world: World) -> None:
    held = {tile.path for tile in measuring.held_out_tiles(world, tiny)}
    trained = {tile.path for tile in world.tiles}
    assert not held & trained
    assert held | trained == {tile.path for tile in named_tiles(read_pictures(tiny))}
    assert measuring.held_out_tiles(world, None) == []


def test_loose_pieces_and_lone_pixels_are_counted_apart() -> None:
    sprite = np.zeros((32, 32, 4), dtype=np.uint8)
    sprite[8:24, 8:24] = (200, 40, 40, 255)
    assert (measuring.loose_pieces(sprite), measuring.lone_pixels(sprite)) == (0, 0)
    sprite[2, 2:5] = (200, 40, 40, 255)  # three pixels beside it
    sprite[28:32, 2] = (200, 40, 40, 255)  # four are a part of their own
    sprite[15, 15] = (40, 40, 200, 255)  # an eye
    sprite[20, 18:20] = (40, 40, 200, 255)  # two are none
    assert (measuring.loose_pieces(sprite), measuring.lone_pixels(sprite)) == (1, 1)


def test_what_was_trained_is_read_back_from_the_whole_autoencoder(
    autoencoder: SpriteAutoencoder,
) -> None:
    with torch.no_grad():
        autoencoder.spread.copy_(torch.tensor([0.5, 2.0, 1.5, 3.0]))
        autoencoder.middle.copy_(torch.tensor([0.1, -0.2, 0.3, 0.0]))
    again = trained_of(whole_vae(autoencoder)).state_dict()
    for name, values in autoencoder.state_dict().items():
        torch.testing.assert_close(again[name], values, rtol=1e-4, atol=1e-6, msg=name)


def test_a_model_is_gone_on_with_from_its_folder(tmp_path: Path) -> None:
    """Without its checkpoints, which are not in the repository."""
    from scripts.starter_model.__main__ import main

    folder = ROOT / "comfy_nodes" / "model_files" / "spriteworks-starter"
    common = ["--out", str(tmp_path), "--start", str(folder), "--workers", "1", "--batch", "2"]
    made = ["--singles", "40", "--walks", "8", "--steps", "1"]
    assert main(["vae", *common, *made]) == 0
    latents = np.load(tmp_path / "singles-latents.npz")["latents"].astype(float)
    assert 0.5 < latents.std() < 1.5, "of unit spread, as the denoiser learnt them"
    assert main(["text", *common, *made]) == 0
    shipped = CLIPTextModel.from_pretrained(folder / "text_encoder").float().state_dict()
    teller = load_teller(tmp_path / "text.pt", 3310, 256)
    assert teller is not None
    name = "encoder.layers.0.mlp.fc1.weight"
    (theirs,) = (value for key, value in shipped.items() if key.endswith(name))
    (ours,) = (value for key, value in teller.encoder.state_dict().items() if key.endswith(name))
    assert (ours - theirs).abs().max() < 0.01 < theirs.abs().max()
