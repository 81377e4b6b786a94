"""What this machine has, what is missing, and what it would take."""
