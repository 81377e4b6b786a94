"""The record and the files of a service, kept elsewhere and brought back."""
