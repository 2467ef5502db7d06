"""Logs that do not fit into memory: Parquet shards by user, of which training reads a few at a time."""
