"""Vectors into codes: residual k-means, and what it shares with the RQ-VAE of ``rq_vae.py``.

Eq. 3 of the paper: level n takes the nearest of its codewords and hands on what is left of the vector. A
fitted quantizer is a module that turns vectors [n, d] float32 into codes [n, levels] int64 and the vectors
that these stand for, [n, d]; its state is all that decides them.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np
import torch
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor, nn

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

    codes: [n, levels] int64; sizes: codes per level; restored: [n, d], the vectors that the codes stand for;
    quantizer: what made them.
    """

    codes: np.ndarray
    sizes: tuple[int, ...]
    restored: np.ndarray
    quantizer: nn.Module

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
        fit = ResidualKMeans.fit
    else:
        from recbole_nif.semantic_id.rq_vae import RQVAE  # which takes seconds to import

        fit = RQVAE.fit
    quantizer = fit(settings, torch.from_numpy(vectors[fitted]))
    with torch.no_grad():
        codes, restored = quantizer(torch.from_numpy(vectors))
    sizes = (settings.size(int(fitted.sum())),) * settings.code_levels
    return Quantized(codes.numpy(), sizes, restored.numpy(), quantizer)


def empty_quantizer(settings: QuantizerSettings, state: Mapping[str, Tensor]) -> nn.Module:
    """A quantizer of the shape that ``state``, the state of a fitted one, has, to load it into.

    Raises:
        KeyError: that is the state of something else.
    """
    if settings.quantizer == "kmeans":
        return ResidualKMeans(torch.zeros_like(state["centers"]))
    from recbole_nif.semantic_id.rq_vae import RQVAE

    return RQVAE.like(settings, state)


class ResidualKMeans(nn.Module):
    """K-means on the vectors, then on what is left of them, level by level.

    centers: [levels, size, d] float64.
    """

    def __init__(self, centers: Tensor):
        super().__init__()
        self.register_buffer("centers", centers)

    @classmethod
    def fit(cls, settings: QuantizerSettings, vectors: Tensor) -> ResidualKMeans:
        """Arguments as of ``quantize``; all of ``vectors`` are fitted."""
        residual, centers = vectors.double(), []
        for level in range(settings.code_levels):
            kmeans = KMeans(settings.size(len(vectors)), n_init=RESTARTS, random_state=settings.seed + level)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)  # fewer different vectors than codes
                kmeans.fit(residual.numpy())
            centers.append(torch.from_numpy(kmeans.cluster_centers_))
            residual = residual - centers[-1][_nearest(residual, centers[-1])]
        return cls(torch.stack(centers))

    def forward(self, vectors: Tensor) -> tuple[Tensor, Tensor]:
        residual, codes = vectors.double(), []
        for centers in self.centers:
            codes.append(_nearest(residual, centers))
            residual = residual - centers[codes[-1]]
        return torch.stack(codes, dim=1), (vectors - residual).float()


def _nearest(vectors: Tensor, centers: Tensor) -> Tensor:
    """[n, d], [size, d] -> [n] int64"""
    return torch.cdist(vectors, centers).argmin(1)
