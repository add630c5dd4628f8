from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from plugins.pansharpening.scenes.manifest import read_manifest
from plugins.pansharpening.scenes.window import Window
from plugins.pansharpening.scenes.with_reference import ReferencedScene
from tests.support.manifests import write_manifest, write_scene
from tests.support.synthetic_rasters import write_geotiff
from toolkit.errors import DataError, ToolkitError


@pytest.fixture
def rows(tmp_path):
    """Two scenes whose files are there; not yet in a manifest."""
    return [write_scene(tmp_path, name, seed=seed) for seed, name in enumerate('ab')]


def test_rows(rows, tmp_path):
    more = {'bit_depth': 12, 'ratio': 4, 'bands': 4, 'weight': 2.5, 'split': 'train', 'note': 'x'}
    path = write_manifest(tmp_path / 's.csv', [{**rows[0], **more}, rows[1]])
    manifest = read_manifest(path)
    first, second = manifest.rows
    assert (first.name, first.ms, first.sensor) == ('a', (str(tmp_path / 'a_ms.tif'),), 'IKONOS')
    assert (first.bit_depth, first.ratio, first.bands, first.weight) == (12, 4, 4, 2.5)
    assert first.location == f'{path}:2'
    assert first.values['note'] == 'x'
    assert (second.bit_depth, second.split, second.weight) == (None, '', 1.0)
    assert manifest.rows_of_split('train') == (first,)
    scene = first.open()
    assert (scene.name, scene.bits, scene.bands, scene.ratio) == ('a', 12, 4, 4)


def test_the_hash_is_of_what_rows_say(rows, tmp_path):
    path = tmp_path / 's.csv'
    write_manifest(path, rows)
    before = read_manifest(path).digest
    text = path.read_text()
    saved = text.replace('\n', '\r\n').replace('IKONOS', '"IKONOS"').replace('a_pan', ' a_pan')
    path.write_bytes(saved.encode('utf-8-sig'))
    assert read_manifest(path).digest == before  # as a spreadsheet may save it
    path.write_text(text.replace('IKONOS', 'QB', 1))
    assert read_manifest(path).digest != before


def test_bands_in_files_of_their_own_and_references(rows, tmp_path):
    images = ReferencedScene(
        read_manifest(write_manifest(tmp_path / 'plain.csv', rows)).rows[0].open(),
        str(tmp_path / 'a_true.tif'),
    )
    numbers = np.round(images.read_ms() * 2047).astype(np.uint16)
    for band in range(4):
        write_geotiff(tmp_path / f'b{band}.tif', numbers[band : band + 1])
    row = {**rows[0], 'ms': '; '.join(f'b{i}.tif' for i in range(4)), 'reference': 'a_true.tif'}
    scene = read_manifest(write_manifest(tmp_path / 's.csv', [row])).rows[0].open()
    np.testing.assert_array_equal(scene.read_ms(), images.read_ms())
    assert scene.has_reference
    window = Window(8, 12, 20, 30)
    np.testing.assert_array_equal(
        scene.read_reference(window), images.reference[(slice(None), *window.slices)]
    )
    assert scene.fingerprint() != images.original.fingerprint()


def test_every_mistake_with_its_line(rows, tmp_path):
    """All at once, each with file, line and the nearest right name."""
    good = {**rows[0], 'bit_depth': '', 'weight': '', 'split': '', 'group': ''}
    bad = [
        {**good, 'sensor': 'IKONO'},
        {**good, 'pan': 'a_pna.tif'},
        {**good, 'ms': '../a_ms.tif'},
        {**good, 'bit_depth': 99, 'weight': -1},
        {**good, 'name': ''},
        {**good, 'pan': ''},
        good,
        {**good, 'name': 'c'},
        {**rows[1], 'name': 'a', 'group': 'g', 'split': 'train'},
    ]
    path = write_manifest(tmp_path / 's.csv', bad)
    with open(path, 'a') as file:
        file.write('a,b\n')
    with pytest.raises(ToolkitError) as caught:
        read_manifest(path)
    found = str(caught.value).splitlines()
    for line, expected in (
        (2, "sensor: no sensor is named 'IKONO'; did you mean 'IKONOS'?"),
        (3, f"pan: no file {tmp_path}/a_pna.tif; did you mean 'a_pan.tif'"),
        (4, 'ms: ../a_ms.tif leaves the folder of the manifest'),
        (5, 'bit_depth: bit_depth must be between 1 and 32, found 99'),
        (5, "weight: expected a number of 0 or more, found '-1'"),
        (6, 'name is empty'),
        (7, 'pan is empty; only a .mat or .npz holds both'),
        (9, f'the MS {tmp_path}/a_ms.tif is that of line 8 too; each scene has one row'),
        (10, "the name 'a' is that of line 8 too"),
        (11, 'found 2 values, expected 8, one for each column'),
    ):
        assert any(text.startswith(f'{path}:{line}: {expected}') for text in found), expected
    assert len(found) == 10


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('', 's.csv is empty; expected the columns name, ms, sensor'),
        ('name,ms,sensr\n', "s.csv:1: no column is named 'sensr'; did you mean 'sensor'?"),
        ('name,ms\n', 's.csv:1: no column sensor; found name, ms'),
        ('name;ms;sensor\n', 'found no scene, expected one row for each'),
        ('name,ms,sensor,ms\n', "s.csv:1: the column 'ms' is there twice"),
        ('name,ms,sensor\n', 's.csv:1: found no scene'),
        ('name,ms,sensor\n"a', 's.csv:2: no CSV'),
    ],
)
def test_files_that_are_no_manifest(tmp_path, text, message):
    path = tmp_path / 's.csv'
    path.write_text(text)
    with pytest.raises(ToolkitError, match=message):
        read_manifest(path)


