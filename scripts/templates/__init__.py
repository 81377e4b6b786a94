"""The shipped workflows, ComfyUI's templates of the pack: recipes, their layout, and both forms."""
