"""A cluster on a virtual clock: the real scheduler and claims, what they ask of a database."""
