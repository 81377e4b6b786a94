"""What the nodes tell clients about batches, in /object_info.

A client that knows it may run several pictures as one batch, and gets what single runs give.
"""

from __future__ import annotations

from comfy_api.latest import io

PER_PICTURE = {"per_picture": True}
"""Each picture of a batch is worked on by itself, so that any number of them may share a run."""


def whole_set(name: str, tooltip: str, *, optional: bool = False) -> io.Boolean.Input:
    """A switch, off by default; with it a picture depends on the others of its batch."""
    made = io.Boolean.Input(name, default=False, optional=optional, tooltip=tooltip)
    # Newer hosts take it as an argument; 0.3.64 passes it on only this way.
    made.extra_dict["whole_set"] = [True]
    return made
