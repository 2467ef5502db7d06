"""Every dataset config on generated raw files: conversion, counts, and loading by stock RecBole."""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from recbole.config import Config
from recbole.data.dataset import Dataset
from recbole.utils import FeatureType

from recbole_nif.config import NIFConfig
from recbole_nif.config_parsing import load_yaml
from recbole_nif.data.dataset import CTRDataset
from recbole_nif.data.sources import ensure_dataset, read_source, verify_counts
from recbole_nif.resources import dataset_configs_dir
from tests import generated

RAW_FILES: dict[str, Callable] = {
    "ml-latest-small": generated.movielens_csv,
    "amazon-fashion": lambda folder: generated.amazon_reviews(folder, "Amazon_Fashion"),
    "amazon-instruments": lambda folder: generated.amazon_reviews(folder, "Musical_Instruments"),
    "taobao-user-behavior": generated.taobao_user_behavior,
    "taobao-ad": generated.taobao_ad,
    "kuairand": generated.kuairand,
    "clicklog": generated.click_log,
}
AT_HAND = {"ml-100k", "ml-1m"}


def config_of(name: str) -> dict:
    return load_yaml(dataset_configs_dir() / f"{name}.yaml")


def raw_source(name: str, **options) -> dict:
    """The config's source without downloads, for all users."""
    source = config_of(name)["source"]
    everybody = {"users": 1.0} if "users" in source.get("options", {}) else {}
    only_raw = [entry for entry in source["try"] if entry["kind"] == "raw"]
    return source | {"try": only_raw, "options": source.get("options", {}) | everybody | options}


def convert(name: str, folder: Path, **options):
    """Generates raw files and converts them as the config says; returns what the generator returned."""
    folder.mkdir(parents=True, exist_ok=True)
    raw = RAW_FILES[name](folder)
    ensure_dataset(name, folder, raw_source(name, **options))
    return raw


def read(folder: Path, suffix: str) -> pd.DataFrame:
    (path,) = folder.glob(f"*.{suffix}")
    return pd.read_csv(path, sep="\t")


def load_in_recbole(name: str, data_path: Path, monkeypatch) -> Dataset:
    monkeypatch.setattr(sys, "argv", sys.argv[:1])  # RecBole's Config reads it
    changes = {"data_path": str(data_path), "eval_args": {"mode": "labeled"}, "train_neg_sample_args": None}
    return Dataset(Config("DeepFM", name, [str(dataset_configs_dir() / f"{name}.yaml")], changes))


def test_every_config_is_tested_here():
    assert {path.stem for path in dataset_configs_dir().glob("*.yaml")} == set(RAW_FILES) | AT_HAND


@pytest.mark.parametrize("name", RAW_FILES)
def test_stock_recbole_loads_the_converted_files_with_the_declared_fields(name, tmp_path, monkeypatch):
    convert(name, tmp_path / name)
    dataset = load_in_recbole(name, tmp_path, monkeypatch)
    config = config_of(name)
    declared = {field for fields in config["load_col"].values() for field in fields}
    assert set(dataset.field2type) == declared - {"rating"} | {"label"}  # a threshold replaces the rating
    assert set(dataset.inter_feat["label"].unique()) == {0, 1}
    scene = config["scene_field"]
    assert dataset.field2type[scene] == FeatureType(config["scene_mode"])
    assert dataset.num(scene) > 2


@pytest.mark.parametrize("name", RAW_FILES)
def test_our_dataset_splits_the_same_rows_and_logs_them_with_the_moveline_files(name, tmp_path, monkeypatch):
    (tmp_path / name).mkdir()
    RAW_FILES[name](tmp_path / name)
    changes = {"data_path": str(tmp_path), "source": raw_source(name)}
    dataset = CTRDataset(NIFConfig("NIFDIN", name, config_dict=changes))
    parts = dataset.build()  # converts the raw files first
    rows = load_in_recbole(name, tmp_path, monkeypatch).inter_num
    assert sum(len(part) for part in parts) == rows
    known = set(dataset.field2token_id["user_id"])
    events = [read(tmp_path / name, suffix) for suffix in config_of(name).get("moveline_files") or []]
    assert len(dataset.event_log) == rows + sum(
        e["user_id:token"].astype(str).isin(known).sum() for e in events
    )
    assert dataset.scenes.n_scenes > 2


