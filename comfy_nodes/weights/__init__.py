"""Weights out of files, the same for every host: safetensors, pickles, what is damaged."""
