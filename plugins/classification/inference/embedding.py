"""Joint features in two dimensions: images that a network takes for alike lie close together."""

from __future__ import annotations

import importlib.util
from typing import Literal

import numpy as np

Method = Literal['t-SNE', 'UMAP']

MOST = 2000  # images; of more, every so many-th is taken
FEWEST = 8
COMPONENTS = 50  # principal ones that t-SNE starts from


def needs(method: Method) -> None:
    """Say what a method needs that is not there.

    Raises:
        ValueError: UMAP without its package.
    """
    if method == 'UMAP' and importlib.util.find_spec('umap') is None:
        raise ValueError(
            'embedding UMAP needs umap-learn, which is not installed: pip install umap-learn, or '
            'take t-SNE'
        )


def embedded(features: np.ndarray, method: Method) -> tuple[np.ndarray, np.ndarray] | str:
    """Features (N, D) as points in a plane, the same for the same features.

    Distances between far groups and the sizes of groups mean little in either method.

    Returns:
        Indices of the images that were taken (M,) and their points (M, 2); or why there are none.
    """
    if len(features) < FEWEST:
        return f'{len(features)} images are too few, {FEWEST} are needed'
    if not np.isfinite(features).all():
        return 'some joint features are not finite'
    kept = np.linspace(0, len(features) - 1, min(len(features), MOST)).round().astype(int)
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
