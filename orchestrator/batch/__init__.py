"""Batch production: many pictures on many servers, recorded so that it survives."""
