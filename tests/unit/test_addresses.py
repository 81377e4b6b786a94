"""Addresses to listen on: taken, refused with a sentence, and told so that they can be reached."""

from __future__ import annotations

import pytest

from orchestrator.addresses import listen, url_of
from orchestrator.client import wire
from orchestrator.errors import ServerStartFailed


def test_a_port_that_is_taken_is_said_and_no_socket_is_left_open() -> None:
    with listen("127.0.0.1", 0, "the engine") as first:
        first.listen()
        port = first.getsockname()[1]
        with pytest.raises(ServerStartFailed) as caught:
            listen("127.0.0.1", port, "the engine")
    assert str(caught.value) == (
        f"the engine cannot listen on 127.0.0.1:{port}: address already in use; take another --port"
    )
    cause = caught.value.__cause__
    assert cause is not None
    assert cause.__traceback__ is not None
    assert cause.__traceback__.tb_frame.f_locals["listener"].fileno() == -1


@pytest.mark.parametrize("host", ["no.invalid", "192.0.2.1", "a" * 64, "a..b", "a\0b"])
def test_a_name_that_is_no_address_here_is_said(host: str) -> None:
    with pytest.raises(ServerStartFailed, match=r"the service cannot listen on .*--host$"):
        listen(host, 0, "the service")


@pytest.mark.parametrize("port", [-1, 65536, 10**30])
def test_a_port_that_none_can_have_is_said(port: int) -> None:
    with pytest.raises(ServerStartFailed, match=r"ports are 0 to 65535; take another --port$"):
        listen("127.0.0.1", port, "the engine")


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "localhost"])
def test_the_url_of_a_socket_reaches_it_from_this_machine(host: str) -> None:
    with listen(host, 0, "the test") as listener:
        port = listener.getsockname()[1]
        name = "127.0.0.1" if host == "0.0.0.0" else host
        assert url_of(listener, host) == f"http://{name}:{port}"
        assert url_of(listener, "::") == f"http://[::1]:{port}"
        assert wire.is_loopback(url_of(listener, host))


@pytest.mark.parametrize(
    ("url", "loopback"),
    [
        ("http://127.0.0.1:8188", True),
        ("http://127.0.0.2:8188", True),
        ("http://[::1]:8188", True),
        ("http://comfy.localhost", True),
        ("http://LOCALHOST:1/x", True),
        ("http://localhost.example.com", False),
        ("http://192.168.0.1:8188", False),
        ("http://gpu:8188", False),
    ],
)
def test_no_proxy_comes_between_a_machine_and_itself(url: str, loopback: bool) -> None:
    assert wire.is_loopback(url) is loopback
