"""Roles: found by tracing links from the samplers, and set."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from orchestrator.errors import BadValue, UnknownNodeClass, UnknownParameter
from orchestrator.workflow.checking import validate
from orchestrator.workflow.roles import (
    ROLES,
    available_roles,
    find_targets,
    image_inputs,
    parameters,
    samplers,
    seed_of_image,
    set_parameters,
    split_setting,
    split_settings,
)

REPOSITORY = Path(__file__).resolve().parent.parent.parent


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def shipped(name: str) -> Any:
    return read(REPOSITORY / "workflows" / "api" / f"{name}.json")


@pytest.fixture
def sprite() -> Any:
    return shipped("sprite")


def node(kind: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": kind, "inputs": inputs}


def targets(graph: Any, info: Any) -> dict[str, list[str]]:
    return {
        role: [str(target) for target in find_targets(graph, role, info)]
        for role in available_roles(graph, info)
    }


def basic(**sampler: Any) -> dict[str, Any]:
    """Checkpoint, LoRA, two texts, one sampler: what most people's graphs are like."""
    return {
        "1": node("CheckpointLoaderSimple", ckpt_name="sd15.safetensors"),
        "2": node(
            "LoraLoader",
            model=["1", 0],
            clip=["1", 1],
            lora_name="pixel.safetensors",
            strength_model=1.0,
            strength_clip=1.0,
        ),
        "3": node("CLIPTextEncode", text="good", clip=["2", 1]),
        "4": node("CLIPTextEncode", text="bad", clip=["2", 1]),
        "5": node("EmptyLatentImage", width=512, height=768, batch_size=2),
        "6": node(
            "KSampler",
            **{
                "model": ["2", 0],
                "seed": 5,
                "steps": 20,
                "cfg": 8.0,
                "sampler_name": "euler",
                "scheduler": "normal",
                "positive": ["3", 0],
                "negative": ["4", 0],
                "latent_image": ["5", 0],
                "denoise": 1.0,
                **sampler,
            },
        ),
        "7": node("VAEDecode", samples=["6", 0], vae=["1", 2]),
        "8": node("SaveImage", images=["7", 0], filename_prefix="x"),
    }


# --------------------------------------------------------------------------- tracing


def test_a_plain_graph(info: Any) -> None:
    graph = basic()
    assert validate(graph, info) == []
    assert targets(graph, info) == {
        "prompt": ["3.text"],
        "negative": ["4.text"],
        "seed": ["6.seed"],
        "steps": ["6.steps"],
        "cfg": ["6.cfg"],
        "width": ["5.width"],
        "height": ["5.height"],
        "batch_size": ["5.batch_size"],
        "sampler": ["6.sampler_name"],
        "scheduler": ["6.scheduler"],
        "denoise": ["6.denoise"],
        # past the LoRA
        "model": ["1.ckpt_name"],
    }
    assert parameters(graph, info) == {
        "prompt": "good",
        "negative": "bad",
        "seed": 5,
        "steps": 20,
        "cfg": 8.0,
        "width": 512,
        "height": 768,
        "batch_size": 2,
        "sampler": "euler",
        "scheduler": "normal",
        "denoise": 1.0,
        "model": "sd15.safetensors",
    }


def test_the_shipped_inpaint_graph(info: Any) -> None:
    found = targets(shipped("inpaint"), info)
    assert found["width"] == ["8.width"]
    assert found["prompt"] == ["2.text"]
    assert found["image"] == ["5.image"]
    assert found["mask"] == ["6.image"]
    assert found["model"] == ["1.model_name"]
    assert set(found) == set(ROLES) - {"batch_size"}


def test_the_seed_of_a_seed_batch_is_that_node_s(info: Any) -> None:
    found = targets(shipped("batch"), info)
    assert found["seed"] == ["5.seed"]
    assert found["batch_size"] == ["5.batch_size"]
    assert found["width"] == ["5.width"]


def test_ksampler_advanced_has_its_own_names(info: Any) -> None:
    graph = basic()
    inputs = graph["6"]["inputs"]
    inputs["noise_seed"] = inputs.pop("seed")
    del inputs["denoise"]
    inputs.update(
        add_noise="enable", start_at_step=0, end_at_step=9, return_with_leftover_noise="disable"
    )
    graph["6"]["class_type"] = "KSamplerAdvanced"
    assert validate(graph, info) == []
    found = targets(graph, info)
    assert found["seed"] == ["6.noise_seed"]
    assert "denoise" not in found
    assert seed_of_image(graph, "8", 1) == 5


