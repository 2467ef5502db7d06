"""Sources of data sets for tests, and what lies in a folder afterwards."""

from pathlib import Path

from tests import generated

MEMBERS = {suffix: f"set/ml-1m.{suffix}" for suffix in ("inter", "user", "item")}

TYPES = {"age": "token", "release_year": "token", "movie_title": "token_seq", "genre": "token_seq"}

RAW_RATINGS = {
    "homepage": "https://example.org/ratings",
    "converter": "movielens_csv",
    "try": [{"kind": "raw", "files": {"ratings": "ratings.csv", "movies": "movies.csv"}}],
}

COLUMNS = {"converter": "csv_columns", "try": [{"kind": "raw", "files": {"inter": "clicks.csv"}}]}

MONTHS = {
    "converter": "csv_columns",
    "options": {"inter": {"user": "user_id:token", "item": "item_id:token"}},
    "try": [{"kind": "raw", "files": {"inter": ["may/clicks.csv", "june/clicks.csv"]}}],
}


def zip_source(tmp_path: Path, **more) -> dict:
    archive = generated.atomic_zip(tmp_path / "ml.zip", "ml-1m", "set/")
    return {"kind": "download", "url": archive.as_uri(), "members": MEMBERS, **more}


def lines(path: Path) -> list[str]:
    return path.read_bytes().decode("utf-8").split("\n")


def everything_below(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.suffix != ".lock"}
