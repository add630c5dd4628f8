from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image

from plugins.pansharpening.data.whole_scenes import WholeScene
from plugins.pansharpening.scenes.arrays.matlab import MatScene
from plugins.pansharpening.scenes.sensors import get_sensor
from plugins.pansharpening.scenes.window import Window
from plugins.pansharpening.synthetic.scene import SyntheticScene
from plugins.pansharpening.visualization.contact_sheet import write_scene_images
from plugins.pansharpening.visualization.rendering import compute_stretch, render_image
from plugins.pansharpening.visualization.scene_images import make_reader
from plugins.pansharpening.visualization.scene_visualizer import write_item_images
from tests.plugins.pansharpening.visualization.test_scene_images import VastScene


def batch_of(sample):
    """A batch of one, and outputs that are the reference with some noise."""
    batch = {k: [v] if k == 'meta' else v[None] for k, v in sample.items()}
    up = torch.nn.functional.interpolate(batch['lrms'], scale_factor=4)
    generator = torch.Generator().manual_seed(0)
    return batch, {'hrms': up + 0.02 * torch.rand(up.shape, generator=generator), 'lrms_up': up}


def pixels(path):
    return np.asarray(Image.open(path).convert('RGB')).astype(int)


def test_pictures_of_a_scene(tmp_path):
    scene = SyntheticScene(8, 256)
    digital = np.round(scene.reference * 2047).astype(np.uint16)
    written = write_scene_images(scene, make_reader(digital), tmp_path / 'out.v1')
    names = ['out.v1.png', 'out.v1-errors.png', 'out.v1-histograms.png']
    assert [path.name for path in written] == names
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)
    sheet = pixels(written[0])
    assert sheet.shape[1] == 8 + 5 * 348
    columns = [sheet[30:360, 12 + 348 * i : 340 + 348 * i] for i in range(5)]
    assert np.median(np.ptp(columns[0], axis=2)) == 0  # PAN is grey
    assert np.median(np.ptp(columns[1], axis=2)) > 5
    # What was sharpened is the reference: both look alike, and nothing differs.
    assert np.abs(columns[2] - columns[3]).mean() < 1
    difference = sheet[384:690, 8 + 348 * 4 + 4 : 8 + 348 * 4 + 336]
    assert np.abs(difference - 128).max() <= 3
    again = write_scene_images(scene, make_reader(digital), tmp_path / 'again')
    for a, b in zip(written, again, strict=True):
        assert a.read_bytes() == b.read_bytes()


def test_details_that_are_given(tmp_path):
    scene = SyntheticScene(4, 128)
    digital = make_reader(np.round(scene.reference * 2047))
    place = Window(20, 40, 34, 34)
    (path, *_) = write_scene_images(scene, digital, tmp_path / 'd', details=[place])
    found = pixels(path)
    assert found.shape[0] == 26 + 340 + 8 + 348
    pan = found[374 + 5 : 374 + 335, 13:343, 0]
    shown = scene.read_pan(place)[0]
    small = pan[5::10, 5::10][:32, :32].ravel()
    assert np.corrcoef(small, shown[1:33, 1:33].ravel())[0, 1] > 0.9
    for details, message in (
        ([Window(100, 0, 34, 34)], 'squares inside the 128 x 128'),
        ([Window(0, 0, 34, 30)], 'squares inside'),
        ([place] * 4, 'found 4 details, expected up to 3'),
    ):
        with pytest.raises(ValueError, match=message):
            write_scene_images(scene, digital, tmp_path / 'e', details=details)
    assert not list(tmp_path.glob('e*'))


def test_layers(tmp_path):
    """The contract with viewers: names, one size, one stretch, a crop at full resolution."""
    sample = WholeScene(SyntheticScene(4, 1024), crop=832)[0]
    batch, outputs = batch_of(sample)
    write_item_images(outputs, batch, 0, tmp_path, 'a')
    record = json.loads((tmp_path / 'a.json').read_text())
    assert record['item'] == 'synthetic_4x1024_0'
    assert record['pixel'] == 'PAN'
    assert record['bands'] == [3, 2, 1]
    names = [layer['name'] for layer in record['layers']]
    assert names == ['PAN', 'upsampled MS', 'sharpened', 'reference', 'error']
    assert [layer['file'] for layer in record['layers']] == [
        f'a-{end}.png' for end in ('pan', 'upsampled-ms', 'sharpened', 'reference', 'error')
    ]
    layers = {layer['name']: pixels(tmp_path / layer['file']) for layer in record['layers']}
    assert {image.shape for image in layers.values()} == {(768, 768, 3)}
    window = Window(*record['window'])
    assert window[2:] == (768, 768)
    low, high = (np.array(record['stretch'][name])[:, None, None] for name in ('low', 'high'))
    for name, image in (('reference', batch['hrms']), ('sharpened', outputs['hrms'])):
        shown = image[0, [2, 1, 0]].numpy()[(slice(None), *window.slices)] * 2047
        expected = np.clip((shown - low) / (high - low), 0, 1).transpose(1, 2, 0) * 255
        assert np.abs(layers[name] - expected).max() <= 1
    crop = tuple(slice(None) for _ in range(2)), window.slices
    error = (outputs['hrms'] - batch['hrms'])[0].numpy()[(crop[0][0], *crop[1])]
    error = np.sqrt((error**2).mean(0)).ravel()
    bright = layers['error'].sum(-1).ravel()
    assert np.corrcoef(np.argsort(np.argsort(error)), np.argsort(np.argsort(bright)))[0, 1] > 0.95
    assert sorted(path.name for path in tmp_path.glob('a*.png')) == sorted(
        ['a.png', 'a-errors.png', 'a-histograms.png', *(x['file'] for x in record['layers'])]
    )


