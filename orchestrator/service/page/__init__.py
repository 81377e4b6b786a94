"""The page: the service for people, as HTML."""
