"""Two hosts on one machine: this one, and a network namespace behind a cable that can be cut."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest


class Cable:
    """The cable between both hosts."""

    def __init__(self, number: int) -> None:
        self._name = f"swb{number}"
        self._here, self._there = f"swa{number}", f"swc{number}"
        net = f"10.213.{number % 256}"
        self.address_here, self.address_there = f"{net}.1", f"{net}.2"
        # what goes before a command that runs on the other host
        self.inside = ["ip", "netns", "exec", self._name]

    def lay(self) -> None:
        """Make the other host, and connect it."""
        _ip("netns", "add", self._name)
        _ip("link", "add", self._here, "type", "veth", "peer", "name", self._there)
        _ip("link", "set", self._there, "netns", self._name)
        _ip("addr", "add", f"{self.address_here}/30", "dev", self._here)
        _ip("link", "set", self._here, "up")
        for words in (
            ("addr", "add", f"{self.address_there}/30", "dev", self._there),
            ("link", "set", self._there, "up"),
            ("link", "set", "lo", "up"),
        ):
            _ip("-n", self._name, *words)

    def cut(self) -> None:
        """Let nothing through: neither side is told, what is sent is gone."""
        _ip("link", "set", self._here, "down")

    def mend(self) -> None:
        """Let everything through again."""
        _ip("link", "set", self._here, "up")

    def remove(self) -> None:
        """Take both away, whatever is there."""
        for words in (("link", "del", self._here), ("netns", "del", self._name)):
            subprocess.run(["ip", *words], check=False, stderr=subprocess.DEVNULL)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


def why_not() -> str:
    """Why there can be no second host here; "" where there can."""
    if shutil.which("ip") is None:
        return "no network namespaces: apt install iproute2 (Linux)"
    if os.geteuid() != 0:
        return "no network namespaces: they take root"
    cable = Cable(os.getpid() % 9999)
    try:
        cable.lay()
    except subprocess.CalledProcessError as error:
        return f"no network namespaces here: {error.stderr.decode().strip()}"
    finally:
        cable.remove()
    return ""


@contextmanager
def second_host() -> Iterator[Cable]:
    """A second host, or a skip that says why there is none."""
    if why := why_not():
        pytest.skip(why)
    cable = Cable(os.getpid() % 9999)
    cable.lay()
    try:
        yield cable
    finally:
        cable.remove()


def at_host(url: str, address: str) -> str:
    """The same address of a server, as another host sees it."""
    return url.replace("127.0.0.1", address)
