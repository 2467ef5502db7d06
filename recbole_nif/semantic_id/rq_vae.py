"""RQ-VAE: an auto-encoder whose middle is quantized level by level (models notes, 3.2).

PCA-whitening, an MLP, residual codebooks that follow their vectors by moving averages, the mirrored MLP.
Codes that no vector takes any more are placed anew. The published one trains a 2048-1024-512-256-128 MLP for
10,000 epochs; the sizes here are scaled to less than a minute on one core, by keys of the configuration.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from vector_quantize_pytorch import ResidualVQ

from recbole_nif.semantic_id.quantizer import Quantized, QuantizerSettings

BATCH = 1024
FIRST_BATCH = 16384  # vectors that the codebooks' first k-means sees
BETA = 0.25  # weight of the commitment loss
DECAY = 0.99  # of the moving averages of codewords
DEAD_CODE = 1.0  # vectors of a batch, averaged, below which a code is placed on one of them
SMALLEST_SCALE = 1e-4  # of the largest: directions with less spread are rounding errors


@dataclass(frozen=True)
class Whitening:
    """PCA to uncorrelated coordinates of variance 1, and back; fitted by :meth:`of`."""

    mean: Tensor  # [d]
    directions: Tensor  # [d, k]
    scale: Tensor  # [k], standard deviations

    @classmethod
    def of(cls, vectors: Tensor, most: int) -> Whitening:
        """The ``most`` widest directions of ``vectors`` [n, d], fewer where they have no spread."""
        mean = vectors.mean(0)
        _, singular, directions = torch.linalg.svd(vectors - mean, full_matrices=False)
        kept = max(1, min(most, int((singular > SMALLEST_SCALE * singular[0]).sum())))
        scale = (singular[:kept] / max(1, len(vectors) - 1) ** 0.5).clamp(min=1e-12)
        return cls(mean, directions[:kept].T, scale)

    def apply(self, vectors: Tensor) -> Tensor:
        """[n, d] -> [n, k]."""
        return (vectors - self.mean) @ self.directions / self.scale

    def undo(self, coordinates: Tensor) -> Tensor:
        """[n, k] -> [n, d]."""
        return (coordinates * self.scale) @ self.directions.T + self.mean


class RQVAE(nn.Module):
    """Encoder, residual codebooks and decoder on whitened vectors."""

    def __init__(self, width: int, settings: QuantizerSettings, size: int):
        super().__init__()
        widths = [width, *settings.rqvae_hidden_size, settings.rqvae_code_dim]
        self.encoder, self.decoder = _mlp(widths), _mlp(widths[::-1])
        self.codebooks = ResidualVQ(
            dim=settings.rqvae_code_dim,
            num_quantizers=settings.code_levels,
            codebook_size=size,
            kmeans_init=True,
            decay=DECAY,
            threshold_ema_dead_code=DEAD_CODE,
            commitment_weight=BETA,
            rotation_trick=False,  # straight-through gradients, as in the paper
        )

    def forward(self, vectors: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Restored vectors [n, k], codes [n, levels], the loss of a training step."""
        quantized, codes, commitment = self.codebooks(self.encoder(vectors).unsqueeze(0))
        restored = self.decoder(quantized.squeeze(0))
        return restored, codes.squeeze(0), F.mse_loss(restored, vectors) + commitment.mean()


def rq_vae(settings: QuantizerSettings, vectors: np.ndarray, fitted: np.ndarray) -> Quantized:
    """Trains an RQ-VAE on the CPU and encodes all vectors; arguments as of ``quantize``."""
    every = torch.from_numpy(vectors)
    whitening = Whitening.of(every[torch.from_numpy(fitted)], settings.rqvae_pca_size)
    white = whitening.apply(every)
    size = settings.size(int(fitted.sum()))
    with _seeded(settings.seed), torch.enable_grad():
        model = RQVAE(white.shape[1], settings, size)
        _train(model, white[torch.from_numpy(fitted)], settings)
    model.eval()
    with torch.no_grad():
        restored, codes, _ = model(white)
    return Quantized(codes.numpy(), (size,) * settings.code_levels, whitening.undo(restored).numpy())


def _train(model: RQVAE, vectors: Tensor, settings: QuantizerSettings) -> None:
    model.train()
    with torch.no_grad():  # the first vectors that a codebook sees are those of its k-means
        model(vectors[torch.randperm(len(vectors))[:FIRST_BATCH]])
    optimizer = torch.optim.Adam(model.parameters(), settings.rqvae_learning_rate)
    for _ in range(settings.rqvae_steps):
        batch = vectors[torch.randperm(len(vectors))[:BATCH]]
        _, _, loss = model(batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def _mlp(widths: list[int]) -> nn.Sequential:
    """Linear layers with ReLU between."""
    layers: list[nn.Module] = []
    for before, after in zip(widths, widths[1:], strict=False):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


class _seeded:
    """Every draw inside the block depends on the seed alone, and none outside of it on the block."""

    def __init__(self, seed: int):
        self.seed, self.fork = seed, torch.random.fork_rng(devices=[])

    def __enter__(self) -> None:
        self.python_state = random.getstate()
        self.fork.__enter__()
        torch.manual_seed(self.seed)
        random.seed(self.seed)

    def __exit__(self, *error) -> None:
        self.fork.__exit__(*error)
        random.setstate(self.python_state)
