"""Small raw files of the same shape as the public datasets that are not at hand.

Every function writes into ``folder`` and returns what a test wants to compare with. Values are drawn with a
fixed seed; headers, units and quirks (stray blanks, missing values, no header) are those of the originals.
"""

from __future__ import annotations

import gzip
import json
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd

SECOND = 1_511_600_000  # inside the nine days of Taobao's log


def movielens_csv(folder: Path, users: int = 12, movies: int = 8) -> pd.DataFrame:
    """ml-latest-small: every user rates every movie once, in half stars."""
    random = np.random.default_rng(1)
    pairs = pd.MultiIndex.from_product(
        [range(1, users + 1), range(1, movies + 1)], names=["userId", "movieId"]
    )
    ratings = pairs.to_frame(index=False)
    ratings["rating"] = random.integers(1, 11, len(ratings)) / 2
    ratings["timestamp"] = 964_982_000 + random.integers(0, 10_000, len(ratings))
    ratings.to_csv(folder / "ratings.csv", index=False)
    titles = ['"Great" Day, The (1995)', "Léon (1994)", "No Year"] + [
        f"Film {n} (20{n:02d})" for n in range(4, 99)
    ]
    genres = ["Comedy|Drama", "Action|Crime|Drama", "(no genres listed)"] + ["Drama"] * 95
    shown = {"movieId": range(1, movies + 1), "title": titles[:movies], "genres": genres[:movies]}
    pd.DataFrame(shown).to_csv(folder / "movies.csv", index=False)
    return ratings


def amazon_reviews(folder: Path, name: str, users: int = 10, products: int = 8) -> pd.DataFrame:
    """Amazon Reviews 2023: nearly every user reviews every product; the last product has no categories."""
    random = np.random.default_rng(2)
    lines = [
        {
            "rating": float(random.integers(1, 6)),
            "title": "Five\tstars",
            "text": 'So "good"\nthat I bought two.',
            "asin": f"B{product:09d}",
            "parent_asin": f"B{product:09d}",
            "user_id": f"AE{user:026d}",
            "timestamp": 1_600_000_000_123 + 86_400_000 * int(random.integers(0, 900)),
            "verified_purchase": True,
        }
        for user in range(users)
        for product in range(products)
    ]
    paths = [["Musical Instruments", f"Group {n % 3}", f"Leaf {n % 5}"] for n in range(products - 1)] + [[]]
    meta = [
        {"title": f"Product {n}", "store": None if n == 0 else f"Store {n % 2}", "categories": path}
        | {"parent_asin": f"B{n:09d}", "price": None}
        for n, path in enumerate(paths)
    ]
    for file, rows in ((f"{name}.jsonl.gz", lines), (f"meta_{name}.jsonl.gz", meta)):
        with gzip.open(folder / file, "wt", encoding="utf-8") as stream:
            stream.writelines(json.dumps(row) + "\n" for row in rows)
    return pd.DataFrame(lines)


def taobao_user_behavior(folder: Path, users: int = 20, items: int = 30, rows: int = 600) -> pd.DataFrame:
    """UserBehavior.csv; the last two rows lie outside of the nine days."""
    random = np.random.default_rng(3)
    item = random.integers(items, size=rows)
    log = pd.DataFrame(
        {
            "user": 1 + random.integers(users, size=rows),
            "item": 1000 + item,
            "category": 50 + item % 7,
            "behavior": random.choice(["pv", "cart", "fav", "buy"], size=rows, p=[0.7, 0.1, 0.1, 0.1]),
            "time": SECOND + random.integers(0, 600_000, size=rows),
        }
    )
    log.loc[rows - 2 :, "time"] = [0, 2_000_000_000]
    log.to_csv(folder / "UserBehavior.csv", index=False, header=False)
    return log