def test_other_files_that_are_no_manifest(tmp_path):
    path = tmp_path / 's.csv'
    path.write_bytes(b'name,ms,sensor\n\xff\xfe')
    with pytest.raises(ToolkitError, match='no text in UTF-8'):
        read_manifest(path)
    with pytest.raises(ToolkitError, match='no file other.csv'):
        read_manifest('other.csv')


def test_paths_outside_are_allowed_where_that_is_said(rows, tmp_path):
    folder = tmp_path / 'lists'
    folder.mkdir()
    outside = [{**row, 'ms': f'../{row["ms"]}', 'pan': tmp_path / row['pan']} for row in rows]
    path = write_manifest(folder / 's.csv', outside)
    with pytest.raises(ToolkitError, match='leaves the folder'):
        read_manifest(path)
    assert read_manifest(path, outside=True).rows[1].open().read_ms().shape == (4, 32, 32)
    name = '<SourceFilename relativeToVRT="1">../a_pan.tif</SourceFilename>'
    band = f'<VRTRasterBand dataType="UInt16" band="1"><SimpleSource>{name}</SimpleSource>'
    (folder / 'p.vrt').write_text(
        f'<VRTDataset rasterXSize="128" rasterYSize="128">{band}</VRTRasterBand></VRTDataset>'
    )
    path = write_manifest(folder / 'v.csv', [{**rows[0], 'ms': '../a_ms.tif', 'pan': 'p.vrt'}])
    row = read_manifest(path, outside=True).rows[0]
    assert row.open().read_pan().shape == (1, 128, 128)
    with pytest.raises(ToolkitError, match='v.csv:2: .*p.vrt names .*outside'):
        _ = replace(row, outside=False).open().read_pan()


def test_a_scene_or_a_group_in_two_splits(rows, tmp_path):
    both = [{**rows[0], 'split': 'train', 'group': 'Rome'}]
    both.append({**rows[1], 'split': 'test', 'group': 'Rome'})
    with pytest.raises(ToolkitError, match="s.csv:3: the group 'Rome' is in the split 'test' here"):
        read_manifest(write_manifest(tmp_path / 's.csv', both))
    link = tmp_path / 'link.tif'
    link.symlink_to(tmp_path / 'a_ms.tif')
    again = [{**rows[0], 'split': 'train'}, {**rows[0], 'name': 'c', 'ms': 'link.tif'}]
    with pytest.raises(ToolkitError, match='s.csv:3: the MS .*link.tif is that of line 2 too'):
        read_manifest(write_manifest(tmp_path / 's.csv', again))


def test_no_such_split(rows, tmp_path):
    manifest = read_manifest(write_manifest(tmp_path / 's.csv', rows))
    with pytest.raises(ToolkitError, match='has no column split.*toolkit split'):
        manifest.rows_of_split('train')
    told = [{**row, 'split': 'training'} for row in rows]
    manifest = read_manifest(write_manifest(tmp_path / 's.csv', told))
    with pytest.raises(ToolkitError, match="in the split 'trainin'; did you mean 'training'?"):
        manifest.rows_of_split('trainin')


def test_scenes_that_are_not_as_stated(rows, tmp_path):
    for column, value, message in (
        ('bands', 8, 's.csv:2: a has bands 4, the manifest states 8'),
        ('ratio', 2, 's.csv:2: .*but ratio is 2'),
        ('reference', 'a_ms.tif', 'a_ms.tif: found 32 x 32 pixels, expected .* 128 x 128'),
        ('reference', 'a_pan.tif', 'a_pan.tif: .*expected 4 bands as in the MS of a'),
    ):
        path = write_manifest(tmp_path / 's.csv', [{**rows[0], column: value}])
        with pytest.raises(DataError if column != 'bands' else ToolkitError, match=message):
            read_manifest(path).rows[0].open().reference  # noqa: B018
