import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from plugins.classification.data.reading.image_io import (
    LUMA,
    read_image,
    read_image_size,
    to_channels,
)
from toolkit.errors import DataError, MissingDataError


@pytest.fixture(scope='module')
def grey():
    return np.random.default_rng(0).integers(0, 256, (9, 7), dtype=np.uint8)


@pytest.fixture(scope='module')
def colour():
    return np.random.default_rng(1).integers(0, 256, (9, 7, 3), dtype=np.uint8)


def saved(tmp_path, image, name='a.png', **options):
    path = tmp_path / name
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(path, **options)
    return path


def check(path, expected, tolerance=1e-6):
    found = read_image(path)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=tolerance)
    assert read_image_size(path) == found.shape[:2]


@pytest.mark.parametrize('name', ['a.png', 'a.bmp', 'a.tif'])
def test_grey_of_8_bits(tmp_path, grey, name):
    check(saved(tmp_path, grey, name), grey / 255)


@pytest.mark.parametrize('name', ['a.png', 'a.bmp', 'a.tif', 'a.webp'])
def test_colour(tmp_path, colour, name):
    options = {'lossless': True} if name.endswith('webp') else {}
    check(saved(tmp_path, colour, name, **options), colour / 255)


def test_jpeg_is_near(tmp_path):
    smooth = np.tile(np.linspace(0, 255, 32).astype(np.uint8), (16, 1))
    check(saved(tmp_path, smooth, 'a.jpg', quality=95), smooth / 255, 0.02)


@pytest.mark.parametrize('name', ['a.png', 'a.tif'])
def test_grey_of_16_bits_keeps_its_steps(tmp_path, name):
    values = np.array([[0, 1, 257], [40000, 40001, 65535]], dtype=np.uint16)
    check(saved(tmp_path, values, name), values / 65535, 1e-7)


def test_one_bit(tmp_path):
    bits = np.array([[True, False, True], [False, False, True]])
    check(saved(tmp_path, Image.fromarray(bits)), bits.astype(float))


def test_a_palette_is_its_colours(tmp_path):
    image = Image.new('P', (2, 1))
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.putdata([0, 1])
    check(saved(tmp_path, image), np.array([[[10, 20, 30], [200, 100, 50]]]) / 255)


def test_a_palettes_transparent_entry_is_black(tmp_path):
    image = Image.new('P', (2, 1))
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.putdata([0, 1])
    path = saved(tmp_path, image, transparency=0)
    check(path, np.array([[[0, 0, 0], [200, 100, 50]]]) / 255)


def test_what_is_transparent_is_black(tmp_path):
    values = np.array([[[255, 0, 0, 255], [255, 255, 255, 0], [0, 100, 0, 51]]], dtype=np.uint8)
    check(
        saved(tmp_path, Image.fromarray(values)),
        np.array([[[1, 0, 0], [0, 0, 0], [0, 100 / 255 * 0.2, 0]]]),
    )


def test_cmyk_is_rgb(tmp_path):
    image = Image.new('CMYK', (16, 16), (0, 255, 255, 0))
    check(saved(tmp_path, image, 'a.tif'), np.tile([1.0, 0, 0], (16, 16, 1)))


@pytest.mark.parametrize(('orientation', 'turn'), [(1, 0), (3, 2), (6, 3), (8, 1)])
def test_exif_orientation_is_followed(tmp_path, grey, orientation, turn):
    exif = Image.Exif()
    exif[0x0112] = orientation
    check(saved(tmp_path, grey, exif=exif), np.rot90(grey, turn) / 255)


def test_a_white_is_zero_tiff_is_turned_over(tmp_path):
    path = tmp_path / 'a.tif'
    values = np.array([[0, 65535, 30000]], dtype=np.uint16)
    tags = [(256, 3), (257, 1), (258, 16), (259, 1), (262, 0), (277, 1), (278, 1), (279, 6)]
    tags = sorted([*tags, (273, 8 + 2 + 9 * 12 + 4)])
    entries = b''.join(struct.pack('<HHII', tag, 3, 1, value) for tag, value in tags)
    path.write_bytes(
        b'II*\0' + struct.pack('<IH', 8, len(tags)) + entries + b'\0\0\0\0' + values.tobytes()
    )
    check(path, 1 - values / 65535)


def test_frames_of_a_tiff(tmp_path, grey):
    other = Image.fromarray(255 - grey)
    path = saved(tmp_path, grey, 'a.tif', save_all=True, append_images=[other])
    np.testing.assert_allclose(read_image(path, 1), 1 - grey / 255, atol=1e-6)
    with pytest.raises(DataError, match='a.tif has no frame 2; it has 2'):
        read_image(path, 2)


