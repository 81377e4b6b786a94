"""docs/security.md says what the code does, or these tests fail."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import pytest

from orchestrator.service.addresses import Networks
from orchestrator.service.assets import MOST_BYTES
from orchestrator.service.content_types import MOST_PICTURE_BYTES, MOST_PIXELS
from orchestrator.service.keys import FRESH
from orchestrator.service.webhooks import PATIENCE, PAUSES, signature


@pytest.fixture(scope="module")
def page(repository: Path) -> str:
    return (repository / "docs" / "security.md").read_text(encoding="utf-8")


def test_the_figures_are_the_codes(page: str) -> None:
    assert (MOST_BYTES, MOST_PICTURE_BYTES, MOST_PIXELS) == (1024**3, 128 * 1024**2, 8192**2)
    assert "at the limit (1 GiB)" in page
    assert "at most 128 MiB and 8192x8192 pixels" in page
    assert FRESH == 1.0
    assert "A revocation counts within one second" in page
    assert PATIENCE == 15.0
    assert PAUSES == (5, 30, 120, 600, 1800, 3600, 7200, 14400, 28800, 28800)
    assert "after 5 s, 30 s, 2 and 10 minutes, half an hour, 1, 2, 4, 8 and 8 hours" in " ".join(
        page.split()
    )


def test_the_example_of_a_receiver_is_right(page: str) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    names: dict[str, Any] = {}
    exec(compile(code, "docs/security.md", "exec"), names)
    secret, body, now = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", b'{"x":1}', int(time.time())

    def genuine(moment: int = now, sent: bytes = body, by: str = secret) -> bool:
        headers = {
            "webhook-id": "msg_1",
            "webhook-timestamp": str(moment),
            "webhook-signature": "v1,b2xk " + signature(by, "msg_1", moment, body),
        }
        return bool(names["is_genuine"](secret, headers, sent))

    assert genuine()
    assert not genuine(sent=b'{"x":2}')
    assert not genuine(by="whsec_AAAA")
    assert not genuine(moment=now - 301)


def test_the_metadata_addresses_are_inside(page: str) -> None:
    (named,) = re.findall(r"metadata address\s*\(([^)]*)\)", page)
    addresses = [one.strip() for one in named.split(",")]
    assert len(addresses) == 4
    for address in addresses:
        with pytest.raises(Exception, match="is inside"):
            Networks().check(address, "x")