def test_conditioning_that_passes_positive_and_negative_through(info: Any) -> None:
    graph = basic(positive=["10", 0], negative=["10", 1], latent_image=["10", 2])
    graph["9"] = node("LoadImage", image="a.png")
    graph["10"] = node(
        "InpaintModelConditioning",
        positive=["11", 0],
        negative=["11", 1],
        vae=["1", 2],
        pixels=["9", 0],
        mask=["9", 1],
        noise_mask=True,
    )
    graph["11"] = node(
        "ControlNetApplyAdvanced",
        positive=["3", 0],
        negative=["4", 0],
        control_net=["12", 0],
        image=["9", 0],
        strength=1.0,
        start_percent=0.0,
        end_percent=1.0,
    )
    graph["12"] = node("ControlNetLoader", control_net_name="canny.safetensors")
    del graph["5"]
    assert validate(graph, info) == []
    found = targets(graph, info)
    assert (found["prompt"], found["negative"]) == (["3.text"], ["4.text"])
    assert found["model"] == ["1.ckpt_name"]
    # one node gives picture and mask: that is the picture
    assert found["image"] == ["9.image"]
    assert not {"mask", "width", "batch_size"} & set(found)


def passed_through(count: int) -> dict[str, Any]:
    """Both texts go through `count` nodes that hand positive and negative on."""
    graph = basic()
    graph["9"] = node("LoadImage", image="a.png")
    graph["10"] = node("ControlNetLoader", control_net_name="canny.safetensors")
    texts = graph["6"]["inputs"]
    for number in range(20, 20 + count):
        graph[str(number)] = node(
            "ControlNetApplyAdvanced",
            positive=texts["positive"],
            negative=texts["negative"],
            control_net=["10", 0],
            image=["9", 0],
            strength=1.0,
            start_percent=0.0,
            end_percent=1.0,
        )
        texts.update(positive=[str(number), 0], negative=[str(number), 1])
    return graph


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_prompt_never_lands_in_the_negative_however_many_nodes_hand_both_on(
    count: int, info: Any
) -> None:
    graph = passed_through(count)
    assert validate(graph, info) == []
    changed = set_parameters(graph, split_settings(["prompt=a potion", "negative=a photo"]), info)
    assert changed["3"]["inputs"]["text"] == "a potion"
    assert changed["4"]["inputs"]["text"] == "a photo"


def test_a_sampler_that_takes_the_two_outputs_the_wrong_way_round_is_believed(info: Any) -> None:
    graph = passed_through(1)
    graph["6"]["inputs"].update(positive=["20", 1], negative=["20", 0])
    found = targets(graph, info)
    assert (found["prompt"], found["negative"]) == (["4.text"], ["3.text"])


def test_a_negative_that_is_zeroed_out_is_no_negative_text(info: Any) -> None:
    graph = basic(negative=["9", 0])
    graph["9"] = node("ConditioningZeroOut", conditioning=["3", 0])
    found = targets(graph, info)
    assert "negative" not in found
    assert found["prompt"] == ["3.text"]


def test_both_texts_of_sdxl_are_set_together(info: Any) -> None:
    graph = basic()
    graph["3"] = node(
        "CLIPTextEncodeSDXL",
        clip=["2", 1],
        text_g="good",
        text_l="good",
        width=1024,
        height=1024,
        crop_w=0,
        crop_h=0,
        target_width=1024,
        target_height=1024,
    )
    changed = set_parameters(graph, split_settings(["prompt=new"]), info)["3"]["inputs"]
    assert (changed["text_g"], changed["text_l"]) == ("new", "new")
    # the size that a text mentions is not the picture's
    assert targets(graph, info)["width"] == ["5.width"]


def test_a_sampler_put_together_from_parts(info: Any) -> None:
    graph = basic()
    graph["6"] = node(
        "SamplerCustomAdvanced",
        noise=["10", 0],
        guider=["11", 0],
        sampler=["12", 0],
        sigmas=["13", 0],
        latent_image=["5", 0],
    )
    graph["10"] = node("RandomNoise", noise_seed=9)
    graph["11"] = node("CFGGuider", model=["2", 0], positive=["3", 0], negative=["4", 0], cfg=3.0)
    graph["12"] = node("KSamplerSelect", sampler_name="euler")
    graph["13"] = node("BasicScheduler", model=["2", 0], scheduler="karras", steps=12, denoise=0.5)
    assert validate(graph, info) == []
    found = targets(graph, info)
    assert found["seed"] == ["10.noise_seed"]
    assert found["cfg"] == ["11.cfg"]
    assert (found["prompt"], found["negative"]) == (["3.text"], ["4.text"])
    assert found["sampler"] == ["12.sampler_name"]
    assert [found[role] for role in ("steps", "scheduler", "denoise")] == [
        ["13.steps"],
        ["13.scheduler"],
        ["13.denoise"],
    ]
    assert found["model"] == ["1.ckpt_name"]
    assert seed_of_image(graph, "8", 0) == 9

    graph["11"] = node("BasicGuider", model=["2", 0], conditioning=["3", 0])
    found = targets(graph, info)
    assert found["prompt"] == ["3.text"]
    assert not {"negative", "cfg"} & set(found)


