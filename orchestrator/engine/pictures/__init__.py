"""Pictures as tensors."""