def test_ml_100k_keeps_the_label_rule_and_its_counts(monkeypatch):
    dataset = load_in_recbole("ml-100k", Path("unused"), monkeypatch)
    verify_counts(dataset, config_of("ml-100k")["source"]["expected"])
    assert dataset.inter_feat["label"].mean() == pytest.approx(0.76007, abs=1e-5)


def test_movielens_titles_years_and_genres_are_taken_apart(tmp_path, monkeypatch):
    ratings = convert("ml-latest-small", tmp_path / "ml-latest-small")
    items = read(tmp_path / "ml-latest-small", "item").fillna("")
    assert items.iloc[0].tolist() == [1, "Great Day, The", 1995, "Comedy Drama"]
    assert items.iloc[1].tolist() == [2, "Léon", 1994, "Action Crime Drama"]
    assert items.iloc[2].tolist() == [3, "No Year", "", ""]  # "(no genres listed)" is no genre
    dataset = load_in_recbole("ml-latest-small", tmp_path, monkeypatch)
    kept = ratings[ratings["rating"] != 3]
    assert dataset.inter_num == len(kept)
    assert dataset.inter_feat["label"].sum() == (kept["rating"] > 3).sum()


def test_amazon_times_are_seconds_and_categories_follow_the_number_of_leaves(tmp_path):
    reviews = convert("amazon-instruments", tmp_path / "few")
    inter = read(tmp_path / "few", "inter")
    assert len(inter) == len(reviews) == 80
    assert inter["timestamp:float"].to_numpy() == pytest.approx(
        reviews["timestamp"].to_numpy() / 1000, abs=1e-6
    )
    items = read(tmp_path / "few", "item")
    assert items["category:token"].tolist()[:6] == [
        "Leaf 0",
        "Leaf 1",
        "Leaf 2",
        "Leaf 3",
        "Leaf 4",
        "Leaf 0",
    ]
    convert("amazon-instruments", tmp_path / "many", most_leaves=5)  # five leaves are too many now
    categories = read(tmp_path / "many", "item")["category:token"].tolist()
    assert categories == [
        "Group 0",
        "Group 1",
        "Group 2",
        "Group 0",
        "Group 1",
        "Group 2",
        "Group 0",
        "unknown",
    ]


def test_amazon_is_a_five_core(tmp_path, monkeypatch):
    convert("amazon-fashion", tmp_path / "amazon-fashion")
    inter = load_in_recbole("amazon-fashion", tmp_path, monkeypatch).inter_feat
    assert inter["user_id"].value_counts().min() >= 5
    assert inter["item_id"].value_counts().min() >= 5


