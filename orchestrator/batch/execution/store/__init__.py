"""The record of a batch: a database, and the files it speaks of."""
