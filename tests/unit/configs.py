"""Configurations for tests, and files that they read."""

from recbole_nif.config import NIFConfig


def config(*argv, model="DeepFM", dataset="ml-100k", **options):
    return NIFConfig(model, dataset, argv=argv, **options)


def write(folder, name, text):
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path
