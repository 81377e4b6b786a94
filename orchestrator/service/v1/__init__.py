"""The face `/v1`: a prompt becomes a picture."""
