"""How processes that share a record tell one another that there is work; hints, never the truth."""
