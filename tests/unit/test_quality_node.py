"""The node Quality on the engine's host: pictures pass through, with a report and an answer."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch

from comfy_nodes.errors import BadInput
from orchestrator.engine import host
from test_measures import Pixels, on_key, painted, sprite, tile


@pytest.fixture(scope="module")
def quality() -> Any:
    host.install()
    from comfy_nodes.quality import Quality

    return Quality


def batch(*pictures: Pixels) -> torch.Tensor:
    return torch.from_numpy(np.stack(pictures).astype(np.float32) / 255)


SPECK = painted(sprite(), 7, 12, (190, 190, 200, 255))


def test_pictures_pass_through_with_a_report_and_an_answer_each(quality: Any) -> None:
    given = batch(sprite(), SPECK)
    image, reports, passes = quality.execute(image=given).result
    assert image is given
    assert passes == [True, False]
    told = [json.loads(report) for report in reports]
    assert [one["passed"] for one in told] == [True, False]
    (fault,) = [one for one in told[1]["measures"] if not one["passed"]]
    assert (fault["name"], fault["value"], fault["max"]) == ("orphans", 1, 0)
    assert "Cutout" in fault["mend"]


def test_a_mask_is_the_alpha_and_what_it_hides_is_the_background(quality: Any) -> None:
    fringed = painted(on_key(sprite()), 7, 12, (92, 160, 228, 255))
    mask = 1 - batch(fringed)[..., 3]
    _, reports, passes = quality.execute(image=batch(fringed[..., :3]), mask=mask).result
    assert passes == [False]
    measures = {one["name"]: one["value"] for one in json.loads(reports[0])["measures"]}
    assert measures["fringe"] == 1


def test_it_stops_only_where_it_is_told_to_and_says_why(quality: Any) -> None:
    quality.execute(image=batch(sprite()), stop=True)
    with pytest.raises(BadInput, match=r"picture 2 of 2: orphans is 1 \(at most 0; the node Cut"):
        quality.execute(image=batch(sprite(), SPECK), stop=True)


def test_colours_palette_and_tiles_are_asked_for(quality: Any) -> None:
    assert quality.execute(image=batch(sprite()), colours=3).result[2] == [True]
    assert quality.execute(image=batch(sprite()), colours=2).result[2] == [False]
    assert quality.execute(image=batch(sprite()), palette="#102030").result[2] == [False]
    assert quality.execute(image=batch(tile()[:, :5]), tile=True).result[2] == [False]
    assert quality.execute(image=batch(tile()), tile=True).result[2] == [True]


def test_a_mask_of_another_size_is_refused(quality: Any) -> None:
    with pytest.raises(BadInput, match="one size"):
        quality.execute(image=batch(sprite()), mask=torch.zeros(1, 4, 4))


def test_it_may_share_a_run_with_other_pictures(quality: Any) -> None:
    inputs = {one.id: one for one in quality.define_schema().inputs}
    assert inputs["image"].extra_dict["per_picture"] is True
    assert inputs["stop"].extra_dict == {"whole_set": [True]}
