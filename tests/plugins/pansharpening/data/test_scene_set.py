"""Data of many scenes: patches drawn over them, and a sample for each."""

from __future__ import annotations

import collections
import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from plugins.pansharpening.data import scene_set
from plugins.pansharpening.data.geometric_transforms import Flip
from plugins.pansharpening.data.patches import ManifestPatches, ScenePatches
from plugins.pansharpening.data.radiometric_transforms import SensorNoise
from plugins.pansharpening.data.scene_set import ManifestScenes
from plugins.pansharpening.scenes.rasters.raster_handles import open_raster
from plugins.pansharpening.scenes.window import Window
from tests.plugins.pansharpening.data.test_whole_scenes import RampScene
from tests.support.manifests import write_manifest, write_scene
from tests.support.synthetic_rasters import write_geotiff
from toolkit.cli import main
from toolkit.config.schema import Dataloader
from toolkit.engine.dataloader import build_loader
from toolkit.errors import ToolkitError


@pytest.fixture
def rows(tmp_path):
    """Three scenes of 64, 128 and 192 PAN pixels a side, in two splits."""
    rows = [write_scene(tmp_path, f's{i}', 64 * (i + 1), seed=i) for i in range(3)]
    return [{**row, 'weight': i, 'split': 'train'} for i, row in enumerate(rows)]


@pytest.fixture
def manifest(rows, tmp_path):
    return write_manifest(tmp_path / 'm.csv', rows)


def drawn(data, count=600):
    torch.manual_seed(0)
    return collections.Counter(data._place()[0] for _ in range(count))


def test_scenes_are_drawn_by_area_equally_or_by_weight(manifest):
    # 16 MS pixels of 16 x 16, 32 x 32 and 48 x 48.
    for draw, shares in (
        ('area', [1 / 14, 4 / 14, 9 / 14]),
        ('equal', [1 / 3] * 3),
        ('weight', [0, 1 / 3, 2 / 3]),
    ):
        found = drawn(ManifestPatches(manifest, size=32, draw=draw))
        assert [found[i] / 600 for i in range(3)] == pytest.approx(shares, abs=0.06)
    assert found[0] == 0
    assert len(ManifestPatches(manifest, size=64)) == 1 + 4 + 9


def test_a_patch_is_that_of_its_scene(manifest, tmp_path):
    data = ManifestPatches(manifest, split='train', size=32, length=5)
    assert (len(data), data.bands, data.ratio) == (5, 4, 4)
    names = set()
    for seed in range(12):
        torch.manual_seed(seed)
        sample = data[seed % 5]
        row, col, *size = sample['meta']['window']
        number = int(sample['meta']['scene'][1])
        scene = data.scenes[number]
        np.testing.assert_array_equal(sample['pan'], scene.read_pan(Window(row, col, *size)))
        assert sample['meta']['item'] == f's{number}_{row}_{col}'
        names.add(sample['meta']['scene'])
        assert 'mask' not in sample
        assert 'hrms' not in sample
    assert len(names) > 1


def loaded(data, workers, context=None):
    config = Dataloader(lambda: data, batch_size=2, num_workers=workers)
    loader = build_loader(config, data, training=True, seed=5, device=torch.device('cpu'))
    if context is not None:
        loader = DataLoader(
            loader.dataset,
            batch_sampler=loader.batch_sampler,
            num_workers=workers,
            collate_fn=loader.collate_fn,
            multiprocessing_context=context,
        )
    return list(loader)


@pytest.mark.parametrize(('workers', 'context'), [(2, None), (1, 'spawn')])
def test_any_number_of_workers_gives_the_same(manifest, workers, context):
    augment = {'flip': Flip, 'noise': SensorNoise}
    data = ManifestPatches(manifest, size=16, length=6, transforms=augment, protocol='reduced')
    alone, shared = loaded(data, 0), loaded(data, workers, context)
    assert len(alone) == 3
    for a, b in zip(alone, shared, strict=True):
        assert a['meta'] == b['meta']
        for key in ('lrms', 'lrms_context', 'pan', 'hrms'):
            assert torch.equal(a[key], b[key])


def test_few_scenes_are_open(manifest, monkeypatch):
    monkeypatch.setattr(scene_set, 'KEPT', 2)
    data = ManifestPatches(manifest, size=32)
    for seed in range(20):
        torch.manual_seed(seed)
        assert data[0]['pan'].shape == (1, 32, 32)
        assert len(data.scenes._open) <= 2
    assert len(pickle.loads(pickle.dumps(data)).scenes._open) == 0
    fingerprint = data.fingerprint()
    data.release()
    assert len(data.scenes._open) == 0
    assert data.fingerprint() == fingerprint
    scenes = list(data.scenes)
    assert [scene.name for scene in scenes[-2:]] == ['s1', 's2']
    assert [scene.name for scene in data.scenes[:2]] == ['s0', 's1']


