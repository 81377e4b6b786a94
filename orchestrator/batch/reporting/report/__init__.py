"""What a batch has done, for people: a page, contact sheets, statistics."""
