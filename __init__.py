"""What ComfyUI imports when this repository is cloned into its custom_nodes folder."""

from .comfy_nodes import comfy_entrypoint

# ComfyUI serves this folder to the canvas; the nodes' help pages lie in its docs/ folder.
WEB_DIRECTORY = "./comfy_nodes/web"

__all__ = ["WEB_DIRECTORY", "comfy_entrypoint"]