def taobao_ad(
    folder: Path, users: int = 15, ads: int = 12, rows: int = 400
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The four files of Tianchi 56; returns impressions and behavior log."""
    random = np.random.default_rng(4)
    clicked = (random.random(rows) < 0.3).astype(int)
    impressions = pd.DataFrame(
        {
            "user": 1 + random.integers(users, size=rows),
            "time_stamp": 1_494_000_000 + random.integers(0, 600_000, size=rows),
            "adgroup_id": 1 + random.integers(ads, size=rows),
            "pid": random.choice(["430548_1007", "430539_1007"], size=rows),
            "nonclk": 1 - clicked,
            "clk": clicked,
        }
    )
    behaviors = pd.DataFrame(
        {
            "user": 1 + random.integers(users + 5, size=2 * rows),
            "time_stamp": 1_492_700_000 + random.integers(0, 1_800_000, size=2 * rows),
            "btag": random.choice(["pv", "cart", "fav", "buy"], size=2 * rows),
            "cate": random.integers(20, size=2 * rows),
            "brand": random.integers(50, size=2 * rows),
        }
    )
    number = np.arange(1, ads + 1)
    features = {
        "adgroup_id": number,
        "cate_id": number % 5,
        "campaign_id": number % 3,
        "customer": number % 4,
    }
    features |= {"brand": ["NULL", *map(str, number[1:])], "price": np.geomspace(0.01, 99_999_999.0, ads)}
    person = np.arange(1, users + 1)
    profile = {"userid": person, "cms_segid": person % 9, "cms_group_id": person % 5, "final_gender_code": 1}
    profile |= {"age_level": 3, "pvalue_level": np.where(person % 2, 2.0, np.nan), "shopping_level": 3}
    profile |= {"occupation": 0, "new_user_class_level ": 1}  # the blank is in the published header
    impressions.to_csv(folder / "raw_sample.csv", index=False)
    behaviors.to_csv(folder / "behavior_log.csv", index=False)
    pd.DataFrame(features).to_csv(folder / "ad_feature.csv", index=False)
    pd.DataFrame(profile).astype({"pvalue_level": "Int64"}).to_csv(folder / "user_profile.csv", index=False)
    return impressions, behaviors


def kuairand(folder: Path, users: int = 10, videos: int = 20, rows: int = 300) -> pd.DataFrame:
    """KuaiRand-1K: two log files, user and video features."""
    random = np.random.default_rng(5)
    log = pd.DataFrame(
        {
            "user_id": random.integers(users, size=rows),
            "video_id": random.integers(videos, size=rows),
            "date": 20_220_408,
            "hourmin": 1200,
            "time_ms": 1_649_400_000_123 + random.integers(0, 10**9, size=rows),
            "is_click": (random.random(rows) < 0.4).astype(int),
            "is_like": 0,
            "long_view": 0,
            "tab": random.integers(3, size=rows),
        }
    )
    names = ["log_standard_4_08_to_4_21_1k.csv", "log_standard_4_22_to_5_08_1k.csv"]
    log.iloc[: rows // 2].to_csv(folder / names[0], index=False)
    log.iloc[rows // 2 :].to_csv(folder / names[1], index=False)
    people = {"user_id": range(users), "user_active_degree": "full_active", "is_lowactive_period": 0}
    people |= {
        "is_live_streamer": 0,
        "is_video_author": 1,
        "follow_user_num": 5,
        "follow_user_num_range": "(0,10]",
    }
    people |= {"fans_user_num_range": "[1,10)", "friend_user_num_range": "0", "register_days_range": "61-90"}
    pd.DataFrame(people).to_csv(folder / "user_features_1k.csv", index=False)
    shown = {"video_id": range(videos), "author_id": np.arange(videos) % 6, "video_type": "NORMAL"}
    shown |= {"upload_type": "ShortImport", "music_type": [np.nan] + [9.0] * (videos - 1)}
    shown |= {"tag": ["12,65", None] + ["39"] * (videos - 2)}
    pd.DataFrame(shown).to_csv(folder / "video_features_basic_1k.csv", index=False)
    return log


def click_log(folder: Path, users: int = 10, items: int = 12, rows: int = 300) -> pd.DataFrame:
    """The two csv files that ``clicklog.yaml`` describes."""
    random = np.random.default_rng(6)
    log = pd.DataFrame(
        {
            "user": random.integers(users, size=rows),
            "item": random.integers(items, size=rows),
            "clicked": (random.random(rows) < 0.3).astype(int),
            "time": 1_700_000_000 + random.integers(0, 10**6, size=rows),
            "page": random.choice(["home", "search"], size=rows),
        }
    )
    log.to_csv(folder / "clicks.csv", index=False)
    pd.DataFrame({"item": range(items), "category": np.arange(items) % 4}).to_csv(
        folder / "items.csv", index=False
    )
    return log


def atomic_zip(path: Path, name: str, folder_inside: str = "") -> Path:
    """A zip of atomic files with the headers of the ml-1m wheel, CRLF line ends and a non-ASCII title."""
    contents = {
        "inter": "user_id:token\titem_id:token\trating:float\ttimestamp:float\r\n"
        "1m_1\tLéon (1994)\t5\t978300760\r\n1m_1\tAlien³ (1992)\t3\t978302109\r\n"
        "1m_2\tLéon (1994)\t2\t978300000\r\n",
        "user": "user_id:token\tage:float\tgender:token\r\n1m_1\t1.0\tF\r\n1m_2\t56\tM\r\n",
        "item": "item_id:token\tmovie_title:token\trelease_year:float\tgenre:token\r\n"
        "Léon (1994)\tLéon\t1994\tCrime Drama\r\nAlien³ (1992)\tAlien³\t1992\tAction Horror\r\n",
    }
    with zipfile.ZipFile(path, "w") as archive:
        for suffix, text in contents.items():
            archive.writestr(f"{folder_inside}{name}.{suffix}", text)
    return path
