"""Programs that the tests of scripts need, or words that say what to install."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable

import pytest

_PACKAGES = {"systemd-analyze": "systemd", "openssl": "openssl"}


@pytest.fixture
def needs() -> Callable[..., None]:
    """Skips a test where one of these programs is missing."""

    def check(*programs: str) -> None:
        if sys.platform != "linux":
            pytest.skip("deploys to Linux with systemd")
        for program in programs:
            if shutil.which(program) is None:
                package = _PACKAGES.get(program, program)
                pytest.skip(f"no {program}: apt-get install {package}")

    return check
