"""From texts and noise to latents."""
