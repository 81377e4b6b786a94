"""Pure functions on tensors and arrays. No ComfyUI, no files: the engine runs the same code."""
