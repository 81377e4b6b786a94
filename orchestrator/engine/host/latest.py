"""What nodes import as `comfy_api.latest`."""

from . import io, ui
from .node import ComfyNode

comfy_io = io


class ComfyExtension:
    """A pack of nodes; `comfy_entrypoint()` of the pack returns one."""

    async def on_load(self) -> None:
        """Prepare what the nodes share; called once, before the list is asked for."""

    async def get_node_list(self) -> list[type[ComfyNode]]:
        """The node classes of the pack."""
        raise NotImplementedError


__all__ = ["ComfyExtension", "comfy_io", "io", "ui"]
