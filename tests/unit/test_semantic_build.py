"""From a dataset to its semantic IDs: encoders, caches, files, and where the result goes."""

import json

import numpy as np
import pytest
import torch
import yaml

from recbole_nif import run_recbole_nif
from recbole_nif.config_parsing import load_yaml
from recbole_nif.errors import UserError
from recbole_nif.model.din import NIFDIN
from recbole_nif.resources import props_dir
from recbole_nif.semantic_id import build
from recbole_nif.semantic_id.codes import SemanticIds
from recbole_nif.semantic_id.encoders import SentenceEncoder
from recbole_nif.semantic_id.trie import Cohorts, PrefixTrie
from tests.toy import ROWS, toy_dataset


class ReadsIds(NIFDIN):
    """Any model that asks for semantic IDs."""

    needs_semantic_ids = True

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.register_buffer("codes", dataset.semantic_ids.codes)


@pytest.fixture
def encoded(monkeypatch):
    """A stand-in for sentence encoders; returns the list of the texts of every call."""
    calls = []

    def encode(self, texts):
        calls.append(list(texts))
        rng = np.random.default_rng(len(self.name))
        return rng.normal(size=(len(texts), 6)).astype(np.float32)

    monkeypatch.setattr(SentenceEncoder, "encode", encode)
    return calls


def made(folder, **settings):
    """The training view of the toy data, for a model that reads IDs made by k-means."""
    defaults = {"quantizer": "kmeans", "codebook_size": 3, "item_text": "{item_id}: {genre:list}"}
    return toy_dataset(folder, ReadsIds, **defaults | settings)


def test_every_item_gets_an_id_of_its_own_and_all_views_share_them(tmp_path, encoded):
    train, _, test = made(tmp_path)
    ids = train.semantic_ids
    assert ids is test.semantic_ids
    assert ids.sizes == (3, 3, 3, 256)
    assert ids.has_id.tolist() == [False] + [True] * 10
    assert len(ids.codes.unique(dim=0)) == 11
    assert sorted(encoded[0])[:2] == ["m10: Comedy, Drama", "m1: Drama"]


def test_the_facts_say_how_the_ids_came_about(tmp_path, encoded):
    facts = made(tmp_path, text_encoder="some/encoder")[0].semantic_ids.facts
    assert facts["source"] == "some/encoder"
    assert facts["quantizer"] == {"quantizer": "kmeans", "code_levels": 3, "codebook_size": 3, "seed": 2020}
    assert facts["fitted_items"] == 8  # m9 and m10 are in validation and test rows only
    assert facts["health"]["purity_field"] == "genre"
    assert facts["health"]["reconstruction_error"] < facts["health"]["reconstruction_error_unseen"]
    assert facts["cached"] == {"text": False, "quantizer": False}
    assert json.loads(json.dumps(facts)) == facts


def test_a_second_run_encodes_and_fits_nothing(tmp_path, encoded, monkeypatch):
    first = made(tmp_path)[0].semantic_ids
    monkeypatch.setattr(build, "quantize", None)
    second = made(tmp_path)[0].semantic_ids
    assert len(encoded) == 1
    assert torch.equal(first.codes, second.codes)
    assert second.facts["cached"] == {"text": True, "quantizer": True}
    assert second.facts["seconds"] == first.facts["seconds"]  # what it took to make them
    assert second.facts["health"] == first.facts["health"]


@pytest.mark.parametrize(
    ("change", "encodes"),
    [
        ({"item_text": "{item_id}"}, True),
        ({"text_encoder": "another"}, True),
        ({"codebook_size": 2}, False),
        ({"seed": 3}, False),
        ({"split_preset": "random"}, False),  # other items are fitted
    ],
)
def test_what_the_result_depends_on_is_not_taken_from_the_cache(tmp_path, encoded, change, encodes):
    made(tmp_path)[0].semantic_ids  # noqa: B018
    facts = made(tmp_path, **change)[0].semantic_ids.facts
    assert facts["cached"] == {"text": not encodes, "quantizer": False}


def test_the_cache_lies_where_the_configuration_says(tmp_path, encoded):
    made(tmp_path)[0].semantic_ids  # noqa: B018
    found = {path.name[:6] for path in (tmp_path / "saved" / ".semantic_ids").glob("*.npz")}
    assert found == {"texts-", "codes-"}
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"Cannot use the folder .*file.* set semantic_id_cache"):
        made(tmp_path, semantic_id_cache=str(tmp_path / "file"))[0].semantic_ids  # noqa: B018


