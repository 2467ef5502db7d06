"""What a dataset's log does to an evaluation, and whether a model sees what it must not."""