def test_img2img_counts_copies_and_takes_the_size_of_the_scaling(info: Any) -> None:
    graph = basic(latent_image=["12", 0], denoise=0.6)
    del graph["5"]
    graph["9"] = node("LoadImage", image="a.png")
    graph["10"] = node(
        "ImageScale", image=["9", 0], upscale_method="area", width=64, height=96, crop="disabled"
    )
    graph["11"] = node("VAEEncode", pixels=["10", 0], vae=["1", 2])
    graph["12"] = node("RepeatLatentBatch", samples=["11", 0], amount=4)
    found = parameters(graph, info)
    assert (found["width"], found["height"], found["batch_size"]) == (64, 96, 4)
    assert found["image"] == "a.png"


def test_a_mask_may_come_from_a_picture_s_alpha(info: Any) -> None:
    graph = shipped("inpaint")
    graph["6"] = node("LoadImage", image="m.png")
    graph["7"]["inputs"]["mask"] = ["6", 1]
    assert targets(graph, info)["mask"] == ["6.image"]
    assert [(entry.node_id, entry.role) for entry in image_inputs(graph, info)] == [
        ("5", "image"),
        ("6", "mask"),
    ]


def two_samplers(**second: Any) -> dict[str, Any]:
    """A second pass at twice the size."""
    graph = basic()
    graph["9"] = node(
        "LatentUpscale",
        samples=["6", 0],
        upscale_method="bilinear",
        width=1024,
        height=1536,
        crop="disabled",
    )
    graph["10"] = copy.deepcopy(graph["6"])
    graph["10"]["inputs"].update(latent_image=["9", 0], **second)
    graph["7"]["inputs"]["samples"] = ["10", 0]
    return graph


def test_several_samplers_that_agree_are_set_together(info: Any) -> None:
    graph = two_samplers()
    assert samplers(graph) == ["6", "10"]
    changed = set_parameters(graph, split_settings(["seed=8", "prompt=x", "batch_size=3"]), info)
    assert changed["6"]["inputs"]["seed"] == changed["10"]["inputs"]["seed"] == 8
    assert changed["3"]["inputs"]["text"] == "x"
    assert changed["5"]["inputs"]["batch_size"] == 3


def test_several_samplers_that_differ_are_ambiguous(info: Any) -> None:
    graph = two_samplers(denoise=0.5)
    with pytest.raises(UnknownParameter, match=r"say which: 6\.denoise \(KSampler\), 10\.denoise"):
        set_parameters(graph, split_settings(["denoise=0.7"]), info)
    with pytest.raises(UnknownParameter, match=r"5\.width .*, 9\.width"):
        set_parameters(graph, split_settings(["width=64"]), info)
    changed = set_parameters(graph, split_settings(["10.denoise=0.7"]), info)
    assert (changed["6"]["inputs"]["denoise"], changed["10"]["inputs"]["denoise"]) == (1.0, 0.7)
    assert parameters(graph, info)["denoise"] == {"6.denoise": 1.0, "10.denoise": 0.5}


# --------------------------------------------------------------------------- setting


def test_a_literal_takes_the_place_of_a_link(sprite: Any, info: Any) -> None:
    changed = set_parameters(sprite, split_settings(["steps=12", "width=128", "cfg=3"]), info)
    assert changed["6"]["inputs"]["steps"] == 12
    assert changed["6"]["inputs"]["cfg"] == 3.0
    assert changed["5"]["inputs"]["width"] == 128
    assert changed["4"]["inputs"] == sprite["4"]["inputs"]
    assert validate(changed, info) == []
    assert sprite == shipped("sprite"), "the given graph was changed"


def test_names_by_id_and_by_title(sprite: Any, info: Any) -> None:
    settings = ['"Model defaults".steps=7', "Positive.text=a=b", "11.filename_prefix=out/x"]
    changed = set_parameters(sprite, split_settings(settings), info)
    assert changed["4"]["inputs"]["steps"] == 7
    assert changed["2"]["inputs"]["text"] == "a=b"
    assert changed["11"]["inputs"]["filename_prefix"] == "out/x"


