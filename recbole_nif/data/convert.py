"""Turns raw files of public datasets into RecBole's atomic files.

A converter takes ``files`` ({role: path or list of paths}) and ``out``, writes atomic files through
``out.append`` and returns what a reader of the results should know about the conversion. Column names carry
RecBole's types, so that a frame reads like the header of the file it becomes. Raising ``version`` makes every
cached conversion be made anew.
"""

from __future__ import annotations

import csv
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from recbole_nif.data.csv_cells import check_cells
from recbole_nif.errors import UserError

CHUNK = 2_000_000  # rows of a csv file read at a time
JSON_CHUNK = 50_000  # reviews carry their text, so fewer of them
Files = dict[str, Path | list[Path]]
CONVERTERS: dict[str, Callable] = {}


def converter(version: int) -> Callable:
    """Registers a converter under its function name."""

    def register(function: Callable) -> Callable:
        function.version = version
        CONVERTERS[function.__name__] = function
        return function

    return register


class AtomicFiles:
    """Writes ``<folder>/<name>.<suffix>`` piece by piece; ``rows`` counts what was written to each suffix."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.name = folder, name
        self.rows: dict[str, int] = {}
        self.columns: dict[str, list[str]] = {}

    def append(self, suffix: str, frame: pd.DataFrame) -> None:
        """frame: columns named ``field:type``; the first piece of a file writes the header."""
        columns = self.columns.setdefault(suffix, list(frame))
        if set(columns) != set(frame):
            raise UserError(
                f"The files of {self.name}.{suffix} have different columns ({', '.join(columns)} and "
                f"{', '.join(frame)}): give them the same."
            )
        frame = frame[columns]
        texts = {column: _one_line(values) for column, values in frame.items() if values.dtype == object}
        first = suffix not in self.rows
        path = self.folder / f"{self.name}.{suffix}"
        frame.assign(**texts).to_csv(path, sep="\t", index=False, header=first, mode="w" if first else "a")
        self.rows[suffix] = self.rows.get(suffix, 0) + len(frame)


@converter(version=1)
def atomic(files: Files, out: AtomicFiles, types: dict[str, str] | None = None) -> dict:
    """Files that are atomic already; ``types`` corrects the type that a header gives to a field."""
    for suffix, path in _each(files):
        for chunk in _read_csv(path, None, sep="\t", quoting=csv.QUOTE_NONE, keep_default_na=False):
            fields = [column.split(":") for column in chunk]
            for column, (field, written) in zip(list(chunk), fields, strict=True):
                if written == "float" and (types or {}).get(field, "float").startswith("token"):
                    chunk[column] = chunk[column].str.replace(r"\.0$", "", regex=True)
            chunk.columns = [f"{field}:{(types or {}).get(field, written)}" for field, written in fields]
            out.append(suffix, chunk)
    return {}


@converter(version=2)
def csv_columns(files: Files, out: AtomicFiles, **names: dict[str, str]) -> dict:
    """Comma separated files; ``names`` says for each suffix which column becomes which ``field:type``.

    Only an empty cell is missing: ``NA`` may be a country and ``None`` a category.
    """
    for suffix, path in _each(files):
        check_cells(path)
        for chunk in _read_csv(path, dict.fromkeys(names[suffix], str), keep_default_na=False):
            out.append(suffix, chunk.rename(columns=names[suffix]))
    return {}


@converter(version=1)
def movielens_csv(files: Files, out: AtomicFiles) -> dict:
    """GroupLens' csv format: ``ratings.csv`` and ``movies.csv``."""
    ratings = {"userId": "user_id:token", "movieId": "item_id:token", "rating": "rating:float"}
    ratings["timestamp"] = "timestamp:float"
    for chunk in _read_csv(files["ratings"], dict.fromkeys(ratings, str)):
        out.append("inter", chunk.rename(columns=ratings))
    movies = pd.concat(_read_csv(files["movies"], {"movieId": str, "title": str, "genres": str}))
    parts = movies["title"].str.extract(r"^(?P<title>.*?)\s*(?:\((?P<year>\d{4})\))?\s*$")
    genres = movies["genres"].replace("(no genres listed)", "").str.replace("|", " ", regex=False)
    items = {"item_id:token": movies["movieId"], "movie_title:token_seq": parts["title"]}
    items |= {"release_year:token": parts["year"], "genre:token_seq": genres}
    out.append("item", pd.DataFrame(items))
    return {}


