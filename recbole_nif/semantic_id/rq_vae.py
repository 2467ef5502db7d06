"""RQ-VAE: an auto-encoder whose middle is quantized level by level (models notes, 3.2).

PCA-whitening, an MLP, residual codebooks that follow their vectors by moving averages, the mirrored MLP.
Codes that no vector takes any more are placed anew. The published one trains a 2048-1024-512-256-128 MLP for
10,000 epochs; the sizes here are scaled to less than a minute on one core, by keys of the configuration.
"""

from __future__ import annotations

import random
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from vector_quantize_pytorch import ResidualVQ

from recbole_nif.semantic_id.quantizer import QuantizerSettings

BATCH = 1024
FIRST_BATCH = 16384  # vectors that the codebooks' first k-means sees
BETA = 0.25  # weight of the commitment loss
DECAY = 0.99  # of the moving averages of codewords
DEAD_CODE = 1.0  # vectors of a batch, averaged, below which a code is placed on one of them
SMALLEST_SCALE = 1e-4  # of the largest: directions with less spread are rounding errors


class Whitening(nn.Module):
    """PCA to uncorrelated coordinates of variance 1, and back; fitted by :meth:`of`.

    mean: [d]; directions: [d, k]; scale: [k], standard deviations.
    """

    def __init__(self, mean: Tensor, directions: Tensor, scale: Tensor):
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("directions", directions)
        self.register_buffer("scale", scale)

    @classmethod
    def of(cls, vectors: Tensor, most: int) -> Whitening:
        """The ``most`` widest directions of ``vectors`` [n, d], fewer where they have no spread."""
        mean = vectors.mean(0)
        _, singular, directions = torch.linalg.svd(vectors - mean, full_matrices=False)
        kept = max(1, min(most, int((singular > SMALLEST_SCALE * singular[0]).sum())))
        scale = (singular[:kept] / max(1, len(vectors) - 1) ** 0.5).clamp(min=1e-12)
        return cls(mean, directions[:kept].T, scale)

    def forward(self, vectors: Tensor) -> Tensor:
        """[n, d] -> [n, k]."""
        return (vectors - self.mean) @ self.directions / self.scale

    def undo(self, coordinates: Tensor) -> Tensor:
        """[n, k] -> [n, d]."""
        return (coordinates * self.scale) @ self.directions.T + self.mean


class RQVAE(nn.Module):
    """Whitening, encoder, residual codebooks of ``size`` codes and decoder."""

    def __init__(self, whitening: Whitening, settings: QuantizerSettings, size: int):
        super().__init__()
        self.whitening = whitening
        widths = [len(whitening.scale), *settings.rqvae_hidden_size, settings.rqvae_code_dim]
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

    @classmethod
    def fit(cls, settings: QuantizerSettings, vectors: Tensor) -> RQVAE:
        """Trains on the CPU; arguments as of ``quantize``, all of ``vectors`` are fitted."""
        whitening = Whitening.of(vectors, settings.rqvae_pca_size)
        with _seeded(settings.seed), torch.enable_grad():
            model = cls(whitening, settings, settings.size(len(vectors)))
            _train(model, whitening(vectors), settings)
        return model.eval()

    @classmethod
    def like(cls, settings: QuantizerSettings, state: Mapping[str, Tensor]) -> RQVAE:
        """One of the shape of ``state``, without its values."""
        parts = [torch.zeros_like(state[f"whitening.{name}"]) for name in ("mean", "directions", "scale")]
        size = state["codebooks.layers.0._codebook.embed"].shape[-2]
        with _seeded(settings.seed):
            return cls(Whitening(*parts), settings, size).eval()

    def forward(self, vectors: Tensor) -> tuple[Tensor, Tensor]:
        restored, codes, _ = self.reconstruct(self.whitening(vectors))
        return codes, self.whitening.undo(restored)

    def reconstruct(self, white: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Whitened [n, k] -> restored [n, k], codes [n, levels], the loss of a training step."""
        quantized, codes, commitment = self.codebooks(self.encoder(white).unsqueeze(0))
        restored = self.decoder(quantized.squeeze(0))
        return restored, codes.squeeze(0), F.mse_loss(restored, white) + commitment.mean()


def _train(model: RQVAE, vectors: Tensor, settings: QuantizerSettings) -> None:
    model.train()
    with torch.no_grad():  # the first vectors that a codebook sees are those of its k-means
        model.reconstruct(vectors[torch.randperm(len(vectors))[:FIRST_BATCH]])
    optimizer = torch.optim.Adam(model.parameters(), settings.rqvae_learning_rate)
    for _ in range(settings.rqvae_steps):
        batch = vectors[torch.randperm(len(vectors))[:BATCH]]
        _, _, loss = model.reconstruct(batch)
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
