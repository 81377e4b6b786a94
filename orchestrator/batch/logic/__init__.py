"""What a batch decides: its values and pure functions on them; no I/O, no clock, no thread."""
