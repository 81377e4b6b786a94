"""One ComfyUI server, or embedded engine, as a client sees it."""

from .client import Client

__all__ = ["Client"]
