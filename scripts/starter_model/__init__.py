"""Draws, trains, judges and exports the starter model: ``python -m scripts.starter_model -h``."""
