"""A real PostgreSQL for the acceptance tests."""

from __future__ import annotations

from real_postgres import postgres_server, postgres_url

__all__ = ["postgres_server", "postgres_url"]