def test_items_without_a_text_share_all_codes_but_the_digit(tmp_path, encoded):
    ids = made(tmp_path, item_text="[{genre}]")[0].semantic_ids
    assert ids.facts["different_texts"] == 2  # Drama and Comedy Drama
    assert len(ids.codes[1:, :-1].unique(dim=0)) == 2
    with pytest.raises(
        UserError, match="5 items share all of their codes, .* only 4 apart: give item_text more"
    ):
        made(tmp_path, item_text="[{genre}]", collision_codes=4)[0].semantic_ids  # noqa: B018


def test_a_run_that_goes_on_with_other_ids_is_told_by_the_fingerprint(tmp_path, encoded):
    first, same, other = (made(tmp_path, codebook_size=size)[0].fingerprint() for size in (3, 3, 2))
    assert first == same != other


@pytest.mark.parametrize("model", ["NIFDIN", "AMEN"])  # AMEN asks with flow_targets: semantic only
def test_a_model_that_does_not_ask_for_ids_gets_none(tmp_path, model):
    with pytest.raises(RuntimeError, match="needs_semantic_ids"):
        toy_dataset(tmp_path, model)[0].semantic_ids  # noqa: B018


def test_ids_of_a_file_are_taken_as_they_are(tmp_path):
    codes = {f"m{n}": [0, 0, n - 1] for n in range(1, 11)}  # collapsed, which is the user's choice
    path = tmp_path / "mine.sem_ids.json"
    path.write_text(json.dumps(codes))
    train = made(tmp_path, semantic_ids=str(path), codebook_size=10)[0]
    tokens = train.field2id_token["item_id"]
    assert train.semantic_ids.codes[1:].tolist() == [codes[token] for token in tokens[1:]]
    assert train.semantic_ids.facts["source"] == "mine.sem_ids.json"
    assert train.semantic_ids.facts["health"]["levels"][0]["perplexity"] == pytest.approx(1)


def test_a_run_records_its_ids_and_writes_their_file(tmp_path, encoded):
    encoder = {"item_text": "{genre}", "text_encoder": str(tmp_path / "toy")}
    train = made(tmp_path, **encoder)[0]
    settings = load_yaml(props_dir() / "model" / "NIFDIN.yaml") | train.config.changed | encoder
    settings |= {"data_path": str(tmp_path), "checkpoint_dir": str(tmp_path / "saved"), "epochs": 1}
    settings |= {"run_dir": str(tmp_path / "run"), "load_col": train.config["load_col"]}
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(settings))
    run_recbole_nif(model=ReadsIds, dataset="toy", config_file_list=[tmp_path / "run.yaml"])
    record = json.loads((tmp_path / "run" / "result.json").read_text())
    assert record["semantic_ids"]["source"] == "toy"  # a folder's name, never its place
    assert record["semantic_ids"]["item_text"] == "{genre}"
    assert record["settings"]["text_encoder"] == "toy"
    written = SemanticIds.read(tmp_path / "run" / "toy.sem_ids.json", train.field2id_token["item_id"])
    assert torch.equal(written.codes, train.semantic_ids.codes)


# --- a dataset that grows


GROWN = [*ROWS, *(("c", f"n{n}", 5, 1000000000 + n) for n in range(1, 4))]


def hashed(self, texts):
    """Vectors of texts, each its own, whichever are encoded together."""
    seeds = [int.from_bytes(text.encode()[-4:], "big") for text in texts]
    return np.array([np.random.default_rng(seed).normal(size=6) for seed in seeds], dtype=np.float32)


@pytest.fixture
def earlier(tmp_path, monkeypatch):
    """The IDs of the toy data, written to a folder as a run does: (token -> codes, the file)."""
    monkeypatch.setattr(SentenceEncoder, "encode", hashed)
    train = made(tmp_path, item_text="{item_id}")[0]
    build.write_ids(train.config, train, tmp_path)
    path = tmp_path / "toy.sem_ids.json"
    return json.loads(path.read_text()), path


