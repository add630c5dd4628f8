"""Embedding of joint features in two dimensions by t-SNE or UMAP."""

from __future__ import annotations

import importlib.util
from typing import Literal

import numpy as np

Method = Literal['t-SNE', 'UMAP']

MAX_IMAGES = 2000  # more images are thinned evenly
MIN_IMAGES = 8
COMPONENTS = 50  # principal components that t-SNE starts from


def check_installed(method: Method) -> None:
    """Check that the package of a method is installed.

    Raises:
        ValueError: UMAP without its package.
    """
    if method == 'UMAP' and importlib.util.find_spec('umap') is None:
        raise ValueError(
            'embedding UMAP needs umap-learn, which is not installed: pip install umap-learn, or '
            'take t-SNE'
        )


def embed(features: np.ndarray, method: Method) -> tuple[np.ndarray, np.ndarray] | str:
    """Embed features (N, D) in a plane, the same for the same features.

    Distances between far groups and the sizes of groups mean little in either method.

    Returns:
        Indices of the embedded images (M,) and their points (M, 2); or the reason for which there
        are none.
    """
    if len(features) < MIN_IMAGES:
        return f'{len(features)} images are too few, {MIN_IMAGES} are needed'
    if not np.isfinite(features).all():
        return 'some joint features are not finite'
    kept = np.linspace(0, len(features) - 1, min(len(features), MAX_IMAGES)).round().astype(int)
    values = features[kept].astype(np.float64)
    values = values - values.mean(0)
    if not values.any():
        return 'the joint features of all images are the same'
    if method == 'UMAP':
        import umap

        neighbours = min(15, len(values) - 1)
        mapper = umap.UMAP(n_neighbors=neighbours, random_state=0, n_jobs=1)
        return kept, mapper.fit_transform(values)
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    if values.shape[1] > COMPONENTS and len(values) > COMPONENTS:
        values = PCA(COMPONENTS, svd_solver='randomized', random_state=0).fit_transform(values)
    perplexity = min(30.0, (len(values) - 1) / 3)
    tsne = TSNE(perplexity=perplexity, init='pca', random_state=0, n_jobs=1)
    return kept, tsne.fit_transform(values)