@pytest.mark.parametrize(
    ("setting", "name", "value"),
    [
        ("a=b=c", "a", "b=c"),
        (" a =", "a", ""),
        ('"a=b"=c', '"a=b"', "c"),
        ('"".a="b"=c', '"".a', '"b"=c'),
        # a quotation mark that nothing closes is one of the name
        ('"a=b', '"a', "b"),
        ('a"b=c"=d', 'a"b', 'c"=d'),
    ],
)
def test_a_setting_is_split_at_the_first_equals_sign_outside_a_title(
    setting: str, name: str, value: str
) -> None:
    assert split_setting(setting) == (name, value)


@pytest.mark.parametrize("setting", ["", "a", "=", "=a=b", " =a", '"a=b"'])
def test_what_has_no_name_or_no_equals_sign_is_no_setting(setting: str) -> None:
    with pytest.raises(UnknownParameter, match="is not NAME=VALUE"):
        split_setting(setting)


def test_every_text_that_is_mixed_in_gets_the_prompt(info: Any) -> None:
    graph = basic(positive=["7", 0])
    graph["7"] = node("ConditioningCombine", conditioning_1=["3", 0], conditioning_2=["8", 0])
    graph["8"] = copy.deepcopy(graph["3"])
    assert sorted(map(str, find_targets(graph, "prompt", info))) == ["3.text", "8.text"]


def test_titles_with_dots_and_equals_signs(sprite: Any, info: Any) -> None:
    sprite["6"]["_meta"]["title"] = "v1.5 a=b"
    assert (
        set_parameters(sprite, split_settings(['"v1.5 a=b".steps=3']), info)["6"]["inputs"]["steps"]
        == 3
    )


def test_later_settings_win_and_values_may_be_empty(sprite: Any, info: Any) -> None:
    changed = set_parameters(sprite, split_settings(["seed=1", "seed=2", "negative="]), info)
    assert changed["6"]["inputs"]["seed"] == 2
    assert changed["3"]["inputs"]["text"] == ""


def test_an_optional_input_that_the_graph_lacks_can_be_set(info: Any) -> None:
    graph = {"1": node("SpriteworksPalette", image=["2", 0])}
    graph["2"] = node("LoadImage", image="a.png")
    assert (
        set_parameters(graph, split_settings(["1.dither=yes"]), info)["1"]["inputs"]["dither"]
        is True
    )


def test_a_picture_is_any_path(info: Any) -> None:
    changed = set_parameters(
        shipped("inpaint"), split_settings(["image=/x/y z.png", "mask=m.png"]), info
    )
    assert changed["5"]["inputs"]["image"] == "/x/y z.png"
    assert changed["6"]["inputs"]["image"] == "m.png"


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("promt=x", "no such parameter, did you mean 'prompt'.*this workflow has: prompt, neg"),
        ("mask=x.png", r"this workflow has no mask \(it has: prompt"),
        ("nonsense", "not NAME=VALUE, for example"),
        ("=3", "not NAME=VALUE"),
        ("99.steps=3", r"no node has the id or title '99' \(there is: 1 \(Model\), 2 \(Positive\)"),
        ("Posittive.text=x", "did you mean 'Positive'"),
        ("6.step=3", "KSampler has no input 'step', did you mean 'steps'"),
    ],
)
def test_unknown_names_say_what_is_there(
    setting: str, message: str, sprite: Any, info: Any
) -> None:
    with pytest.raises(UnknownParameter, match=message):
        set_parameters(sprite, split_settings([setting]), info)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("steps=ten", "steps=ten: 'ten' is not a whole number"),
        ("steps=1.5", "not a whole number"),
        ("steps=0", "below the smallest allowed, 1"),
        ("seed=18446744073709551616", "above the largest allowed, 18446744073709551615"),
        ("seed=-1", "below the smallest"),
        ("cfg=nan", "'nan' is not a number"),
        ("cfg=1e999", "is not a number"),
        ("cfg=101", "above the largest allowed, 100"),
        ("sampler=euler_ancestrel", "did you mean 'euler_ancestral"),
        ("model=sdxl", r"there is no 'sdxl' \(there is: spriteworks-starter\)"),
        ("6.model=x", "model takes MODEL from another node, and no value"),
    ],
)
def test_bad_values_say_what_would_do(setting: str, message: str, sprite: Any, info: Any) -> None:
    with pytest.raises(BadValue, match=message):
        set_parameters(sprite, split_settings([setting]), info)


