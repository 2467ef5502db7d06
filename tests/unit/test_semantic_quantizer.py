"""Vectors into codes on separable clusters, and the health numbers by hand."""

import logging
import math

import numpy as np
import pytest
import torch

from recbole_nif.errors import UserError
from recbole_nif.semantic_id.codes import SemanticIds
from recbole_nif.semantic_id.health import health_report, log_health, perplexity, purity, stop_if_collapsed
from recbole_nif.semantic_id.quantizer import QuantizerSettings, quantize
from recbole_nif.semantic_id.quantizer_file import FittedQuantizer
from recbole_nif.semantic_id.rq_vae import Whitening

SETTINGS = {
    "quantizer": "kmeans", "code_levels": 2, "codebook_size": 4, "rqvae_pca_size": 6,
    "rqvae_hidden_size": (32,), "rqvae_code_dim": 8, "rqvae_steps": 200, "rqvae_learning_rate": 3e-3,
    "seed": 7,
}  # fmt: skip


def clusters(of_each=40, seed=0):
    """Four far clusters, each of four near ones, in eight dimensions with a little noise; both labels."""
    rng = np.random.default_rng(seed)
    far, near = np.repeat(np.arange(4), 4 * of_each), np.tile(np.repeat(np.arange(4), of_each), 4)
    centers = 10 * np.eye(8)[far] + 2 * np.eye(8)[4 + near]
    order = rng.permutation(len(far))
    return (
        (centers + 0.05 * rng.normal(size=centers.shape)).astype(np.float32)[order],
        far[order],
        near[order],
    )


def settings(**changes):
    return QuantizerSettings(**SETTINGS | changes)


def groups(code):
    """Which places share a code, whatever it is called."""
    return {frozenset(np.flatnonzero(code == value).tolist()) for value in np.unique(code)}


def test_residual_kmeans_finds_far_clusters_first_and_near_ones_in_what_is_left():
    vectors, far, near = clusters()
    made = quantize(settings(), vectors, np.ones(len(vectors), dtype=bool))
    assert made.sizes == (4, 4)
    assert groups(made.codes[:, 0]) == groups(far)
    assert groups(made.codes[:, 1]) == groups(near)
    assert made.error(vectors, np.ones(len(vectors), dtype=bool)) < 0.001


def test_an_rqvae_restores_separable_clusters_from_their_codes():
    vectors, far, near = clusters()
    everything = np.ones(len(vectors), dtype=bool)
    made = quantize(settings(quantizer="rqvae", codebook_size=16), vectors, everything)
    assert made.codes.shape == (len(vectors), 2) and made.codes.max() < 16
    assert made.error(vectors, everything) < 0.05
    pairs = made.codes[:, 0] * 16 + made.codes[:, 1]
    mixed = [len(np.unique((4 * far + near)[pairs == pair])) for pair in np.unique(pairs)]
    assert np.mean(np.array(mixed) == 1) > 0.9  # hardly a pair of codes names items of two clusters


@pytest.mark.parametrize("quantizer", ["kmeans", "rqvae"])
def test_the_same_seed_gives_the_same_codes_and_draws_nothing_from_others(quantizer):
    vectors, _, _ = clusters(of_each=5)
    chosen = settings(quantizer=quantizer, rqvae_steps=5)
    torch.manual_seed(1)
    first = quantize(chosen, vectors, np.ones(len(vectors), dtype=bool)).codes
    drawn = torch.rand(1)
    torch.manual_seed(1)
    assert drawn == torch.rand(1)
    assert np.array_equal(first, quantize(chosen, vectors, np.ones(len(vectors), dtype=bool)).codes)


@pytest.mark.parametrize("quantizer", ["kmeans", "rqvae"])
def test_only_fitted_items_shape_the_codebooks_but_all_are_encoded(quantizer):
    vectors, far, _ = clusters(of_each=10)
    fitted = far != 3
    chosen = settings(quantizer=quantizer, rqvae_steps=20)
    made = quantize(chosen, vectors, fitted)
    changed = vectors.copy()
    changed[~fitted] += 100
    other = quantize(chosen, changed, fitted)
    assert np.array_equal(made.codes[fitted], other.codes[fitted])
    assert (made.codes[~fitted] >= 0).all()
    assert made.error(vectors, ~fitted) > made.error(vectors, fitted)


def test_sizes_follow_the_items_where_none_is_given():
    assert settings(codebook_size=None).size(3668) == 61  # the root, rounded up
    assert settings(codebook_size=None, quantizer="rqvae").size(3668) == 256
    assert settings(codebook_size=None, quantizer="rqvae").size(100) == 100
    assert settings(codebook_size=300).size(3668) == 300


def test_kmeans_does_not_depend_on_the_keys_of_the_rqvae():
    read = [QuantizerSettings.of(SETTINGS | {"rqvae_steps": steps}) for steps in (1, 2)]
    assert read[0].key() == read[1].key()
    rqvae = [QuantizerSettings.of(SETTINGS | {"quantizer": "rqvae", "rqvae_steps": s}) for s in (1, 2)]
    assert rqvae[0].key() != rqvae[1].key()


def test_whitened_coordinates_have_variance_1_and_lead_back():
    vectors = (
        torch.randn(200, 5, generator=torch.Generator().manual_seed(0)) @ torch.diag(torch.arange(5.0)) + 3
    )
    whitening = Whitening.of(vectors, most=8)
    white = whitening(vectors)
    assert white.shape == (200, 4)  # the first dimension has no spread
    assert torch.allclose(torch.cov(white.T), torch.eye(4), atol=1e-4)
    assert torch.allclose(whitening.undo(white), vectors, atol=1e-4)


