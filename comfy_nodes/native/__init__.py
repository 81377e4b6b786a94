"""The only place that imports ComfyUI's own modules: makes and changes ComfyUI's objects."""