@converter(version=1)
def amazon_reviews_2023(files: Files, out: AtomicFiles, most_leaves: int = 50) -> dict:
    """Amazon Reviews 2023: one category's reviews and metadata (jsonl.gz).

    ``category`` is the last entry of a product's path when fewer than ``most_leaves`` of them differ, else
    its second; ``unknown`` where there is no path. Milliseconds become seconds.
    """
    for reviews in _read_json(files["reviews"], ["user_id", "parent_asin", "rating", "timestamp"]):
        inter = {"user_id:token": reviews["user_id"], "item_id:token": reviews["parent_asin"]}
        inter |= {"rating:float": reviews["rating"], "timestamp:float": reviews["timestamp"] / 1000}
        out.append("inter", pd.DataFrame(inter))
    meta = pd.concat(_read_json(files["metadata"], ["parent_asin", "title", "store", "categories"]))
    path = meta["categories"].astype(object)
    leaf = path.str[-1]
    category = leaf if leaf.nunique() < most_leaves else path.str[1].fillna(path.str[0])
    items = {
        "item_id:token": meta["parent_asin"],
        "title:token_seq": meta["title"],
        "store:token": meta["store"],
    }
    out.append("item", pd.DataFrame(items | {"category:token": category.fillna("unknown")}))
    return {}


@converter(version=1)
def taobao_user_behavior(
    files: Files, out: AtomicFiles, time_range: list[int], seed: int = 2020, users: float = 1.0
) -> dict:
    """Tianchi 649 (UserBehavior.csv, no header): clicks, a sampled negative for each, the rest as events.

    The log has no impressions. Each click (``pv``) gets one item that its user never met, drawn uniformly
    from the items of the log and stamped with the click's time; the files keep the draw.
    """
    kinds = {"user": "int32", "item": "int32", "category": "int32", "behavior": _BEHAVIORS, "time": "int64"}
    chunks = _read_csv(files["log"], kinds, names=list(kinds))
    kept = [c[_sampled(c["user"], users) & c["time"].between(*time_range)] for c in chunks]
    log = pd.concat(kept, ignore_index=True)
    click = (log["behavior"] == "pv").to_numpy()
    source, item = _unseen_items(log["user"], log["item"], np.flatnonzero(click), np.random.default_rng(seed))
    category_of = log.drop_duplicates("item").set_index("item")["category"]
    negatives = log.loc[source].assign(item=item, category=category_of.loc[item].to_numpy())
    for label, rows in ((1, log[click]), (0, negatives)):
        for _, fields in _taobao_events(rows):
            out.append("inter", pd.DataFrame(fields | {"label:float": label}))
    for piece, fields in _taobao_events(log[~click]):
        out.append("events", pd.DataFrame(fields | {"behavior:token": piece["behavior"].astype(str)}))
    items = {"item_id:token": category_of.index, "category:token": category_of.to_numpy()}
    out.append("item", pd.DataFrame(items))
    return {
        "negatives": f"one per click at its time, uniform over items its user never met, seed {seed}",
        "clicks_without_negative": int(click.sum()) - len(source),
    }


