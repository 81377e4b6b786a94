"""The embedded engine: ComfyUI's protocol over diffusers, for machines without ComfyUI."""
