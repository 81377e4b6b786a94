"""What ComfyUI imports when this repository is cloned into its custom_nodes folder."""

# Only a package can import its parts. pytest, too, runs this file, and not as a package where the
# name of the folder is no Python name ("spriteworks-main").
if __package__:
    from .comfy_nodes import comfy_entrypoint

# ComfyUI serves this folder to the canvas; the nodes' help pages lie in its docs/ folder.
WEB_DIRECTORY = "./comfy_nodes/web"

__all__ = ["WEB_DIRECTORY", "comfy_entrypoint"]
