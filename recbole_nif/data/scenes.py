"""Scenes: the carriers of moveline events, as sets of elementary scenes.

A scene set is one integer per event; ``members`` says which elementary scenes it consists of. A token
field gives sets of one, a token_seq field (a movie's genres) sets of several, a cross of two token
fields one elementary scene per observed pair.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class SceneVocabulary:
    """members: [sets, S] int64, elementary scenes of each set, 0-padded on the right; set 0 is empty.

    n_scenes counts elementary scenes including padding 0.
    """

    members: Tensor
    n_scenes: int


def constant_scene(size: int) -> tuple[SceneVocabulary, np.ndarray]:
    """One scene for everything, when a dataset names no scene field."""
    return SceneVocabulary(torch.tensor([[0], [1]]), 2), np.ones(size, dtype=np.int64)


def token_scenes(tokens: np.ndarray, n_tokens: int, hash_size: int) -> tuple[SceneVocabulary, np.ndarray]:
    """Sets of one. tokens: [M] ids below ``n_tokens``, 0 = missing; returns the vocabulary and sets [M]."""
    tokens, n_scenes = _hashed(tokens, n_tokens, hash_size)
    return SceneVocabulary(torch.arange(n_scenes)[:, None], n_scenes), tokens


def set_scenes(tokens: np.ndarray, n_tokens: int, hash_size: int) -> tuple[SceneVocabulary, np.ndarray]:
    """Sets of several. tokens: [M, S] ids with 0 = padding; equal sets share one number, [M]."""
    tokens, n_scenes = _hashed(tokens, n_tokens, hash_size)
    width = tokens.shape[1]
    left_aligned = np.sort(np.where(tokens == 0, n_scenes, tokens), axis=1) % n_scenes  # 0s to the right
    empty = np.zeros((1, width), dtype=left_aligned.dtype)  # unique sorts rows, so the empty set comes first
    members, sets = np.unique(np.concatenate([empty, left_aligned]), axis=0, return_inverse=True)
    return SceneVocabulary(torch.from_numpy(members), n_scenes), sets.reshape(-1)[1:]


def cross_scenes(first: np.ndarray, second: np.ndarray, hash_size: int) -> tuple[SceneVocabulary, np.ndarray]:
    """One elementary scene per observed pair of two token columns, [M] each; 0 where either is missing."""
    code = first.astype(np.int64) * (int(second.max(initial=0)) + 1) + second
    code[(first == 0) | (second == 0)] = -1
    pairs, scene = np.unique(code, return_inverse=True)
    missing_first = len(pairs) > 0 and pairs[0] == -1
    scene = scene.reshape(-1) + (0 if missing_first else 1)
    return token_scenes(scene, len(pairs) + (0 if missing_first else 1), hash_size)


def _hashed(tokens: np.ndarray, n_tokens: int, hash_size: int) -> tuple[np.ndarray, int]:
    """Folds ids 1..n_tokens-1 into ``hash_size`` buckets when there are more (multiplicative hashing)."""
    tokens = tokens.astype(np.int64)
    if n_tokens - 1 <= hash_size:
        return tokens, n_tokens
    folded = 1 + (tokens * 2654435761 % 2**32) % hash_size
    return np.where(tokens == 0, 0, folded), hash_size + 1
