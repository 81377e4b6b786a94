"""Manifests: what a batch shall make, read from YAML, checked and expanded."""
