"""What ComfyUI imports when this repository is cloned into its custom_nodes folder."""

from pathlib import Path

# Only a package can import its parts. pytest, too, runs this file, and not as a package where the
# name of the folder is no Python name ("spriteworks-main").
if __package__:
    from .comfy_nodes import comfy_entrypoint
    from .comfy_nodes.copies import web_directory

    # ComfyUI serves this folder to the canvas; the nodes' help pages lie in its docs/ folder.
    WEB_DIRECTORY = web_directory(Path(__file__).absolute().parent.name)

__all__ = ["WEB_DIRECTORY", "comfy_entrypoint"]
