"""What a setting gives on a server: time, memory and picture, measured one beside the other."""
