"""Servers on this machine: ComfyUI or the embedded engine, started, watched and stopped."""
