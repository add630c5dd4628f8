"""Scenes in numpy files and MATLAB 7.3 files, and files of patches."""

from __future__ import annotations

import functools
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import torch

from plugins.pansharpening.data.geometric_transforms import Flip
from plugins.pansharpening.data.patch_file import PatchFile
from plugins.pansharpening.scenes.arrays.matlab import MatScene
from plugins.pansharpening.scenes.arrays.npy import ArrayScene
from plugins.pansharpening.scenes.open_scene import open_scene
from plugins.pansharpening.scenes.window import Window
from tests.support.synthetic_rasters import write_geotiff
from toolkit.errors import DataError, ToolkitError

h5py = pytest.importorskip('h5py')


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 2048, shape).astype(np.uint16)


def scale(values):
    return values.astype(np.float32) / np.float32(2047)


# -- numpy ---------------------------------------------------------------------------------------


@pytest.fixture
def pair(tmp_path):
    ms, pan = numbers(4, 12, 10), numbers(48, 40, seed=1)
    np.save(tmp_path / 'ms.npy', ms)
    np.save(tmp_path / 'pan.npy', pan)
    np.savez_compressed(tmp_path / 'both.npz', ms=ms, pan=pan)
    return tmp_path, ms, pan


def test_array_scenes(pair):
    folder, ms, pan = pair
    np.save(folder / 'last.npy', ms.transpose(1, 2, 0))
    np.save(folder / 'pan3.npy', pan[None])
    for scene in (
        ArrayScene(f'{folder}/ms.npy', f'{folder}/pan.npy', 'IKONOS'),
        ArrayScene(f'{folder}/both.npz', sensor='IKONOS'),
        ArrayScene(f'{folder}/last.npy', f'{folder}/pan3.npy', 'IKONOS', channels_last=True),
    ):
        assert (scene.bands, scene.ratio, scene.pan_shape) == (4, 4, (48, 40))
        for one in (scene, pickle.loads(pickle.dumps(scene))):
            np.testing.assert_array_equal(one.read_ms(), scale(ms))
            np.testing.assert_array_equal(one.read_pan(), scale(pan[None]))
        window = Window(3, 2, 5, 6)
        np.testing.assert_array_equal(scene.read_ms(window), scale(ms[:, 3:8, 2:8]))
        np.testing.assert_array_equal(scene.read_pan(window), scale(pan[None, 3:8, 2:8]))
        assert scene.georeference is scene.mask is None
    assert len(pickle.dumps(ArrayScene(f'{folder}/ms.npy', f'{folder}/pan.npy'))) < 2000