@converter(version=1)
def taobao_ad(files: Files, out: AtomicFiles, users: float = 1.0) -> dict:
    """Tianchi 56: ad impressions, their ads and users, and the behavior log as events (btag x category)."""
    kinds = {"user": "int64", "time_stamp": "int64", "adgroup_id": "int64", "pid": str, "clk": "int64"}
    for chunk in _read_csv(files["impressions"], kinds):
        rows = chunk[_sampled(chunk["user"], users)]
        fields = {
            "user_id:token": rows["user"],
            "item_id:token": rows["adgroup_id"],
            "label:float": rows["clk"],
        }
        out.append(
            "inter", pd.DataFrame(fields | {"timestamp:float": rows["time_stamp"], "pid:token": rows["pid"]})
        )
    kinds = {"user": "int64", "time_stamp": "int64", "btag": str, "cate": str}
    for chunk in _read_csv(files["behaviors"], kinds):
        rows = chunk[_sampled(chunk["user"], users)]
        fields = {"user_id:token": rows["user"], "timestamp:float": rows["time_stamp"]}
        fields |= {"scene:token": rows["btag"] + ":" + rows["cate"], "behavior:token": rows["btag"]}
        out.append("events", pd.DataFrame(fields))
    ads = pd.concat(_read_csv(files["ads"], dict.fromkeys(_AD_FIELDS, str) | {"price": "float64"}))
    ads["price"] = np.floor(np.log2(1 + ads["price"])).astype(
        "Int64"
    )  # 0.01 to 10^8: its magnitude is a token
    out.append("item", ads.rename(columns=_AD_FIELDS))
    profiles = pd.concat(_read_csv(files["profiles"], dict.fromkeys(_PROFILE_FIELDS, str)))
    out.append("user", profiles.rename(columns=_PROFILE_FIELDS))
    return {"users": users}


@converter(version=1)
def kuairand(files: Files, out: AtomicFiles) -> dict:
    """KuaiRand (1K or Pure): impressions with ``is_click`` and the app's ``tab``; times in seconds."""
    kinds = {"user_id": str, "video_id": str, "time_ms": "int64", "is_click": "int64", "tab": str}
    for path in files["logs"]:
        for rows in _read_csv(path, kinds):
            fields = {"user_id:token": rows["user_id"], "item_id:token": rows["video_id"]}
            fields |= {"label:float": rows["is_click"], "timestamp:float": rows["time_ms"] / 1000}
            out.append("inter", pd.DataFrame(fields | {"tab:token": rows["tab"]}))
    for rows in _read_csv(files["users"], dict.fromkeys(_KUAI_USER_FIELDS, str)):
        out.append("user", rows.rename(columns=_KUAI_USER_FIELDS))
    for rows in _read_csv(files["videos"], dict.fromkeys(_KUAI_VIDEO_FIELDS, str)):
        rows["tag"] = rows["tag"].str.replace(",", " ")
        out.append("item", rows.rename(columns=_KUAI_VIDEO_FIELDS))
    return {}


_BEHAVIORS = pd.CategoricalDtype(["pv", "cart", "fav", "buy"])
_AD_FIELDS = {"adgroup_id": "item_id:token", "cate_id": "cate:token", "campaign_id": "campaign:token"}
_AD_FIELDS |= {"customer": "customer:token", "brand": "brand:token", "price": "price_magnitude:token"}
_PROFILE_FIELDS = {"userid": "user_id:token", "final_gender_code": "gender:token"} | {
    name: f"{name}:token"
    for name in ("cms_segid", "cms_group_id", "age_level", "pvalue_level", "shopping_level", "occupation")
}
_KUAI_USER_FIELDS = {
    name: f"{name}:token"
    for name in ("user_id", "user_active_degree", "is_live_streamer", "is_video_author")
    + ("follow_user_num_range", "fans_user_num_range", "friend_user_num_range", "register_days_range")
}
_KUAI_VIDEO_FIELDS = {"video_id": "item_id:token", "tag": "tag:token_seq"} | {
    name: f"{name}:token" for name in ("author_id", "video_type", "upload_type", "music_type")
}