# --- a fitted quantizer goes on encoding


def fitted_quantizer(kind):
    vectors, _, _ = clusters(of_each=5)
    chosen = QuantizerSettings.of(SETTINGS | {"quantizer": kind, "rqvae_steps": 10})
    made = quantize(chosen, vectors, np.ones(len(vectors), dtype=bool))
    return vectors, made, FittedQuantizer(chosen, made.sizes, {"text_encoder": "e"}, made.quantizer)


@pytest.mark.parametrize("kind", ["kmeans", "rqvae"])
def test_a_stored_quantizer_gives_old_vectors_their_old_codes(kind, tmp_path):
    vectors, made, fitted = fitted_quantizer(kind)
    fitted.write(tmp_path / "toy.quantizer.pt")
    torch.manual_seed(1)
    read = FittedQuantizer.read(tmp_path / "toy.quantizer.pt")
    drawn = torch.rand(1)
    torch.manual_seed(1)
    assert drawn == torch.rand(1)
    assert np.array_equal(read.encode(vectors).numpy(), made.codes)
    assert np.array_equal(read.encode(vectors[7:9]).numpy(), made.codes[7:9])
    assert np.array_equal(read.encode(vectors).numpy(), made.codes)  # encoding changes nothing
    assert (read.settings, read.sizes, read.vectors_of) == (
        fitted.settings,
        made.sizes,
        {"text_encoder": "e"},
    )


def test_a_quantizer_file_that_is_cut_off_or_something_else_ends_in_one_sentence(tmp_path):
    path = tmp_path / "toy.quantizer.pt"
    _, _, fitted = fitted_quantizer("kmeans")
    fitted.write(path)
    whole = path.read_bytes()
    other_kind = settings(quantizer="rqvae").key()
    contents = [whole[: len(whole) // 2], b"", b"text"]
    for content in contents:
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"toy.quantizer.pt is no whole quantizer .*: copy it again"):
            FittedQuantizer.read(path)
    for payload in ([1], {"format": 0}, {"format": 1, "settings": other_kind, "sizes": [4], "vectors_of": {},
                                         "state": fitted.module.state_dict()}):  # fmt: skip
        torch.save(payload, path)
        with pytest.raises(UserError, match="is no whole quantizer"):
            FittedQuantizer.read(path)


# --- health


def test_perplexity_counts_equally_frequent_codes():
    assert perplexity(torch.tensor([5, 5, 0, 5, 5])) == pytest.approx(4)
    assert perplexity(torch.tensor([3, 1])) == pytest.approx(4 / 3**0.75)
    assert perplexity(torch.tensor([0, 9])) == pytest.approx(1)


def test_purity_is_the_share_of_the_most_frequent_value_of_each_cohort():
    code = torch.tensor([0, 0, 0, 2, 2])
    comedy, drama = 1, 2
    values = torch.tensor([[comedy, 0], [drama, comedy], [drama, drama], [0, 0], [comedy, drama]])
    assert purity(code, values, size=3) == pytest.approx((2 + 1) / 5)  # a drama that says so twice is one


def small_report():
    """Six items; genres 1 and 2 are told by the first code."""
    codes = torch.tensor([[-1, -1], [0, 0], [0, 0], [0, 1], [3, 1], [3, 1], [3, 1]])
    genre = torch.tensor([0, 1, 1, 1, 2, 2, 2])
    ids = SemanticIds.with_digit(codes, (4, 2), 4)
    return health_report(ids, genre.unsqueeze(1), "genre", seed=1)


def test_the_health_report_by_hand():
    report = small_report()
    first, second = report["levels"]
    assert (first["size"], first["used"], first["purity"]) == (4, 2, 1.0)
    assert first["perplexity"] == pytest.approx(2)
    assert first["random_purity"] < 1
    assert second["purity"] == pytest.approx(5 / 6)
    assert second["perplexity"] == pytest.approx(
        math.exp(-(1 / 3 * math.log(1 / 3) + 2 / 3 * math.log(2 / 3)))
    )
    assert (report["items"], report["distinct"], report["largest_collision"]) == (6, 3, 3)
    assert report["collision_rate"] == pytest.approx(0.5)


def test_the_health_report_is_logged_in_a_few_lines(caplog):
    with caplog.at_level(logging.INFO):
        log_health({"health": small_report() | {"reconstruction_error": 0.25}})
    assert "level 1: 2 of 4 codes used, perplexity 2.0, genre purity 1.000 (random" in caplog.text
    assert "6 items, 50.00 % share all codes with an earlier one (at most 3 together)" in caplog.text
    assert "reconstruction error 0.250 of the variance" in caplog.text
    assert len(caplog.records) == 3


def test_a_collapsed_codebook_stops_with_advice():
    codes = torch.zeros(101, 2, dtype=torch.long)
    codes[0] = -1
    codes[1:, 1] = torch.arange(100)
    report = health_report(SemanticIds.with_digit(codes, (50, 100)), None, None, seed=1)
    with pytest.raises(
        UserError, match=r"level 1 has collapsed \(perplexity 1.0 where 50 is possible\): lower"
    ):
        stop_if_collapsed(report)


def test_few_items_are_no_collapse():
    stop_if_collapsed(small_report())