def test_array_refusals(pair):
    folder, ms, pan = pair
    both, first, second = f'{folder}/both.npz', f'{folder}/ms.npy', f'{folder}/pan.npy'
    for paths in ((first,), (both, second), ('x.tif', 'y.tif')):
        with pytest.raises(ValueError, match='expected one .npz, or two .npy files'):
            ArrayScene(*paths)
    with pytest.raises(DataError, match="no array 'mss'; did you mean 'ms'.*ms, pan"):
        ArrayScene(both, ms_key='mss')
    with pytest.raises(DataError, match=r'an MS of shape \(48, 40\)'):
        ArrayScene(second, second)
    np.save(first, ms[:, :11])
    with pytest.raises(DataError, match='found an MS of 11 x 10 and a PAN of 48 x 40'):
        ArrayScene(first, second)
    np.save(first, np.array([{}], dtype=object))
    with pytest.raises(DataError, match='ms.npy cannot be read as an .npy file'):
        ArrayScene(first, second)
    for name, other in (('both.npz', ()), ('pan.npy', (first,))):
        np.save(first, ms)
        whole = (folder / name).read_bytes()
        (folder / name).write_bytes(whole[: len(whole) // 2])
        with pytest.raises(DataError, match=f'{name} cannot be read'):
            ArrayScene(*other, str(folder / name))


# -- MATLAB 7.3 ----------------------------------------------------------------------------------


def write_mat73(path, **variables):
    with h5py.File(path, 'w', userblock_size=512) as file:
        for name, values in variables.items():
            file[name] = values.T  # MATLAB's order
    with path.open('r+b') as file:
        text = b'MATLAB 7.3 MAT-file, Platform: GLNXA64'
        file.write(text.ljust(124) + b'\x00\x02IM')
    return str(path)


def test_mat_73(tmp_path):
    ms, pan = numbers(12, 10, 4), numbers(48, 40, seed=1)
    path = write_mat73(tmp_path / 'new.mat', I_MS=ms, I_PAN=pan)
    scene = MatScene(path, 'IKONOS')
    np.testing.assert_array_equal(scene.read_ms(), scale(ms.transpose(2, 0, 1)))
    np.testing.assert_array_equal(scene.read_pan(), scale(pan[None]))
    with pytest.raises(DataError, match="no variable 'I_PA'; did you mean.*I_PAN"):
        _ = MatScene(path, 'IKONOS', pan_key='I_PA').bands


def test_without_h5py_it_is_said(tmp_path, monkeypatch):
    path = write_mat73(tmp_path / 'new.mat', I_MS=numbers(4, 4, 4), I_PAN=numbers(16, 16))
    monkeypatch.setitem(sys.modules, 'h5py', None)
    with pytest.raises(DataError, match=r"new.mat is an HDF5 file.*'ablakit\[h5\]'") as caught:
        MatScene(path, 'IKONOS').read_ms()
    assert '\n' not in str(caught.value)


# -- patches -------------------------------------------------------------------------------------


@pytest.fixture
def patches(tmp_path):
    def write(**more):
        arrays = {
            'ms': numbers(3, 4, 8, 8).astype(np.float64),
            'lms': numbers(3, 4, 32, 32),
            'pan': numbers(3, 1, 32, 32, seed=1).astype(np.float64),
            'gt': numbers(3, 4, 32, 32, seed=2).astype(np.float64),
            **more,
        }
        with h5py.File(tmp_path / 'test.h5', 'w') as file:
            for name, values in arrays.items():
                if values is not None:
                    file[name] = values
        return str(tmp_path / 'test.h5'), arrays

    return write


def test_patch_file(patches):
    path, arrays = patches()
    data = PatchFile(path, 'QB')
    assert (len(data), data.bands, data.ratio) == (3, 4, 4)
    sample = data[1]
    for name, key in (('lrms', 'ms'), ('pan', 'pan'), ('hrms', 'gt')):
        assert sample[name].dtype == torch.float32
        np.testing.assert_array_equal(sample[name].numpy(), scale(arrays[key][1]))
    assert sample['meta']['scale'] == 2047
    assert (sample['meta']['scene'], sample['meta']['protocol']) == ('test_1', 'reduced')
    torch.testing.assert_close(data[-2]['pan'], sample['pan'])
    with pytest.raises(IndexError):
        data[3]
    assert len(PatchFile(path, 'QB', limit=2)) == 2
    assert len(pickle.loads(pickle.dumps(data))) == 3
    before = data.fingerprint()
    path, _ = patches(gt=None)
    full = PatchFile(path, 'QB')
    assert 'hrms' not in full[0]
    assert full[0]['meta']['protocol'] == 'full'
    assert full.fingerprint() != before


def test_patches_of_a_file_are_augmented(patches):
    path, _ = patches()
    plain = PatchFile(path, 'QB')[1]
    mirror = functools.partial(Flip, 1.0, 0.0, 'centre')
    turned = PatchFile(path, 'QB', transforms={'flip': mirror})[1]
    for key in ('lrms', 'pan', 'hrms'):
        assert torch.equal(turned[key], plain[key].flip(-1))
    assert turned.keys() == plain.keys()
    with pytest.raises(
        ValueError, match='need 1 PAN pixels around a patch, which a file of patche'
    ):
        PatchFile(path, 'QB', transforms={'flip': Flip})


def test_patch_file_refusals(patches, tmp_path):
    for more, message in (
        ({'pan': None}, 'no array pan; there are: gt, lms, ms'),
        ({'pan': numbers(3, 1, 30, 32)}, 'MS of 8 x 8 and a PAN of 30 x 32'),
        ({'pan': numbers(2, 1, 32, 32)}, r'expected \(patches, bands'),
        ({'gt': numbers(3, 4, 8, 8)}, 'found gt of shape'),
        ({'ms': numbers(3, 8, 8, 8)}, 'found 8 bands, but QuickBird has 4'),
    ):
        with pytest.raises(DataError, match=message):
            PatchFile(patches(**more)[0], 'QB')
    with pytest.raises(DataError, match='pan 0: .*4000, but 11 bits'):
        PatchFile(patches(pan=numbers(3, 1, 32, 32) * 0 + 4000)[0], 'QB')[0]
    with pytest.raises(ValueError, match='limit must be at least 1'):
        PatchFile(patches()[0], 'QB', limit=0)
    (tmp_path / 'test.h5').write_text('no hdf5')
    with pytest.raises(DataError, match='test.h5 cannot be read'):
        PatchFile(str(tmp_path / 'test.h5'), 'QB')


# -- full scale, bands, what a .mat states -------------------------------------------------------


@pytest.mark.parametrize('kind', ['npz', 'npy', 'mat', 'tif'])
def test_reflectances_have_a_full_scale_of_1_in_every_format(tmp_path, kind):
    ms = numbers(4, 8, 8).astype(np.float32) / 2047
    pan = numbers(32, 32, seed=1).astype(np.float32) / 2047
    path = str(tmp_path / f'ms.{kind}')
    if kind == 'npz':
        np.savez(path, ms=ms, pan=pan)
    elif kind == 'npy':
        np.save(path, ms), np.save(tmp_path / 'pan.npy', pan)
    elif kind == 'mat':
        scipy.io.savemat(path, {'I_MS': ms.transpose(1, 2, 0), 'I_PAN': pan})
    else:
        write_geotiff(Path(path), ms), write_geotiff(tmp_path / 'pan.tif', pan[None])
    other = None if kind in ('npz', 'mat') else str(tmp_path / f'pan.{kind}')
    scene = open_scene([path], other, 'IKONOS')
    assert (scene.bits, scene.scale, scene.holds_fractions) == (1, 1, True)
    np.testing.assert_array_equal(scene.read_ms(), ms)
    np.testing.assert_array_equal(scene.read_pan()[0], pan)
    assert 'full scale' in scene.describe_fractions()
    assert open_scene([path], other, 'IKONOS', bit_depth=11).scale == 2047


def test_floats_that_are_whole_numbers_have_the_bit_depth_of_the_sensor(tmp_path):
    path = str(tmp_path / 'a.npz')
    np.savez(path, ms=np.ones((4, 4, 4)), pan=np.ones((16, 16)))
    assert ArrayScene(path, sensor='IKONOS').bits == 11


def test_bands_are_chosen_and_ordered_in_arrays(tmp_path):
    ms, pan = numbers(5, 8, 8), numbers(32, 32, seed=1)
    np.savez(tmp_path / 'a.npz', ms=ms, pan=pan)
    scipy.io.savemat(tmp_path / 'a.mat', {'I_MS': ms.transpose(1, 2, 0), 'I_PAN': pan})
    for name in ('a.npz', 'a.mat'):
        scene = open_scene([str(tmp_path / name)], None, 'IKONOS', bands=[3, 2, 1, 5])
        assert scene.bands == 4
        np.testing.assert_array_equal(scene.read_ms(), scale(ms[[2, 1, 0, 4]]))
        with pytest.raises(DataError, match='found 5 bands, but band 6'):
            open_scene([str(tmp_path / name)], None, 'IKONOS', bands=[6]).read_ms()
        with pytest.raises(ToolkitError, match='--outside: not for'):
            open_scene([str(tmp_path / name)], None, 'IKONOS', outside=True)
        with pytest.raises(DataError, match='of ratio 4, but ratio is 2'):
            _ = open_scene([str(tmp_path / name)], None, 'generic', ratio=2).bands


def test_a_mat_states_its_ratio_bit_depth_and_sensor(tmp_path):
    path = str(tmp_path / 'a.mat')
    images = {'I_MS': numbers(8, 8, 4), 'I_PAN': numbers(32, 32, seed=1)}
    scipy.io.savemat(path, {**images, 'ratio': 4.0, 'L': 12, 'sensor': 'GE1'})
    scene = open_scene([path], None, None)
    assert (scene.ratio, scene.bits, scene.sensor.name) == (4, 12, 'GE1')
    assert open_scene([path], None, 'QB', bit_depth=11).bits == 11
    scipy.io.savemat(path, {**images, 'ratio': 2})
    with pytest.raises(DataError, match='of ratio 4, but its variable ratio is 2'):
        _ = open_scene([path], None, None).bands
    scipy.io.savemat(path, {**images, 'L': 11.5})
    with pytest.raises(DataError, match='the variable L of .*expected a whole number'):
        _ = open_scene([path], None, None).bits


def test_a_layout_with_the_bands_last_is_advised(tmp_path):
    path = str(tmp_path / 'a.npz')
    np.savez(path, ms=numbers(8, 8, 4), pan=numbers(32, 32, seed=1))
    with pytest.raises(DataError, match=r'set channels_last \(--channels-last\)'):
        ArrayScene(path)
    assert open_scene([path], None, 'IKONOS', channels_last=True).bands == 4


def test_values_in_other_files_are_refused(tmp_path):
    pair = {'I_MS': numbers(12, 10, 4), 'I_PAN': numbers(48, 40, seed=1)}
    other = write_mat73(tmp_path / 'other.mat', **pair)

    def refused(add):
        path = write_mat73(tmp_path / 'a.mat', I_PAN=pair['I_PAN'])
        with h5py.File(path, 'r+') as file:
            add(file)
        with pytest.raises(DataError, match='a.mat: the values of I_MS are in another file'):
            _ = MatScene(path, 'IKONOS').bands

    def add_virtual(file):
        layout = h5py.VirtualLayout((4, 10, 12), 'uint16')
        layout[...] = h5py.VirtualSource(other, 'I_MS', (4, 10, 12))
        file.create_virtual_dataset('I_MS', layout)

    def add_soft(file):
        file.create_group('g')['far'] = h5py.ExternalLink(other, 'I_MS')
        file['I_MS'] = h5py.SoftLink('/g/far')

    refused(lambda file: file.__setitem__('I_MS', h5py.ExternalLink(other, 'I_MS')))
    raw = [('/etc/passwd', 0, 480)]
    refused(lambda file: file.create_dataset('I_MS', (4, 10, 12), 'uint8', external=raw))
    refused(add_virtual)
    refused(add_soft)


def test_a_variable_that_is_large_only_once_it_is_unpacked(tmp_path):
    path = write_mat73(tmp_path / 'bomb.mat', I_PAN=numbers(48, 40))
    with h5py.File(path, 'r+') as file:
        shape = (4, 10_000, 10_000)
        file.create_dataset('I_MS', shape, 'float64', chunks=(1, 1000, 1000), compression='gzip')
    with pytest.raises(DataError, match=r'bomb.mat: I_MS takes 0.0 MB and unpacks to 3.2 GB'):
        _ = MatScene(path, 'IKONOS').bands
