"""Workflows: graphs, canvas files, and what their parts are for; nothing here does I/O."""
