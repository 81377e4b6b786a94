"""The data, the autoencoder and the measures of the starter model of the whole world.

The tiles are no part of the project: what needs them is shown on small ones of the same names.
"""

from __future__ import annotations

import random
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from scripts.starter_model import measuring  # noqa: E402
from scripts.starter_model.colours import COLOURS, measure_colour  # noqa: E402
from scripts.starter_model.denoiser import (  # noqa: E402
    NOISE_CENTRES,
    NOISE_SPREAD,
    TOLD_AT,
    TOLD_FROM,
    noise_moments,
    noise_schedule,
    told_share,
)
from scripts.starter_model.draw import SUBJECTS, draw  # noqa: E402
from scripts.starter_model.dressing import Wardrobe, describe_character, roles  # noqa: E402
from scripts.starter_model.examples import (  # noqa: E402
    World,
    natural_colours,
    outfit_is_held_out,
    to_latent,
    with_names_of_their_own,
)
from scripts.starter_model.interface import PIECES, draw_piece  # noqa: E402
from scripts.starter_model.known_words import words_of_world  # noqa: E402
from scripts.starter_model.pixel_vae import make_pixel_vae  # noqa: E402
from scripts.starter_model.pool import Pool  # noqa: E402
from scripts.starter_model.progress import Budget  # noqa: E402
from scripts.starter_model.recolour import recoloured  # noqa: E402
from scripts.starter_model.team import Team  # noqa: E402
from scripts.starter_model.text_pictures import load_teller, train_text  # noqa: E402
from scripts.starter_model.tiles import (  # noqa: E402
    TABLES,
    Tile,
    chosen,
    describe,
    read_pictures,
    tiles_file,
)
from scripts.starter_model.walks import WALKERS, march, side_walk  # noqa: E402
from scripts.starter_model.words import learn_merges  # noqa: E402

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
        assert to_latent(one.pixels).shape == (4, 32, 32)


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
    assert world.wardrobe is not None
    rng = random.Random(4)
    found = measuring.held_out_characters(world, 5)
    assert all(outfit_is_held_out(character.key) for character, _, _ in found)
    drawn = {world.character(rng).pixels.tobytes() for _ in range(200)}
    keys = [world.wardrobe.dress(random.Random(k)).key for k in range(300)]
    assert 0.01 < np.mean([outfit_is_held_out(key) for key in keys]) < 0.15
    assert len(drawn) > 50


def test_a_text_names_what_is_worn(tiny: Path) -> None:
    wardrobe = Wardrobe(read_pictures(tiny))
    rng = random.Random(5)
    for _ in range(100):
        character = wardrobe.dress(rng, rng.choice([None, *roles()]))
        text, parts = describe_character(rng, character)
        assert not re.search(r"\ba [aeiou]|  ", text)
        for part in parts:
            place, phrase = part.split(": ")
            assert place in character.layers
            assert phrase in text


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

    for character, _, parts in measuring.held_out_characters(world, 10):
        assert measuring.is_figure(character.pixels)
        for part in parts:
            place = part.split(":")[0]
            assert measuring.part_is_there(character, place, character.pixels)
            bare = composed(character.layers, without=frozenset({place}))
            if (bare != character.pixels).any():
                assert not measuring.part_is_there(character, place, bare)


