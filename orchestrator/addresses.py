"""Addresses to listen on: which mean this machine only, how one is taken, and how it is reached.

The embedded engine, the service and the client stand on it.
"""

from __future__ import annotations

import errno
import ipaddress
import os
import re
import socket
from functools import lru_cache

from .errors import ServerStartFailed

# Addresses that mean all of a machine's, and how it reaches itself then.
_WILDCARDS = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}
# A name or an address, in brackets where it has colons, and maybe a port (RFC 9110, 7.2). Nothing
# else that URLs may hold is taken, such as a user before an @: parsers differ in what it means.
_HOST = re.compile(
    r"(\[[0-9a-f:.%]+\]|[^\s\[\]:/?#@\\,]+)(?::(\d{1,5}))?", re.IGNORECASE | re.ASCII
)


@lru_cache(maxsize=1024)
def is_loopback(host: str) -> bool:
    """Say whether a Host header, or an address to listen on, means this machine only.

    A page of a foreign site whose name an attacker's DNS points to 127.0.0.1 (DNS rebinding) is
    its own origin, so nothing but the name gives it away.
    """
    name = host if _is_address(host) else name_of(host)
    if name == "localhost" or name.endswith(".localhost"):
        return True
    return _is_address(name) and ipaddress.ip_address(name).is_loopback


def name_of(host: str) -> str:
    """The name or the address in a Host header, in small letters; "" where it is none."""
    match = _HOST.fullmatch(host)
    if match is None or int(match[2] or 0) > 65535:
        return ""
    name = match[1].strip("[]").lower()
    # a name that ends with the root's dot is the same name
    return name.removesuffix(".")


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def listen(host: str, port: int, what: str) -> socket.socket:
    """Return a bound TCP socket for uvicorn, which begins to listen; port 0 takes any free one.

    Raises ServerStartFailed where that cannot be; `what` ("the engine") begins its sentence.
    """
    try:
        if not 0 <= port <= 65535:
            raise OSError(errno.EINVAL, "ports are 0 to 65535")
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        # asyncio sends small answers at once only where the protocol is named; otherwise each one
        # waits 40 ms for the other end's ACK.
        listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    except UnicodeError as error:
        # what can be no name at all, such as one with a part of 64 letters
        unknown = socket.gaierror(socket.EAI_NONAME, "no host can have this name")
        raise _failed(what, host, port, unknown) from error
    except OSError as error:
        raise _failed(what, host, port, error) from error
    try:
        if os.name != "nt":
            # On Windows this option would let two servers share one port.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise _failed(what, host, port, error) from error
    return listener


def url_of(listener: socket.socket, host: str) -> str:
    """Return the URL under which this machine reaches a socket that was made for `host`."""
    port = listener.getsockname()[1]
    reachable = _WILDCARDS.get(host, host)
    return f"http://[{reachable}]:{port}" if ":" in reachable else f"http://{reachable}:{port}"


def _failed(what: str, host: str, port: int, error: OSError) -> ServerStartFailed:
    taken = error.errno == errno.EADDRINUSE
    reason = "address already in use" if taken else error.strerror or str(error)
    # a name that nobody knows, and an address that this machine does not have
    elsewhere = isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL
    option = "--host" if elsewhere else "--port"
    return ServerStartFailed(
        f"{what} cannot listen on {host}:{port}: {reason}; take another {option}"
    )
