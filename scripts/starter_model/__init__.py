"""Draws, trains, judges and exports the starter model; see ``scripts/train_starter_model.py``."""
