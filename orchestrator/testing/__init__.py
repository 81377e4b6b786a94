"""A scriptable fake of a ComfyUI server, for the tests of this project and of its users."""

from .hostile import Attack, HostileProxy, hostile
from .server import OBJECT_INFO, RECORD, FakeServer, Fault, Script, SocketMode

__all__ = [
    "OBJECT_INFO",
    "RECORD",
    "Attack",
    "FakeServer",
    "Fault",
    "HostileProxy",
    "Script",
    "SocketMode",
    "hostile",
]
