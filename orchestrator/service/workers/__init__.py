"""Processes that make the service's requests on servers of their own, on any machine."""
