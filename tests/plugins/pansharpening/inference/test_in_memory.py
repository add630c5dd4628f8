"""Pansharpening in memory: the values of the files, and refusals."""

from __future__ import annotations

import argparse
from types import SimpleNamespace

import numpy as np
import pytest
import rasterio
import scipy.io
import torch
from rasterio.transform import from_origin
from torch import nn

from plugins.fusion_cnns.modulated import Modulated
from plugins.pansharpening.component_sensors import list_assumptions
from plugins.pansharpening.data.registered_scene import RegisteredScene
from plugins.pansharpening.inference.in_memory import sharpen_scene
from plugins.pansharpening.inference.predictor import ScenePredictor
from plugins.pansharpening.inference.scene_inputs import find_scene
from plugins.pansharpening.inference.scene_prediction import predict_scene
from plugins.pansharpening.interfaces import GENERATORS
from plugins.pansharpening.notebook import MemoryScene, sharpen, stream
from plugins.pansharpening.scenes.open_scene import open_scene
from plugins.pansharpening.scenes.sensors import get_sensor
from plugins.pansharpening.system import Pansharpener
from plugins.pansharpening.untrained_method import sharpener
from toolkit.errors import DataError, ToolkitError
from toolkit.interfaces import PredictOptions

RNG = np.random.default_rng(0)
MS = RNG.integers(1, 2000, (4, 24, 16)).astype(np.uint16)
PAN = RNG.integers(1, 2000, (96, 64)).astype(np.uint16)


@pytest.fixture(scope='module')
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp('files')
    np.save(folder / 'ms.npy', MS)
    np.save(folder / 'pan.npy', PAN)
    scene = open_scene([str(folder / 'ms.npy')], str(folder / 'pan.npy'), 'IKONOS')
    for method in ('EXP', 'GSA', 'PNN'):
        path = folder / f'{method}.tif'
        predict_scene(sharpener(method, scene), scene, path, progress=False, picture=False)
    return folder


def predict(system, *inputs, dataset=None, **arguments):
    options = PredictOptions(argparse.Namespace(), dataset=dataset)
    return ScenePredictor().predict_in_memory(system, options, *inputs, **arguments)


@pytest.mark.parametrize('method', ['EXP', 'GSA', 'PNN'])
def test_values_are_those_of_the_file(files, method):
    with rasterio.open(files / f'{method}.tif') as raster:
        expected = raster.read()
    found = sharpen(MS, PAN, 'IKONOS', method)
    assert found.dtype == np.uint16
    np.testing.assert_array_equal(found, expected)
    tensors = sharpen(torch.from_numpy(MS), torch.from_numpy(PAN)[None], 'IKONOS', method)
    np.testing.assert_array_equal(tensors.numpy(), expected)
    paths = sharpen(files / 'ms.npy', files / 'pan.npy', 'IKONOS', method, tile=32)
    np.testing.assert_array_equal(paths, expected)


def test_reflectances_are_taken_as_those_of_files_are(tmp_path):
    ms, pan = (image / np.float32(4094) for image in (MS, PAN))
    np.save(tmp_path / 'ms.npy', ms)
    np.save(tmp_path / 'pan.npy', pan)
    expected = sharpen(tmp_path / 'ms.npy', tmp_path / 'pan.npy', 'IKONOS', 'PNN')
    np.testing.assert_array_equal(sharpen(ms, pan, 'IKONOS', 'PNN'), expected)


def test_the_type_is_that_of_the_ms():
    reflectance = sharpen(MS / np.float32(2047), PAN / np.float32(2047), 'IKONOS', bit_depth=1)
    assert reflectance.dtype == np.float32
    numbers = sharpen(MS, PAN, 'IKONOS', dtype='float32')
    np.testing.assert_allclose(reflectance * 2047, numbers, rtol=1e-4, atol=0.05)
    half = sharpen(torch.from_numpy(MS).to(torch.bfloat16), torch.from_numpy(PAN), 'IKONOS')
    assert half.dtype == torch.float32


def test_the_sensor_is_that_of_the_test_data():
    system = sharpener('PNN', SimpleNamespace(sensor=get_sensor('IKONOS'), bands=4, ratio=4))
    data = SimpleNamespace(scene=SimpleNamespace(sensor=get_sensor('IKONOS'), bits=11))
    found = predict(system, MS, PAN, dataset=lambda: data)
    np.testing.assert_array_equal(found, sharpen(MS, PAN, 'IKONOS', 'PNN'))
    with pytest.raises(ToolkitError, match='sensor of the inputs is not known'):
        predict(system, MS, PAN)


def test_the_bit_depth_is_that_of_the_test_data():
    system = sharpener('PNN', SimpleNamespace(sensor=get_sensor('IKONOS'), bands=4, ratio=4))
    data = SimpleNamespace(scene=SimpleNamespace(sensor=get_sensor('IKONOS'), bits=16))
    found = predict(system, MS, PAN, dataset=lambda: data)
    np.testing.assert_array_equal(found, sharpen(MS, PAN, 'IKONOS', 'PNN', bit_depth=16))
    named = predict(system, MS, PAN, dataset=lambda: data, sensor='IKONOS')
    np.testing.assert_array_equal(named, sharpen(MS, PAN, 'IKONOS', 'PNN'))


