"""The command `spriteworks models`: download, find and check Stable Diffusion models."""
