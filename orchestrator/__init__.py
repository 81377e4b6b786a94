"""Submits workflows to ComfyUI servers, or to the embedded engine, and collects what they make."""

__version__ = "0.1.0"
