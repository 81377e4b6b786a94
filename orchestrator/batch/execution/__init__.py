"""What runs a batch: threads, servers, the record, files."""
