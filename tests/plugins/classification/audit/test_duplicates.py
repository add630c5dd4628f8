from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from plugins.classification.audit import duplicates
from plugins.classification.audit.duplicates import find_clusters, find_equal, find_near_pairs


def scene(seed, side=96):
    """Something with large and small structure."""
    rng = np.random.default_rng(seed)
    noise = [ndimage.gaussian_filter(rng.normal(size=(side, side)), s) * s for s in (1.5, 4, 12)]
    return sum(noise).astype(np.float32)


def copies(images):
    small = np.stack([ndimage.zoom(image, 32 / image.shape[0], order=1) for image in images])
    fine = np.stack([ndimage.zoom(image, 64 / image.shape[0], order=1) for image in images])
    return small, fine


def found(images, **options):
    return {tuple(pair[:2]) for pair in find_near_pairs(*copies(images), **options)}


def test_what_changes_gain_contrast_noise_or_size_is_found_and_nothing_else():
    rng = np.random.default_rng(0)
    images = [scene(seed) for seed in range(12)]
    images.append(0.4 * images[2] + 3)  # gain and offset
    images.append(images[5] + rng.normal(0, 0.1, images[5].shape).astype(np.float32))
    images.append(ndimage.zoom(images[7], 0.6, order=1))
    assert found(images) == {(2, 12), (5, 13), (7, 14)}


def test_details_tell_a_copy_under_another_overlay():
    images = [scene(seed) for seed in range(6)]
    changed = images[3].copy()
    changed[:, -16:] += np.linspace(0, 1, 96)[:, None].astype(np.float32)
    images.append(changed)
    assert found(images, detail=1.0) == set()
    assert found(images) == {(3, 6)}


def test_a_frame_that_all_share_makes_no_pair():
    """Its edges make all details alike, until what all have in common is left out."""
    frame = np.zeros((96, 96), np.float32)
    frame[10:86:6, 4:92] = 12
    frame[20:80, 20:76] = 0
    images = []
    for seed in range(60):
        image = frame.copy()
        image[20:80, 20:76] += 1.2 * scene(seed)[20:80, 20:76]
        images.append(image)
    small, fine = copies(images)
    assert find_near_pairs(small, fine, threshold=0.9999) == []
    few = find_near_pairs(small[:20], fine[:20], threshold=0.9999)
    assert len(few) > 50


def test_blocks_do_not_matter(monkeypatch):
    images = [scene(seed % 7) for seed in range(23)]
    whole = found(images)
    assert len(whole) > 20
    monkeypatch.setattr(duplicates, 'BLOCK', 5)
    assert found(images) == whole


def test_blank_images_are_like_none():
    blank = np.full((4, 32, 32), 0.3, np.float32)
    assert find_near_pairs(blank, np.full((4, 64, 64), 0.3, np.float32)) == []


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 30), st.data())
def test_clusters_are_what_links_hold_together(count, data):
    position = st.integers(0, count - 1)
    links = data.draw(st.lists(st.tuples(position, position), max_size=30))
    made = find_clusters(count, links)
    place = {i: number for number, cluster in enumerate(made) for i in cluster}
    assert sum(map(len, made)) == len(place)
    assert all(len(cluster) > 1 for cluster in made)
    for first, second in links:
        assert first == second or place[first] == place[second]
    # Every cluster is held together by its links alone.
    for cluster in made:
        reached = {cluster[0]}
        for _ in cluster:
            reached |= {i for link in links if reached & set(link) for i in link}
        assert reached == set(cluster)


def test_same():
    assert find_equal(['a', 'b', '', 'a', '', 'c', 'b', 'a']) == [(0, 3, 7), (1, 6)]


@pytest.mark.slow
def test_ten_thousand_images_take_seconds():
    import time

    rng = np.random.default_rng(0)
    small = rng.normal(size=(10_000, 32, 32)).astype(np.float32)
    fine = rng.normal(size=(10_000, 64, 64)).astype(np.float32)
    small[9999], fine[9999] = small[17], fine[17]
    start = time.perf_counter()
    assert [pair[:2] for pair in find_near_pairs(small, fine)] == [(17, 9999)]
    assert time.perf_counter() - start < 120
