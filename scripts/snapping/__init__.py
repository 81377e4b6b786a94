"""Fakes with known truth, judging what a tool makes of them, and running the tools side by side."""
