"""A scriptable fake of a ComfyUI server, for the tests of this project and of its users."""

from .server import OBJECT_INFO, RECORD, FakeServer, Fault, Script, SocketMode

__all__ = ["OBJECT_INFO", "RECORD", "FakeServer", "Fault", "Script", "SocketMode"]
