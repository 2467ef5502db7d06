"""Vectors on the plane: principal components, or t-SNE with a fixed seed."""

import numpy as np

PROJECTIONS = {"pca": "PCA", "tsne": "t-SNE"}  # option -> what a picture calls it
SEED = 0
PERPLEXITY = 30.0


def project(vectors: np.ndarray, method: str = "pca") -> np.ndarray:
    """``vectors`` [N, d] -> [N, 2]; ``method`` is one of ``PROJECTIONS``. Equal input gives equal points."""
    return _tsne(vectors) if method == "tsne" else _pca(vectors)


def _pca(vectors: np.ndarray) -> np.ndarray:
    """The two first principal components; of each the largest loading is positive, which settles its sign."""
    centered = vectors.astype(np.float64) - vectors.mean(0)
    axes = np.linalg.svd(centered, full_matrices=False)[2][:2]  # [2, d]
    largest = np.take_along_axis(axes, np.abs(axes).argmax(1)[:, None], 1)
    plane = centered @ (axes * np.sign(largest)).T
    return np.pad(plane, ((0, 0), (0, 2 - plane.shape[1])))  # a single vector has one component


def _tsne(vectors: np.ndarray) -> np.ndarray:
    from sklearn.manifold import TSNE  # slow to import

    perplexity = min(PERPLEXITY, max(1.0, (len(vectors) - 1) / 3))
    return TSNE(perplexity=perplexity, init="pca", random_state=SEED).fit_transform(vectors)