# -- nodata --------------------------------------------------------------------------------------


def half_empty(folder, name, size=128):
    """A scene whose left half, and whose right border of 16 PAN pixels, holds no data."""
    row = write_scene(folder, name, size)
    for kind, width in (('ms', size // 4), ('pan', size)):
        with open_raster(folder / f'{name}_{kind}.tif') as raster:
            image = raster.read()
        image = np.maximum(image, 1)
        image[:, :, : width // 2] = 0
        image[:, :, width - 16 * width // size :] = 0
        write_geotiff(folder / f'{name}_{kind}.tif', image, nodata=0)
    return row


def test_patches_without_enough_data_are_not_drawn(tmp_path):
    path = write_manifest(
        tmp_path / 'm.csv', [half_empty(tmp_path, 'half'), write_scene(tmp_path, 'full', 128)]
    )
    data = ManifestPatches(path, size=32)
    for seed in range(40):
        torch.manual_seed(seed)
        meta = data[0]['meta']
        if meta['scene'] == 'half':
            assert 64 <= meta['window'][1] <= 80
    # Half's places count as much as what of it holds data: 5 of 25 columns.
    found = drawn(data, 900)
    assert found[0] / found[1] == pytest.approx(5 / 25, abs=0.06)
    some = ManifestPatches(path, size=32, min_valid=0.5)
    shares = []
    for seed in range(60):
        torch.manual_seed(seed)
        sample = some[0]
        assert sample['mask'].dtype == torch.bool
        _, col, _, width = sample['meta']['window']
        if sample['meta']['scene'] == 'half':  # with data in columns 64 to 111, filled elsewhere
            cols = torch.arange(col, col + width)
            expected = ((cols >= 64) & (cols < 112)).expand_as(sample['mask'])
            assert torch.equal(sample['mask'], expected)
            assert (sample['pan'] > 0).all()
        shares.append(float(sample['mask'].float().mean()))
    assert min(shares) >= 0.5
    assert any(0.5 <= share < 1 for share in shares)


def test_a_scene_without_a_single_patch(tmp_path):
    path = write_manifest(tmp_path / 'm.csv', [half_empty(tmp_path, 'half')])
    with pytest.raises(ValueError, match='half: found no patch of 64 x 64 PAN .* in 100%'):
        ManifestPatches(path, size=64)
    assert len(ManifestPatches(path, size=64, min_valid=0.3)) == 4


def test_the_known_patch_stands_in_where_chance_finds_none(monkeypatch):
    class Speck(RampScene):
        def read_mask(self, window=None):
            mask = np.zeros(self.pan_shape, bool)
            mask[160:176, 160:176] = True
            return mask[(window or Window(0, 0, *self.pan_shape)).slices]

    data = ScenePatches(Speck(400, 400), 16)
    monkeypatch.setattr('plugins.pansharpening.data.patches.TRIES', 2)
    torch.manual_seed(0)
    assert data[0]['meta']['window'] == (160, 160, 16, 16)


# -- what is refused -----------------------------------------------------------------------------


def test_scenes_that_do_not_go_together(rows, tmp_path):
    other = write_scene(tmp_path, 'eight', bands=8)
    cut = tmp_path / 's2_pan.tif'
    cut.write_bytes(cut.read_bytes()[:3000])
    wrong = {**rows[1], 'ratio': 2}
    path = write_manifest(tmp_path / 'm.csv', [{**rows[0], 'ratio': ''}, wrong, other, rows[2]])
    with pytest.raises(ToolkitError) as caught:
        ManifestPatches(path, size=32)
    found = str(caught.value).splitlines()
    assert len(found) == 3
    assert 'm.csv:3: ' in found[0]
    assert 'but ratio is 2' in found[0]
    assert 'm.csv:4: eight has 8 bands at ratio 4, but s0 has 4 at 4' in found[1]
    assert 'm.csv:5: ' in found[2]
    assert 's2_pan.tif' in found[2]


def test_references_in_all_scenes_or_none(rows, tmp_path):
    told = [{**row, 'reference': f'{row["name"]}_true.tif'} for row in rows]
    path = write_manifest(tmp_path / 'm.csv', told)
    data = ManifestPatches(path, size=32)
    torch.manual_seed(0)
    sample = data[0]
    number, window = int(sample['meta']['scene'][1]), Window(*sample['meta']['window'])
    np.testing.assert_array_equal(sample['hrms'], data.scenes[number].read_reference(window))
    told[1]['reference'] = ''
    with pytest.raises(ToolkitError, match=r'm.csv:3: s1 has no reference, but s0 has one'):
        ManifestPatches(write_manifest(tmp_path / 'm.csv', told), size=32)


def test_arguments(manifest, rows, tmp_path):
    for arguments, message in (
        ({'size': 30}, 'multiple of the ratio 4, found 30'),
        ({'size': 128}, 'do not fit into the 64 x 64 PAN pixels of s0'),
        ({'size': 32, 'draw': 'often'}, 'draw must be one of area, equal, weight'),
        ({'size': 32, 'min_valid': 2}, 'min_valid is a share from 0 to 1, found 2'),
        ({'size': 32, 'protocol': 'half'}, "'full' or 'reduced'"),
    ):
        with pytest.raises(ValueError, match=message):
            ManifestPatches(manifest, **arguments)
    nothing = write_manifest(tmp_path / 'n.csv', [{**row, 'weight': 0} for row in rows])
    with pytest.raises(ToolkitError, match='all scenes have the weight 0'):
        ManifestPatches(nothing, size=32, draw='weight')


def test_the_fingerprint_tells_what_was_used(manifest, rows, tmp_path):
    before = ManifestScenes(manifest).fingerprint()
    assert before == ManifestPatches(manifest, size=32).fingerprint()
    write_manifest(tmp_path / 'm.csv', [{**row, 'weight': 7} for row in rows])
    assert ManifestScenes(manifest).fingerprint() != before
    write_manifest(tmp_path / 'm.csv', rows)
    assert ManifestScenes(manifest).fingerprint() == before
    write_scene(tmp_path, 's1', 128, seed=9)
    assert ManifestScenes(manifest).fingerprint() != before


# -- whole scenes --------------------------------------------------------------------------------


def test_whole_scenes(manifest):
    data = ManifestScenes(manifest, protocol='reduced')
    assert (len(data), data.bands, data.ratio) == (3, 4, 4)
    samples = [data[i] for i in range(3)]
    assert [sample['meta']['item'] for sample in samples] == ['s0', 's1', 's2']
    assert [tuple(sample['hrms'].shape) for sample in samples] == [
        (4, 16, 16),
        (4, 32, 32),
        (4, 48, 48),
    ]
    with pytest.raises(IndexError):
        data[3]
    with pytest.raises(ValueError, match='crop must be a multiple .* 64 x 64 .* found 128'):
        ManifestScenes(manifest, crop=128)


def test_a_run_over_a_split(tmp_path, capsys):
    """Train on one split and test on another; a row for each scene, and their mean."""
    rows = [write_scene(tmp_path, f's{i}', 256, seed=i) for i in range(5)]
    write_manifest(tmp_path / 'm.csv', rows)
    assert main(['split', str(tmp_path / 'm.csv'), '--fractions', 'train=.6,test=.4']) == 0
    config = tmp_path / 'c.yaml'
    config.write_text(
        '_base_: ldpnet/ldpnet_2022_synthetic\n'
        'train_dataloader:\n'
        '  batch_size: 2\n'
        '  dataset: {_delete_: true, type: ManifestPatches, manifest: m.csv, split: train,\n'
        '            splits: m.splits.json, size: 64, length: 4,\n'
        '            transforms: {flip: {type: Flip}}}\n'
        'train_cfg: {max_epochs: 1}\n'
        'test_dataloader:\n'
        '  dataset: {_delete_: true, type: ManifestScenes, manifest: m.csv, split: test,\n'
        '            splits: m.splits.json, protocol: reduced}\n'
        'val_dataloader: null\n'
        'val_evaluator: null\n'
    )
    text = config.read_text().replace('m.', f'{tmp_path}/m.')
    config.write_text(text)
    run = tmp_path / 'run'
    assert main(['train', str(config), '--work-dir', str(run)]) == 0
    assert main(['test', '--run', str(run)]) == 0
    record = json.loads((run / 'metrics.json').read_text())
    splits = json.loads((tmp_path / 'm.splits.json').read_text())['folds'][0]
    assert [row['item'] for row in record['rows']['SAM']] == splits['test']
    mean = sum(row['SAM'] for row in record['rows']['SAM']) / 2
    assert record['metrics']['SAM'] == pytest.approx(mean)
    data = json.loads((run / 'capsule.json').read_text())['data']
    patches = ManifestPatches(
        str(tmp_path / 'm.csv'), 'train', str(tmp_path / 'm.splits.json'), size=64
    )
    assert data['train'] == patches.fingerprint()
    # Once the manifest has changed, the run says so before it does anything.
    with Path(tmp_path / 'm.csv').open('a') as file:
        file.write('s9,s0_true.tif,s0_pan.tif,IKONOS\n')
    capsys.readouterr()
    assert main(['test', '--run', str(run), '--work-dir', str(tmp_path / 'other')]) == 2
    said = capsys.readouterr().err
    assert 'was made of other scenes or values' in said
    assert 'new: s9' in said
    assert said.count('\n') == 1
    assert not (tmp_path / 'other').exists()