def test_the_autoencoder_restores_every_pixel() -> None:
    vae = make_pixel_vae()
    rng = np.random.default_rng(1)
    sprite = np.zeros((8, 8, 4), dtype=np.uint8)
    sprite[1:7, 2:6] = rng.integers(0, 256, (6, 4, 4))
    sprite[1:7, 2:6, 3] = 255
    latent = torch.from_numpy(to_latent(sprite)).float()[None] / 127
    picture = vae.decode(latent).sample.clamp(-1, 1)
    assert picture.shape == (1, 3, 64, 64)
    shown = ((picture[0].permute(1, 2, 0) + 1) * 127.5).numpy()[4::8, 4::8]
    there = sprite[..., 3] > 0
    assert (shown[~there] == 255).all(), "the background is exactly white"
    assert np.abs(shown - sprite[..., :3] * (240 / 255))[there].max() < 3
    assert float((picture[..., ::8, ::8] - picture[..., 7::8, 7::8]).abs().max()) == 0
    again = vae.encode(picture).latent_dist.mean
    assert float((again - latent).abs().max()) < 0.06


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
    assert run("train", first, "--steps", "2") == 0
    assert steps(first) == 2
    assert run("train", first, "--steps", "3") == 0
    assert steps(first) == 3
    assert run("export", first, "--model", str(model)) == 0
    assert sum(p.stat().st_size for p in model.rglob("*.safetensors")) <= 48_000_000
    assert run("train", second, "--steps", "1", "--start", str(model)) == 0
    stored = torch.load(second / "denoiser.pt", weights_only=True)["model"]
    before = torch.load(first / "denoiser.pt", weights_only=True)["average"]
    key = "unet.mid_block.resnets.0.conv1.weight"
    assert float((stored[key] - before[key]).abs().max()) < 0.01
    assert run("train", tmp_path / "third", "--watch", "5") == 2, "there is no judge"

    taught = tmp_path / "taught"
    assert run("text", taught, "--steps", "2") == 0
    first_lesson = torch.load(taught / "text.pt", weights_only=True)
    assert run("text", taught, "--steps", "1") == 0
    again = torch.load(taught / "text.pt", weights_only=True)
    key = "encoder.text_model.embeddings.token_embedding.weight"
    key = key if key in again else key.replace("text_model.", "")
    assert 0 < float((again[key] - first_lesson[key]).abs().max()) < 0.05
    assert run("train", taught, "--steps", "1") == 0
    begun = torch.load(taught / "denoiser.pt", weights_only=True)["model"]
    assert float((begun[key] - again[key]).abs().max()) < 0.01, "training begins with the lessons"


def test_texts_are_told_apart_by_what_they_show(tmp_path: Path) -> None:
    ids = np.full((64, 77), 9, dtype=np.int16)
    ids[:, 0] = 8
    ids[:, 1] = np.arange(64) % 2
    latents = np.where((np.arange(64) % 2)[:, None, None, None] > 0, 60, -60)
    pool = Pool(np.broadcast_to(latents, (64, 4, 32, 32)).astype(np.int8), ids, ids[:1])
    train_text(Team(), pool, 10, 64, tmp_path / "text.pt", Budget(steps=60), batch=16)
    teller = load_teller(tmp_path / "text.pt", 10, 64)
    assert teller is not None
    told = teller(torch.from_numpy(ids[:2]).long(), torch.tensor([[2, 40], [2, 40]]))
    assert told[0].mean() < -0.4 < 0.4 < told[1].mean()
    pictures = teller.pictures(torch.from_numpy(ids[:2]).long(), 32)
    assert pictures.shape == (2, 4, 32, 32)
    assert pictures[0].mean() < -0.4 < 0.4 < pictures[1].mean()


def test_a_teller_without_lessons_is_none(tmp_path: Path) -> None:
    assert load_teller(tmp_path / "text.pt", 10, 64) is None


def test_a_text_takes_over_where_noise_hides_the_picture() -> None:
    noise = torch.tensor([TOLD_FROM / 2, TOLD_FROM, (TOLD_FROM * TOLD_AT) ** 0.5, TOLD_AT, 60.0])
    shares = told_share(1 / (1 + noise**2))
    assert torch.allclose(shares, torch.tensor([0.0, 0.0, 0.5, 1.0, 1.0]), atol=1e-4)


def test_a_subject_is_trained_on_few_tiles_of_a_name() -> None:
    def tile(number: int, name: str, kind: str = "item") -> Tile:
        return Tile(f"{number:03}", np.zeros((32, 32, 4), np.uint8), kind, kind, (name,))

    swords = [tile(n, "sword") for n in range(20)]
    assert len(chosen(swords)) == 3
    many = [tile(n, f"sword {n}") for n in range(20)] + swords
    found = chosen(many)
    assert len(found) == len({one.names for one in found}) == 10
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


def test_the_report_measures_the_autoencoder(world: World) -> None:
    report = measuring.Report()
    measuring.measure_autoencoder(report, make_pixel_vae(), world, 4)
    assert report.figures["autoencoder: pixels within 40 of 255"] > 0.99
    assert float(report.lines[0].split()[1]) > 30
