"""Files as game engines and drawing programs read them: bytes in, bytes out. No files, no torch."""
