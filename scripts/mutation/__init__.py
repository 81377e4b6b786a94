"""Mutation tests: what of the code that decides could be wrong without a test that fails."""
