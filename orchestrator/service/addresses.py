"""Where the service may connect to for others: URLs, and networks that are inside."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from urllib.parse import urlsplit

from ..errors import BadValue

_LONGEST = 2048
_URL = re.compile(r"[\x21-\x7e]+")
_HOST = re.compile(r"[a-z0-9]([a-z0-9._-]*[a-z0-9])?\.?", re.IGNORECASE)
# What browsers take for an IPv4 address: a name whose last part is a number (WHATWG URL, 3.5)
_NUMBER = re.compile(r"(.*\.)?(0x[0-9a-f]*|[0-9]+)\.?", re.IGNORECASE)
# Ports below 1024 belong to mail, shells and the like, which a request would be typed into.
_LOW_PORTS = frozenset({80, 443})
# Written out, as what `ipaddress` calls global changes with Python's version. Of version 4 all is
# outside but IANA's special-purpose registry (RFC 6890), multicast, and the address at which the
# machines of Azure find their platform (168.63.129.16).
_INSIDE_4 = tuple(
    ip_network(text)
    for text in (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "168.63.129.16/32"),
        *("169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24"),
        *("192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24"),
        *("224.0.0.0/4", "240.0.0.0/4"),
    )
)
# Of version 6 only what IANA hands out (2000::/3), without protocols of their own (Teredo, 6to4,
# which have an address of version 4 within) and what is for documents.
_OUTSIDE_6 = ip_network("2000::/3")
_INSIDE_6 = tuple(
    ip_network(text) for text in ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")
)
# Its last 32 bits are an address of version 4, which a network without that version asks for so
# (RFC 6052).
_TRANSLATED = ip_network("64:ff9b::/96")


@dataclass(frozen=True, kw_only=True)
class WebAddress:
    """Where a URL points to."""

    is_tls: bool
    # a name or an address, lower-case, without brackets
    host: str
    port: int
    # with the query
    path: str
    # as the header Host has it
    netloc: str


def target_of(url: str) -> WebAddress:
    """Take a URL apart; raises BadValue for one that no message is sent to."""
    if len(url) > _LONGEST or not _URL.fullmatch(url):
        raise BadValue(f"a webhook's URL has 1 to {_LONGEST} printable ASCII letters")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise BadValue(f"that is no URL of a webhook: {error}") from error
    if parts.scheme not in ("http", "https"):
        raise BadValue("a webhook's URL begins with https:// or http://")
    if parts.username is not None or parts.password is not None or "\\" in url:
        raise BadValue("a webhook's URL has no user, no password and no \\")
    host = (parts.hostname or "").lower()
    # Python's own look at brackets changes with its version.
    in_brackets = "[" in parts.netloc
    if not (_is_version_6(host) if in_brackets else _HOST.fullmatch(host)):
        raise BadValue("a webhook's URL names no host")
    is_tls = parts.scheme == "https"
    number = port if port is not None else 443 if is_tls else 80
    if number < 1024 and number not in _LOW_PORTS:
        raise BadValue(f"no webhook is sent to port {number}; take 80, 443, or one from 1024 on")
    if not in_brackets and _NUMBER.fullmatch(host):
        _written_as_usual(host)
    shown = f"[{host}]" if in_brackets else host
    return WebAddress(
        is_tls=is_tls,
        host=host,
        port=number,
        path=(parts.path or "/") + (f"?{parts.query}" if parts.query else ""),
        netloc=shown if port is None else f"{shown}:{port}",
    )


async def resolved(host: str, port: int) -> Sequence[str]:
    """The addresses of a host, as this system finds them; raises OSError where it has none."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class Networks:
    """What is inside: everything that is not the public internet, except what is allowed."""

    def __init__(self, allow: Sequence[str] = ()) -> None:
        try:
            self._allowed = tuple(ip_network(text.strip()) for text in allow)
        except ValueError as error:
            raise BadValue(f"{error}; give a network like 10.0.0.0/8") from error

    def check(self, address: str, host: str) -> None:
        """Raise BadValue where an address, the one of `host`, is inside and not allowed."""
        try:
            # A link's name behind "%" says on which network of this machine, which is inside.
            ip = ip_address(address)
        except ValueError as error:
            raise BadValue(f"{host} resolves to {address!r}, which is no address") from error
        if any(ip in network for network in self._allowed if network.version == ip.version):
            return
        if _is_inside(ip):
            raise BadValue(
                f"{host} is inside ({ip}), and nothing is sent there; whoever runs the service may "
                "allow networks"
            )


def _is_inside(ip: IPv4Address | IPv6Address) -> bool:
    if isinstance(ip, IPv4Address):
        return any(ip in network for network in _INSIDE_4)
    if ip.ipv4_mapped is not None:
        return _is_inside(ip.ipv4_mapped)
    if ip in _TRANSLATED:
        return _is_inside(IPv4Address(int(ip) & 0xFFFF_FFFF))
    return ip not in _OUTSIDE_6 or any(ip in network for network in _INSIDE_6)


def _is_version_6(host: str) -> bool:
    try:
        return IPv6Address(host).scope_id is None
    except ValueError:
        return False


def _written_as_usual(host: str) -> None:
    """Raise BadValue for 127.1, 0x7f000001 and the like, which not everybody reads alike."""
    try:
        IPv4Address(host)
    except ValueError as error:
        raise BadValue(f"{host} is no host; write an address as four numbers") from error
