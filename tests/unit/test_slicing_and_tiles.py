"""The nodes Slice Sheet and Close Seams on the engine's host."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from comfy_nodes.errors import BadInput
from comfy_nodes.ops.tile_edges import seam
from orchestrator.engine import host


@pytest.fixture(scope="module")
def nodes() -> Any:
    host.install()
    from comfy_nodes.slicing import SliceSheet
    from comfy_nodes.tile import CloseSeams

    return {"slice": SliceSheet, "close": CloseSeams}


def numbered(columns: int, rows: int, count: int = 1) -> torch.Tensor:
    """Sheets of cells of 3x2 px, each filled with its own number of 255."""
    cells = torch.arange(count * rows * columns).reshape(count, rows, columns)
    whole = cells.repeat_interleave(2, 1).repeat_interleave(3, 2)
    return whole[..., None].expand(-1, -1, -1, 3).float() / 255


@pytest.mark.parametrize(("columns", "rows", "count"), [(4, 1, 1), (3, 2, 1), (2, 3, 2), (1, 1, 1)])
def test_cells_come_row_by_row_and_sheet_by_sheet(
    nodes: Any, columns: int, rows: int, count: int
) -> None:
    sheet = numbered(columns, rows, count)
    image, mask = nodes["slice"].execute(image=sheet, columns=columns, rows=rows).result
    assert image.shape == (count * rows * columns, 2, 3, 3)
    assert mask.shape == image.shape[:3]
    found = (image * 255).round().int()
    assert [set(one.flatten().tolist()) for one in found] == [{one} for one in range(len(found))]


def test_cells_keep_their_transparency(nodes: Any) -> None:
    hole = torch.zeros(1, 2, 6)
    hole[:, :, 3:] = 1
    image, mask = nodes["slice"].execute(numbered(2, 1), columns=2, rows=1, mask=hole).result
    assert image.shape[-1] == 3
    assert mask.mean(dim=(1, 2)).tolist() == [0, 1]


@pytest.mark.parametrize(
    ("columns", "rows", "named"), [(4, 1, "width of 9"), (3, 4, "height of 2")]
)
def test_cells_that_are_not_equal_are_refused(
    nodes: Any, columns: int, rows: int, named: str
) -> None:
    with pytest.raises(BadInput, match=rf"{named} px is no multiple of 4"):
        nodes["slice"].execute(numbered(3, 1), columns=columns, rows=rows)


def gradient(side: int = 24) -> torch.Tensor:
    """A picture whose left edge is far from its right one, with noise so that a cut can hide."""
    rng = np.random.default_rng(3)
    light = np.linspace(0, 200, side)[None, :, None] + rng.integers(0, 40, (side, side, 1))
    return torch.from_numpy(np.repeat(light, 3, axis=2).astype(np.float32) / 255)[None]


def test_a_seam_is_closed_in_the_pictures_own_colours(nodes: Any) -> None:
    given = gradient()
    tile, mask = nodes["close"].execute(image=given, margin=0).result
    before, after = ((one[0] * 255).round().byte().numpy() for one in (given, tile))
    assert seam(after) < seam(before)
    assert {tuple(one) for one in after.reshape(-1, 3)} <= {
        tuple(one) for one in before.reshape(-1, 3)
    }
    assert not mask.any()
    again, _ = nodes["close"].execute(image=torch.zeros(1, 16, 16, 3), margin=0).result
    assert torch.equal(again, torch.zeros(1, 16, 16, 3))


def test_what_is_too_small_to_close_is_refused(nodes: Any) -> None:
    with pytest.raises(BadInput, match="too small to close"):
        nodes["close"].execute(image=gradient(6), margin=0)


def test_a_margin_is_cut_off_before(nodes: Any) -> None:
    given = torch.ones(1, 20, 30, 3)
    given[:, 3:-3, 3:-3] = 0.5
    tile, mask = nodes["close"].execute(image=given, margin=3).result
    assert tile.shape == (1, 14, 24, 3)
    assert mask.shape == (1, 14, 24)
    assert tile.max() < 0.6
    with pytest.raises(BadInput, match="margin of 10 px leaves nothing of a picture of 30x20"):
        nodes["close"].execute(image=given, margin=10)