@pytest.mark.parametrize(
    ('array', 'expected'),
    [
        (np.array([[0, 255]], dtype=np.uint8), [[0, 1]]),
        (np.array([[0, 65535]], dtype=np.uint16), [[0, 1]]),
        (np.array([[0, 0.25]]), [[0, 0.25]]),
        (np.array([[True, False]]), [[1, 0]]),
        (np.array([[[0], [255]]], dtype=np.uint8), [[0, 1]]),
        (np.array([[[0, 255, 51]]], dtype=np.uint8), [[[0, 1, 0.2]]]),
    ],
)
def test_arrays(tmp_path, array, expected):
    np.save(tmp_path / 'a.npy', array)
    check(tmp_path / 'a.npy', np.array(expected))


@pytest.mark.parametrize(
    ('array', 'message'),
    [
        (np.array([[0, np.nan]]), 'found values from nan to nan'),
        (np.array([[0.0, 200]]), r'found values from 0 to 200; expected \[0, 1\]'),
        (np.array([[-5, 7]]), 'whose full scale is not known'),
        (np.zeros((3, 4, 5, 3)), 'found an array 3 x 4 x 5 x 3'),
        (np.zeros((0, 4)), 'found an array 0 x 4'),
        (np.array([['a']]), 'expected numbers'),
        (np.array([[{}]], dtype=object), 'cannot be read'),
    ],
)
def test_arrays_that_are_no_images(tmp_path, array, message):
    np.save(tmp_path / 'a.npy', array, allow_pickle=True)
    with pytest.raises(DataError, match=f'a.npy.*{message}'):
        read_image(tmp_path / 'a.npy')


@pytest.mark.parametrize('read', [read_image, read_image_size])
def test_missing_empty_and_foreign_files_are_named(tmp_path, read):
    with pytest.raises(MissingDataError, match='no file .*/a.png'):
        read(tmp_path / 'a.png')
    (tmp_path / 'a.png').touch()
    with pytest.raises(DataError, match=r'a.png is empty \(0 bytes\)'):
        read(tmp_path / 'a.png')
    (tmp_path / 'b.png').write_text('no image')
    with pytest.raises(DataError, match='b.png is no image that can be read'):
        read(tmp_path / 'b.png')


@pytest.mark.filterwarnings('ignore:Corrupt EXIF data')
@pytest.mark.parametrize('name', ['a.png', 'a.jpg', 'a.tif', 'a.bmp', 'a.webp', 'a.npy'])
@settings(max_examples=15, deadline=None)
@given(share=st.floats(0.0, 0.9))
def test_a_cut_file_is_named(tmp_path_factory, name, share):
    folder = tmp_path_factory.mktemp('cut')
    values = np.random.default_rng(2).integers(0, 256, (24, 24), dtype=np.uint8)
    if name.endswith('npy'):
        np.save(folder / name, values)
    else:
        saved(folder, values, name)
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[: int(share * len(content))])
    with pytest.raises(DataError, match=name):
        read_image(folder / name)


@pytest.mark.filterwarnings('ignore')
@pytest.mark.parametrize('name', ['a.png', 'a.tif', 'a.npy'])
@settings(max_examples=20, deadline=None)
@given(places=st.lists(st.tuples(st.floats(0, 0.99), st.integers(0, 255)), max_size=4))
def test_a_damaged_file_is_read_or_named(tmp_path_factory, name, places):
    path = tmp_path_factory.mktemp('damaged') / name
    values = np.random.default_rng(2).integers(0, 256, (4, 4), dtype=np.uint8)
    if name.endswith('npy'):
        np.save(path, values)
    else:
        saved(path.parent, values, name)
    content = bytearray(path.read_bytes())
    for place, value in places:
        content[int(place * len(content))] = value
    path.write_bytes(content)
    for read in (read_image, read_image_size):
        try:
            read(path)
        except DataError as error:
            assert str(path) in str(error)


def test_channels():
    image = np.random.default_rng(3).random((4, 5, 3), dtype=np.float32)
    assert to_channels(image, 3).shape == (3, 4, 5)
    np.testing.assert_allclose(to_channels(image, 1)[0], image @ LUMA)
    np.testing.assert_array_equal(to_channels(image[..., 0], 3)[2], image[..., 0])
    with pytest.raises(ValueError, match='channels must be 1 or 3, found 2'):
        to_channels(image, 2)
