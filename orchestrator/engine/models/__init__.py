"""Model files to handles, and what changes or uses a whole model."""
