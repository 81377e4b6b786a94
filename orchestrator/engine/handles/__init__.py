"""What travels between nodes, and the pieces that it is made of."""