def test_values_that_are_neither_true_nor_false(info: Any) -> None:
    graph = shipped("pixel_art")
    with pytest.raises(BadValue, match="neither true nor false"):
        set_parameters(graph, split_settings(["Palette.dither=maybe"]), info)
    for text, value in (("True", True), ("off", False), ("1", True), ("No", False)):
        changed = set_parameters(graph, split_settings([f"Palette.dither={text}"]), info)
        assert changed["10"]["inputs"]["dither"] is value


def test_a_title_that_two_nodes_have_needs_the_id(sprite: Any, info: Any) -> None:
    sprite["3"]["_meta"]["title"] = "Positive"
    with pytest.raises(UnknownParameter, match=r"several nodes have the title 'Positive'.*2, 3"):
        set_parameters(sprite, split_settings(["Positive.text=x"]), info)


def test_an_unknown_class_on_the_way_is_named(sprite: Any, info: Any) -> None:
    sprite["2"]["class_type"] = "CLIPTextEncoder"
    del sprite["2"]["inputs"]["text"]
    with pytest.raises(UnknownNodeClass, match="CLIPTextEncoder"):
        set_parameters(sprite, split_settings(["prompt=x"]), info)


def test_split_at_the_first_equals_sign() -> None:
    assert split_setting("prompt=a=b") == ("prompt", "a=b")
    assert split_setting('"a=b".text= x ') == ('"a=b".text', " x ")


# --------------------------------------------------------------------------- reading


def test_a_value_behind_a_primitive_is_known(info: Any) -> None:
    graph = basic(seed=["9", 0], steps=["10", 0])
    graph["9"] = node("PrimitiveInt", value=77)
    graph["10"] = node("SpriteworksModelDefaults", model=["1", 0], steps=20, cfg=8.0)
    found = parameters(graph, info)
    assert found["seed"] == 77
    # the server's node decides
    assert found["steps"] is None
    assert seed_of_image(graph, "8", 0) == 77


def test_a_value_that_the_servers_node_told_is_that_of_the_output(info: Any) -> None:
    graph = basic(steps=["10", 0], cfg=["10", 1])
    graph["10"] = node("SpriteworksModelDefaults", model=["1", 0], steps=20, cfg=8.0)
    told = {"10": {"values": [{"0": 4, "1": 1.5}]}}
    found = parameters(graph, info, told)
    assert (found["steps"], found["cfg"]) == (4, 1.5)
    assert parameters(graph, info, {"10": {"values": []}})["steps"] is None


def test_the_size_nearest_to_the_sampler_counts(info: Any) -> None:
    graph = basic(latent_image=["9", 0])
    graph["9"] = node(
        "LatentUpscale",
        samples=["5", 0],
        upscale_method="bilinear",
        width=1024,
        height=1536,
        crop="disabled",
    )
    assert targets(graph, info)["width"] == ["9.width"]


def test_a_link_to_an_output_that_is_not_there_is_for_the_validation(info: Any) -> None:
    graph = basic()
    graph["9"] = node("LoadImage", image="a.png")
    graph["10"] = node("SaveImage", images=["9", 7], filename_prefix="x")
    assert targets(graph, info)["image"] == ["9.image"]


def test_seeds_of_a_batch_count_up_and_wrap(info: Any) -> None:
    graph = set_parameters(shipped("batch"), split_settings([f"seed={2**64 - 2}"]), info)
    seeds = [seed_of_image(graph, "9", index) for index in range(4)]
    assert seeds == [2**64 - 2, 2**64 - 1, 0, 1]


def test_pictures_of_one_sampler_share_its_seed() -> None:
    graph = basic()
    assert [seed_of_image(graph, "8", index) for index in (0, 1)] == [5, 5]
    # nearest first: the second pass made the picture
    assert seed_of_image(two_samplers(seed=6), "8", 0) == 6


def test_the_seed_of_a_sampler_counts_though_its_model_leads_nowhere() -> None:
    assert seed_of_image(basic(model=["lost", 0]), "8", 0) == 5


def test_a_picture_without_a_sampler_has_no_seed(info: Any) -> None:
    graph = {"1": node("LoadImage", image="a.png"), "2": node("SaveImage", images=["1", 0])}
    assert seed_of_image(graph, "2", 0) is None
    assert available_roles(graph, info) == ["image"]
    assert parameters(graph, info) == {"image": "a.png"}


def test_the_documentation_has_every_role() -> None:
    text = (REPOSITORY / "docs" / "workflows.md").read_text(encoding="utf-8")
    _, _, table = text.partition("| role |")
    rows = [line.split("`")[1] for line in table.split("\n\n")[0].splitlines()[2:]]
    assert rows == list(ROLES)
