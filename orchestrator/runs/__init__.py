"""One workflow, run once: from its file to its pictures."""
