"""What is done to pictures that are there already: files in, files out, no server."""
