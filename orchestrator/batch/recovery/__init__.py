"""The record of a batch, rebuilt from the pictures in its folder."""