def grown(folder, path, **settings):
    """The training view of the toy data with three more items."""
    settings = {"quantizer": "kmeans", "item_text": "{item_id}", "semantic_ids": str(path)} | settings
    return toy_dataset(folder / "grown", ReadsIds, GROWN, **settings)[0]


def test_new_items_get_unique_ids_by_the_stored_quantizer_and_old_ones_keep_theirs(tmp_path, earlier):
    before, path = earlier
    train = grown(tmp_path, path)
    ids, place = train.semantic_ids, train.field2token_id["item_id"]
    assert {token: ids.codes[place[token]].tolist() for token in before} == before
    assert len(ids.codes.unique(dim=0)) == len(ids.codes) == 14
    assert ids.facts["items_added"] == 3

    new = [place[f"n{n}"] for n in range(1, 4)]
    codes = ids.quantizer.encode(hashed(None, ["n1", "n2", "n3"]))
    assert torch.equal(ids.codes[new, :-1], codes)
    old = ids.quantizer.encode(hashed(None, list(before)))
    assert old.tolist() == [codes[:-1] for codes in before.values()]  # an old text, its old codes

    trie, cohorts = PrefixTrie.build(ids), Cohorts.build(ids)
    node = torch.zeros(3, dtype=torch.long)
    for level in range(4):
        node = trie.children(node, level)[0].gather(1, ids.codes[new, level, None]).squeeze(1)
    assert trie.item_of(node).tolist() == new
    for item in new:
        for level, code in enumerate(ids.codes[item, :-1].tolist()):
            number = int(cohorts.begin[level]) + code
            assert item in cohorts.items[cohorts.offsets[number] : cohorts.offsets[number + 1]]


def test_the_ids_of_a_grown_dataset_and_their_quantizer_serve_the_next_growth(tmp_path, earlier):
    train = grown(tmp_path, earlier[1])
    (tmp_path / "next").mkdir()
    build.write_ids(train.config, train, tmp_path / "next")
    again = grown(tmp_path, tmp_path / "next" / "toy.sem_ids.json").semantic_ids
    assert torch.equal(again.codes, train.semantic_ids.codes)
    assert again.facts["items_added"] == 0
    assert again.quantizer.vectors_of == train.semantic_ids.quantizer.vectors_of


def test_a_quantizer_that_does_not_fit_is_told_in_one_sentence(tmp_path, earlier):
    before, path = earlier
    with pytest.raises(UserError, match="toy.quantizer.pt was fitted with another text_encoder: give that"):
        grown(tmp_path, path, text_encoder="another").semantic_ids  # noqa: B018
    with pytest.raises(UserError, match="toy.quantizer.pt was fitted with another item_text: give that"):
        grown(tmp_path, path, item_text="{genre}").semantic_ids  # noqa: B018
    path.write_text(json.dumps({token: [0, *codes] for token, codes in before.items()}))
    with pytest.raises(UserError, match="makes 3 codes per item, but the IDs beside it have 4 and the digit"):
        grown(tmp_path, path).semantic_ids  # noqa: B018
    path.with_name("toy.quantizer.pt").unlink()
    with pytest.raises(UserError, match=r"lacks 3 items \('n1', 'n2', 'n3'\) of the dataset"):
        grown(tmp_path, path).semantic_ids  # noqa: B018


def test_features_leave_no_quantizer_since_they_change_as_a_whole(tmp_path):
    train = made(tmp_path, text_encoder="features", item_text=None)[0]
    build.write_ids(train.config, train, tmp_path)
    assert (tmp_path / "toy.sem_ids.json").is_file()
    assert not (tmp_path / "toy.quantizer.pt").exists()


def test_a_damaged_cache_is_told_in_one_sentence(tmp_path, encoded):
    made(tmp_path)[0].semantic_ids  # noqa: B018
    (file,) = (tmp_path / "saved" / ".semantic_ids").glob("codes-*.npz")
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(UserError, match=r"codes-.*npz is damaged: remove it"):
        made(tmp_path)[0].semantic_ids  # noqa: B018


def test_features_are_named_in_the_facts_and_need_no_text(tmp_path, caplog):
    with caplog.at_level("INFO"):
        train = made(tmp_path, text_encoder="features", item_text=None)[0]
        facts = train.semantic_ids.facts
    assert facts["source"] == "features (no language model: side features and training co-occurrence)"
    assert "without a language model" in caplog.text