def _taobao_events(rows: pd.DataFrame) -> Iterator[tuple[pd.DataFrame, dict[str, pd.Series]]]:
    """Pieces of UserBehavior's log, at least one, with the fields that samples and events share."""
    for start in range(0, max(len(rows), 1), CHUNK):
        piece = rows.iloc[start : start + CHUNK]
        scene = piece["behavior"].astype(str) + ":" + piece["category"].astype(str)
        fields = {"user_id:token": piece["user"], "item_id:token": piece["item"]}
        yield piece, fields | {"timestamp:float": piece["time"], "scene:token": scene}


def _unseen_items(
    user: pd.Series, item: pd.Series, rows: np.ndarray, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """One item per row that the row's user never met, by rejection: (rows that got one, items)."""
    users, _ = pd.factorize(user)
    items, tokens = pd.factorize(item, sort=True)
    met = np.unique(users * len(tokens) + items)  # sorted codes of all (user, item) pairs
    full = np.bincount(met // len(tokens)) == len(tokens)
    rows = rows[~full[users[rows]]]  # who met every item has none left to draw
    drawn = np.empty(len(rows), dtype=np.int64)
    pending = np.arange(len(rows))
    while len(pending):
        drawn[pending] = random.integers(len(tokens), size=len(pending))
        code = users[rows[pending]] * len(tokens) + drawn[pending]
        found = np.searchsorted(met, code).clip(max=len(met) - 1)
        pending = pending[met[found] == code]
    return rows, tokens[drawn].to_numpy()


def _each(files: Files) -> Iterator[tuple[str, Path]]:
    """Every file with its suffix, several of one suffix in their order."""
    for suffix, paths in files.items():
        yield from ((suffix, path) for path in (paths if isinstance(paths, list) else [paths]))


def _sampled(user: pd.Series, fraction: float) -> pd.Series:
    """Which rows belong to a fixed ``fraction`` of all users, chosen by a hash of the id."""
    return (user.astype("int64") * 2654435761) % 2**32 < fraction * 2**32


def _one_line(text: pd.Series) -> pd.Series:
    """Free of what would end a field or open a quotation in RecBole's reader."""
    return text.str.replace(r'\s*[\t\r\n"]+\s*', " ", regex=True).str.strip()


def _read_csv(
    path: Path, kinds: dict | None, names: list[str] | None = None, **options
) -> Iterator[pd.DataFrame]:
    """Chunks with the columns of ``kinds`` (None: all, as text); ``names``: for a file without a header."""
    try:
        header = None
        if names is None:  # published headers have stray blanks
            header, first = 0, pd.read_csv(path, nrows=0, encoding="utf-8", **options)
            names = [column.strip() for column in first]
        _require(path, names, kinds or {})
        options |= {"header": header, "names": names, "chunksize": CHUNK, "encoding": "utf-8"}
        for chunk in pd.read_csv(path, usecols=list(kinds or names), dtype=kinds or str, **options):
            yield chunk[list(kinds or names)]
    except (ValueError, EOFError, OSError, zlib.error, zipfile.BadZipFile) as error:
        raise UserError(f"{path} cannot be read: {error}. Is it the complete, original file?") from error


def _read_json(path: Path, columns: list[str]) -> Iterator[pd.DataFrame]:
    """Chunks of a (compressed) file of one JSON object per line."""
    options = {"lines": True, "chunksize": JSON_CHUNK, "dtype": False, "convert_dates": False}
    try:
        for chunk in pd.read_json(path, **options):
            _require(path, chunk, columns)
            yield chunk[columns]
    except (ValueError, EOFError, OSError) as error:
        raise UserError(f"{path} cannot be read: {error}. Is it the complete, original file?") from error


def _require(path: Path, found: Iterable[str], wanted: Iterable[str]) -> None:
    missing = [column for column in wanted if column not in found]
    if missing:
        raise UserError(f"{path} has no column {', '.join(missing)}: it has {', '.join(found)}.")