def test_without_a_reference_the_upsampled_ms_sets_the_stretch(tmp_path):
    sample = WholeScene(SyntheticScene(4, 128))[0]
    del sample['hrms']
    batch, outputs = batch_of(sample)
    write_item_images(outputs, batch, 0, tmp_path, 'a')
    record = json.loads((tmp_path / 'a.json').read_text())
    assert [layer['name'] for layer in record['layers']] == [
        'PAN',
        'upsampled MS',
        'sharpened',
        'error',
    ]
    assert record['stretch']['of'] == 'upsampled MS'
    assert record['error']['what'].startswith('difference to the upsampled MS')


@pytest.mark.parametrize(
    ('rows', 'cols', 'what'),
    [(1, 1, 'plain'), (1, 23, 'flat'), (6, 5, 'NaN'), (5, 6, 'no data'), (24, 9, 'some data')],
)
def test_pictures_of_whatever_comes(tmp_path, rows, cols, what):
    """One pixel, constant bands, values that are no numbers, no pixel with data."""
    generator = torch.Generator().manual_seed(0)
    lrms = torch.rand(1, 4, rows, cols, generator=generator)
    if what == 'flat':
        lrms = torch.full_like(lrms, 0.3)
    up = torch.nn.functional.interpolate(lrms, scale_factor=4)
    meta = [{'item': 'x', 'ratio': 4, 'scale': 2047, 'sensor': 'IKONOS'}]
    batch = {'lrms': lrms, 'pan': up.mean(1, keepdim=True), 'hrms': up, 'meta': meta}
    outputs = {'hrms': up * (float('nan') if what == 'NaN' else 1.1), 'lrms_up': up}
    if what in ('no data', 'some data'):
        batch['mask'] = torch.zeros(1, 1, 4 * rows, 4 * cols, dtype=torch.bool)
        batch['mask'][..., :2] = what == 'some data'
    write_item_images(outputs, batch, 0, tmp_path, 'a')
    record = json.loads((tmp_path / 'a.json').read_text())
    sizes = {Image.open(tmp_path / layer['file']).size for layer in record['layers']}
    assert sizes == {(4 * cols, 4 * rows)}


def test_a_vast_scene_is_never_read_whole(tmp_path):
    scene = VastScene()
    written = write_scene_images(scene, lambda window: scene.made(window, 4) * 2047, tmp_path / 'v')
    assert all(path.is_file() for path in written)
    # The MS in strips of 32 MB, and pieces of the others.
    assert scene.largest <= 10_000_000
    assert scene.total < 3 * 4 * (20_000 // 4) ** 2


def test_quicklook_stretches_in_common():
    image = np.linspace(0, 1, 3 * 64 * 64, dtype=np.float32).reshape(3, 64, 64)
    low, high = compute_stretch(np.concatenate([image, image + 1], 2))
    assert (low < high).all()
    dark, bright = (
        np.asarray(render_image(i, get_sensor('Landsat'), (low, high))) for i in (image, image + 1)
    )
    assert dark.mean() < 80
    assert bright.mean() > 175
    assert np.asarray(render_image(np.full((4, 8, 8), np.nan), get_sensor('QB'))).shape == (8, 8, 3)


def test_a_real_scene_shows_its_colours(data_root, tmp_path):
    """Not grey, not too dark, not too bright: bands are taken by the sensor, and stretched."""
    scene = MatScene('ikonos/imgIK.mat', 'IKONOS')
    up = torch.from_numpy(scene.read_ms()).repeat_interleave(4, 1).repeat_interleave(4, 2)
    write_scene_images(scene, make_reader(up.numpy() * 2047), tmp_path / 's')
    sheet = pixels(tmp_path / 's.png')[30:360, 360:690]
    assert 60 < sheet.mean() < 140
    assert np.ptp(sheet, axis=2).mean() > 10
