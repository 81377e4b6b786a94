"""Models from the hub: which files make one up, where they lie, how they come and are checked.

Needs no ComfyUI and no torch; huggingface_hub only where something is asked of the hub.
"""
