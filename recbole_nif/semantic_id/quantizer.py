"""Vectors into codes: residual k-means, and what it shares with the RQ-VAE of ``rq_vae.py``.

Eq. 3 of the paper: level n takes the nearest of its codewords and hands on what is left of the vector.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import asdict, dataclass

import numpy as np
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning

KINDS = ("rqvae", "kmeans")
MOST_CODES = 256
RESTARTS = 4  # k-means takes the best of that many beginnings


@dataclass(frozen=True)
class QuantizerSettings:
    """What decides the codes besides the vectors; the keys of the same names in props/overall.yaml."""

    quantizer: str
    code_levels: int
    codebook_size: int | None
    rqvae_pca_size: int
    rqvae_hidden_size: tuple[int, ...]
    rqvae_code_dim: int
    rqvae_steps: int
    rqvae_learning_rate: float
    seed: int

    @classmethod
    def of(cls, config) -> QuantizerSettings:
        """Reads the configuration; k-means does not depend on the keys of the RQ-VAE."""
        values = {name: config[name] for name in cls.__dataclass_fields__}
        if values["quantizer"] == "kmeans":
            values = {name: None if name.startswith("rqvae") else value for name, value in values.items()}
        elif values["rqvae_hidden_size"] is not None:
            values["rqvae_hidden_size"] = tuple(values["rqvae_hidden_size"])
        return cls(**values)

    def key(self) -> dict:
        """As JSON's types, for the hash of a cached result."""
        return asdict(self)

    def size(self, n_fitted: int) -> int:
        """Codes per level: ``codebook_size``, else 256, for k-means at most the root of the fitted items."""
        if self.codebook_size:
            return min(self.codebook_size, n_fitted)
        root = math.ceil(math.sqrt(n_fitted)) if self.quantizer == "kmeans" else n_fitted
        return max(1, min(MOST_CODES, root))


@dataclass(frozen=True)
class Quantized:
    """Codes of all vectors and what is lost by them.

    codes: [n, levels] int64; sizes: codes per level; restored: [n, d], the vectors that the codes stand for.
    """

    codes: np.ndarray
    sizes: tuple[int, ...]
    restored: np.ndarray

    def error(self, vectors: np.ndarray, rows: np.ndarray) -> float | None:
        """Squared error over ``rows`` [n] bool, relative to their variance; None without any."""
        if not rows.any():
            return None
        kept, restored = vectors[rows].astype(np.float64), self.restored[rows].astype(np.float64)
        spread = ((kept - vectors.mean(0, dtype=np.float64)) ** 2).sum()
        return float(((kept - restored) ** 2).sum() / spread) if spread > 0 else 0.0


def quantize(settings: QuantizerSettings, vectors: np.ndarray, fitted: np.ndarray) -> Quantized:
    """Fits a quantizer and encodes all vectors by it, the same for the same input.

    Args:
        vectors: [n, d] float32.
        fitted: [n] bool, the vectors that it is fitted on.
    """
    if settings.quantizer == "kmeans":
        return residual_kmeans(settings, vectors, fitted)
    from recbole_nif.semantic_id.rq_vae import rq_vae  # which takes seconds to import

    return rq_vae(settings, vectors, fitted)


def residual_kmeans(settings: QuantizerSettings, vectors: np.ndarray, fitted: np.ndarray) -> Quantized:
    """K-means on the vectors, then on what is left of them, level by level."""
    size = settings.size(int(fitted.sum()))
    residual, codes = vectors.astype(np.float64), []
    for level in range(settings.code_levels):
        kmeans = KMeans(size, n_init=RESTARTS, random_state=settings.seed + level)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # fewer different vectors than codes
            kmeans.fit(residual[fitted])
        codes.append(kmeans.predict(residual).astype(np.int64))
        residual = residual - kmeans.cluster_centers_[codes[-1]]
    restored = (vectors - residual).astype(np.float32)
    return Quantized(np.stack(codes, axis=1), (size,) * settings.code_levels, restored)