def test_a_file_that_states_its_bit_depth_has_that(tmp_path):
    images = {'I_MS': MS.transpose(1, 2, 0), 'I_PAN': PAN}
    data = SimpleNamespace(scene=SimpleNamespace(sensor=get_sensor('IKONOS'), bits=16))
    options = argparse.Namespace(sensor=None, bit_depth=None)
    for stated, bits in (({'L': 12}, 12), ({}, 16)):
        path = str(tmp_path / f'{bits}.mat')
        scipy.io.savemat(path, {**images, **stated})
        scene = find_scene([path], options, lambda: data)
        assert scene.bits == bits
        assert RegisteredScene(scene).states_bits == bool(stated)


@pytest.mark.parametrize('upsample', ['bicubic', 'interp23tap'])
def test_samples_of_rasters_lie_where_the_upsampling_takes_them_to_be(tmp_path, upsample):
    paths = [tmp_path / 'ms.tif', tmp_path / 'pan.tif']
    for path, image, step in zip(paths, (MS, PAN[None]), (4, 1)):
        bands, height, width = image.shape
        place = {'crs': 'EPSG:32631', 'transform': from_origin(5e5, 5e6, step, step)}
        size = {'count': bands, 'height': height, 'width': width}
        with rasterio.open(path, 'w', 'GTiff', dtype='uint16', **size, **place) as raster:
            raster.write(image)
    samples = 'centre' if upsample == 'bicubic' else 'interp23tap'
    scene = open_scene([str(paths[0])], str(paths[1]), 'IKONOS', samples=samples)
    system = sharpener('PNN', scene, upsample)
    expected = sharpen_scene(system, scene)
    np.testing.assert_array_equal(sharpen(*paths, 'IKONOS', 'PNN', upsample=upsample), expected)
    np.testing.assert_array_equal(predict(system, *paths, sensor='IKONOS'), expected)


def test_a_method_is_built_for_the_images_and_not_for_a_config():
    method = sharpener('GSA', SimpleNamespace(sensor=get_sensor('IKONOS'), bands=4, ratio=4))
    with pytest.raises(ToolkitError, match='without weights.*sharpen'):
        predict(method, MS, PAN, sensor='QB')
    gains = [sharpen(MS, PAN, sensor, 'MTF-GLP').mean() for sensor in ('IKONOS', 'QB')]
    assert gains[0] != gains[1]


def test_assumed_gains_are_said_where_a_method_uses_them(recwarn):
    scene = MemoryScene(MS, PAN, 'generic')
    others = [GENERATORS.get(name)(4, 4) for name in ('MTF-GLP-HPM', 'BDSD', 'SR-D')]
    others += [Modulated(4, 4, low_pass='mtf'), nn.Sequential(Modulated(4, 4, low_pass='mtf'))]
    network = Pansharpener(4, 4, lambda **injected: Modulated(**injected, low_pass='mtf'))
    for sensor, method in (('IKONOS', 'MTF-GLP'), ('generic', 'GSA'), ('generic', 'TV')):
        sharpen(MS, PAN, sensor, method)
    stream(Modulated(4, 4, sensor='generic'), scene)  # by bicubic filters, not by gains
    assert not [w for w in recwarn if 'assumed' in str(w.message)]
    said = '0.3 for the MS and 0.15 for the PAN are assumed'
    with pytest.warns(UserWarning, match=said):
        sharpen(MS, PAN, 'generic', 'MTF-GLP')
    with pytest.warns(UserWarning, match=said):
        predict(network, MS, PAN, sensor='IKONOS')
    for sensor, count in (('generic', 1), ('IKONOS', 0)):
        assert len(list_assumptions(Modulated(4, 4, low_pass='mtf', sensor=sensor))) == count
    assert all(list_assumptions(method) for method in others)
    with pytest.warns(UserWarning, match=said):
        stream(others[-2], scene)


def test_the_random_numbers_of_the_caller_stay_as_they_are():
    torch.manual_seed(3)
    expected = torch.rand(3)
    torch.manual_seed(3)
    sharpen(MS, PAN, 'IKONOS', 'PNN')
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize(
    ('ms', 'pan', 'options', 'message'),
    [
        (MS.transpose(1, 2, 0), PAN, {}, r'bands are the last axis.*ms.transpose\(2, 0, 1\)'),
        (MS[0], PAN, {}, r'expected \(bands, height, width\)'),
        (MS, PAN[:90], {}, 'same integer multiple along both axes'),
        (MS[:3], PAN, {}, '3 bands, but IKONOS has 4'),
        (MS, 'pan.npy', {}, 'found an MS of type ndarray and a PAN of type str'),
        ([MS], PAN, {}, 'found an MS of type list'),
        (MS * np.float32(np.nan), PAN, {}, 'NaN or infinite'),
        (MS * np.uint16(40), PAN, {}, 'but 11 bits end at 2047; set bit_depth'),
        (MS, PAN, {'dtype': 'complex64'}, 'dtype is one of'),
        (MS, PAN, {'tile': 0}, 'tile must be at least 1'),
        (MS, PAN, {'upsample': 'cubic'}, "no upsampling is named 'cubic'"),
        (MS, PAN[:72, :48], {}, 'interp23tap doubles the size some times and cannot enlarge by 3'),
        (MS, PAN, {'device': 'cud'}, "no device 'cud' on this machine: expected cpu, or cuda"),
    ],
)
def test_refusals(ms, pan, options, message):
    with pytest.raises((ToolkitError, DataError), match=message):
        sharpen(ms, pan, 'IKONOS', **options)
    with pytest.raises(ToolkitError, match='no sensor is named'):
        sharpen(MS, PAN, 'IKONO')
