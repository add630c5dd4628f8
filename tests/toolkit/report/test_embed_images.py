"""Images as data URIs: once each, as small as asked for, never over the budget."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from PIL import Image

from toolkit.report.embed_images import (
    BudgetExceededError,
    ImageEmbedder,
    ImageQuality,
    encode_image,
    to_script_json,
)


@pytest.fixture
def file(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / 'image.png')
    return tmp_path / 'image.png'


def decode(uri):
    head, _, text = uri.partition(',')
    assert head == 'data:image/webp;base64'
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(text))).convert('RGB'))


def test_without_loss(file):
    uri = encode_image(file.read_bytes(), ImageQuality())
    assert np.array_equal(decode(uri), np.asarray(Image.open(file)))


def test_crop_and_side(file):
    content = file.read_bytes()
    central = decode(encode_image(content, ImageQuality(crop=20)))
    assert np.array_equal(central, np.asarray(Image.open(file))[10:30, 20:40])
    assert decode(encode_image(content, ImageQuality(82, side=30))).shape == (20, 30, 3)


def test_equal_files_are_embedded_once(file):
    copy = file.with_name('copy.png')
    copy.write_bytes(file.read_bytes())
    embedder = ImageEmbedder(ImageQuality())
    assert [embedder.add(file), embedder.add(copy)] == [0, 0]
    assert embedder.size == len(embedder.images[0])


def test_budget(file):
    size = len(encode_image(file.read_bytes(), ImageQuality()))
    assert ImageEmbedder(ImageQuality(), size).add(file) == 0
    with pytest.raises(BudgetExceededError):
        ImageEmbedder(ImageQuality(), size - 1).add(file)


def test_json_of_a_script():
    assert '</script>' not in to_script_json({'name': '</script>'})
