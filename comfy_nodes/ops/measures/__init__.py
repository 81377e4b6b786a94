"""Measures: how good a sprite is, in numbers, and what mends it."""
