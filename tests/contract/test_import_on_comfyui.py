"""What the pack costs a start of ComfyUI."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

import pytest

pytestmark = [pytest.mark.comfyui, pytest.mark.timeout(600)]

Measure = Callable[..., dict[str, Any]]


def test_the_pack_imports_nothing_that_comfyui_has_not(measured_on_comfyui: Measure) -> None:
    report = measured_on_comfyui("import_on_comfyui.py")
    assert report["nodes"]
    assert report["foreign"] == []


@pytest.mark.benchmark
def test_how_long_the_import_takes(
    measured_on_comfyui: Measure, capsys: pytest.CaptureFixture[str]
) -> None:
    """Below 100 ms where nothing else runs; the first run may compile."""
    runs = [measured_on_comfyui("import_on_comfyui.py") for _ in range(6)][1:]
    with capsys.disabled():
        for key in ("milliseconds", "cpu_milliseconds"):
            figures = [run[key] for run in runs]
            print(f"\n{key}: median {statistics.median(figures):.0f}, least {min(figures):.0f}")