class TestTaobaoUserBehavior:
    name = "taobao-user-behavior"

    def test_each_click_gets_one_negative_at_its_time_that_its_user_never_met(self, tmp_path):
        log = convert(self.name, tmp_path)
        log = log.iloc[:-2]  # the last two lie outside of the nine days
        inter = read(tmp_path, "inter")
        clicks = inter[inter["label:float"] == 1].reset_index(drop=True)
        negatives = inter[inter["label:float"] == 0].reset_index(drop=True)
        assert len(clicks) == len(negatives) == (log["behavior"] == "pv").sum()
        for column in ("user_id:token", "timestamp:float"):
            assert (clicks[column] == negatives[column]).all()
        met = set(zip(log["user"], log["item"], strict=True))
        assert met.isdisjoint(zip(negatives["user_id:token"], negatives["item_id:token"], strict=True))
        category = log.drop_duplicates("item").set_index("item")["category"]
        assert (inter["scene:token"] == "pv:" + inter["item_id:token"].map(category).astype(str)).all()

    def test_negatives_are_spread_evenly_over_the_items_left(self, tmp_path):
        tmp_path.joinpath("UserBehavior.csv").write_text(
            "".join(f"1,{item},9,pv,{generated.SECOND + n}\n" for n, item in enumerate([1, 2] * 300))
            + "".join(f"2,{item},9,buy,{generated.SECOND}\n" for item in range(1, 8))
        )
        ensure_dataset(self.name, tmp_path, raw_source(self.name))
        inter = read(tmp_path, "inter")
        drawn = inter.loc[inter["label:float"] == 0, "item_id:token"].value_counts()
        assert set(drawn.index) == {3, 4, 5, 6, 7}
        assert drawn.min() > 80  # 600 draws, 120 expected, standard deviation 9.8

    def test_the_same_seed_gives_the_same_file_and_another_seed_other_negatives(self, tmp_path):
        texts = []
        for folder, seed in (("a", 7), ("b", 7), ("c", 8)):
            convert(self.name, tmp_path / folder, seed=seed)
            texts.append((tmp_path / folder / f"{self.name}.inter").read_bytes())
        assert texts[0] == texts[1] != texts[2]

    def test_other_behaviors_become_events_with_behavior_and_category_as_scene(self, tmp_path):
        log = convert(self.name, tmp_path).iloc[:-2]
        rest = log[log["behavior"] != "pv"]
        events = read(tmp_path, "events")
        assert events["behavior:token"].tolist() == rest["behavior"].tolist()
        assert (
            events["scene:token"].tolist() == (rest["behavior"] + ":" + rest["category"].astype(str)).tolist()
        )
        assert events["item_id:token"].tolist() == rest["item"].tolist()

    def test_a_user_who_met_every_item_gets_no_negative_and_the_record_says_so(self, tmp_path):
        rows = [(1, 1, "pv"), (1, 2, "pv"), (2, 1, "pv")]
        text = "".join(f"{u},{i},9,{b},{generated.SECOND}\n" for u, i, b in rows)
        tmp_path.joinpath("UserBehavior.csv").write_text(text)
        ensure_dataset(self.name, tmp_path, raw_source(self.name))
        inter = read(tmp_path, "inter")
        assert inter[["user_id:token", "item_id:token", "label:float"]].to_numpy().tolist() == [
            [1, 1, 1],
            [1, 2, 1],
            [2, 1, 1],
            [2, 2, 0],
        ]
        notes = read_source(tmp_path)["notes"]
        assert notes["clicks_without_negative"] == 2
        assert notes["negatives"].endswith("seed 2020")

    def test_a_fraction_of_users_keeps_whole_users(self, tmp_path):
        log = convert(self.name, tmp_path, users=0.5).iloc[:-2]
        kept = set(read(tmp_path, "inter")["user_id:token"])
        assert 0 < len(kept) < 20
        clicks = log[(log["behavior"] == "pv") & log["user"].isin(kept)]
        assert (read(tmp_path, "inter")["label:float"] == 1).sum() == len(clicks)


class TestTaobaoAd:
    def test_impressions_keep_their_real_labels_and_the_behavior_log_becomes_events(self, tmp_path):
        impressions, behaviors = convert("taobao-ad", tmp_path)
        inter, events = read(tmp_path, "inter"), read(tmp_path, "events")
        assert inter["label:float"].tolist() == impressions["clk"].tolist()
        assert inter["pid:token"].tolist() == impressions["pid"].tolist()
        assert len(events) == len(behaviors)
        scene = behaviors["btag"] + ":" + behaviors["cate"].astype(str)
        assert events["scene:token"].tolist() == scene.tolist()

    def test_a_price_becomes_its_magnitude_and_null_an_empty_field(self, tmp_path):
        convert("taobao-ad", tmp_path)
        items, people = read(tmp_path, "item"), read(tmp_path, "user")
        assert items["price_magnitude:token"].iloc[[0, -1]].tolist() == [0, 26]  # log2(1.01), log2(10^8)
        assert np.isnan(items["brand:token"].iloc[0])
        assert "\t2\t" in (tmp_path / "taobao-ad.user").read_text()  # pvalue_level is a code, not 2.0
        assert people["pvalue_level:token"].isna().sum() == 7

    def test_the_same_users_are_kept_in_both_logs(self, tmp_path):
        convert("taobao-ad", tmp_path, users=0.5)
        shown, active = (set(read(tmp_path, suffix)["user_id:token"]) for suffix in ("inter", "events"))
        assert 0 < len(shown) < 15
        assert {user for user in active if user <= 15} == shown


def test_kuairand_reads_all_logs_in_seconds_with_tabs_and_tags(tmp_path):
    log = convert("kuairand", tmp_path)
    inter, items = read(tmp_path, "inter"), read(tmp_path, "item")
    assert inter["label:float"].tolist() == log["is_click"].tolist()
    assert inter["tab:token"].tolist() == log["tab"].tolist()
    assert inter["timestamp:float"].to_numpy() == pytest.approx(log["time_ms"].to_numpy() / 1000, abs=1e-6)
    assert items["tag:token_seq"].fillna("").tolist()[:3] == ["12 65", "", "39"]
