"""Logs that do not fit into memory: Parquet shards by user, and training that reads a few of them at a time."""
