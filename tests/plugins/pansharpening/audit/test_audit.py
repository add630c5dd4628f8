"""Defects planted in a set of scenes are found, and sound sets have none."""

from __future__ import annotations

import json

import numpy as np
import pytest
import scipy.io

from plugins.pansharpening.commands.audit import audit_archives
from plugins.pansharpening.data.archives.scene_archive import open_archive
from plugins.pansharpening.synthetic.scene import SyntheticScene
from toolkit.cli import main

SIDE, COUNT = 128, 4


def make_scenes():
    """Digital numbers of 11 bits: MS, PAN and reference of each scene."""
    found = []
    for seed in range(COUNT):
        scene = SyntheticScene(4, SIDE, seed=seed)
        images = (scene.read_ms(), scene.read_pan(), scene.reference)
        found.append([np.round(np.clip(image, 0, 1) * 2047) for image in images])
    return [np.stack(images) for images in zip(*found)]


@pytest.fixture(scope='module')
def sound():
    return make_scenes()


def save(path, ms, pan, gt=None, bits=11):
    arrays = {'ms': np.moveaxis(ms, 1, -1), 'pan': pan[:, 0], 'L': bits}
    if gt is not None:
        arrays['gt'] = np.moveaxis(gt, 1, -1)
    scipy.io.savemat(path, arrays)
    return str(path)


def audit(*paths, sensor='IKONOS', bits=None):
    return audit_archives([open_archive(path, sensor, bits) for path in paths])


def list_defects(found):
    return [(finding.kind, finding.scenes) for finding in found.defects]


def test_a_sound_set_has_none(sound, tmp_path):
    found = audit(save(tmp_path / 'a.mat', *sound))
    assert found.defects == []
    assert found.counts == {'': COUNT}
    assert all(scan.against_reference.distance < 0.3 for scan in found.scans)


def test_every_planted_defect_is_found(sound, tmp_path):
    ms, pan, gt = (image.copy() for image in sound)
    ms[1, 2] = 300  # constant
    pan[2] = sound[1][0]  # of another scene
    gt[3] = np.roll(gt[3], (3, 2), (1, 2))  # off by less than an MS pixel
    train = save(tmp_path / 'train.mat', ms, pan, gt)
    scene = SyntheticScene(4, SIDE, seed=9)
    ms = np.round(np.clip(scene.read_ms(), 0, 1) * 2047)[None].repeat(3, 0)
    pan = np.round(np.clip(scene.read_pan(), 0, 1) * 2047)[None].repeat(3, 0)
    ms[0], pan[0] = sound[0][0], sound[1][0]  # a scene of train
    noise = np.random.default_rng(0).normal(0, 3, sound[0][1].shape)
    ms[1], pan[1] = np.round(sound[0][1] + noise), sound[1][1]  # and another one with noise
    ms[2] = np.where(ms[2] > np.quantile(ms[2], 0.8), 2047, ms[2])
    test = save(tmp_path / 'test.mat', ms, pan)
    found = audit(train, test)
    kinds = dict.fromkeys(finding.kind for finding in found.defects)
    assert set(list_defects(found)) >= {
        ('constant', ('train.mat: train_1',)),
        ('PAN of another scene', ('train.mat: train_2',)),
        ('MS off its reference', ('train.mat: train_3',)),
        ('given twice', ('train.mat: train_0', 'test.mat: test_0')),
        ('saturated', ('test.mat: test_2',)),
    }
    assert 'units' not in kinds
    assert 'unreadable' not in kinds
    twice = next(f for f in found.defects if f.scenes[-1] == 'test.mat: test_0' and f.leak)
    assert twice.message.startswith('equal MS')
    assert 'in test.mat and train.mat' in twice.message
    again = [f for f in found.defects if f.scenes == ('train.mat: train_1', 'test.mat: test_1')]
    assert again and again[0].leak
    (other,) = [f for f in found.defects if f.kind == 'PAN of another scene']
    assert 'resembles the MS of test.mat: test_0' in other.message  # the same as train_0


def test_shifts_are_measured(sound, tmp_path):
    ms, pan, gt = (image[:1] for image in sound)
    for rows, cols in ((1, 0), (0, -1), (-1, 1), (4, 0)):
        moved = np.roll(gt, (-rows, -cols), (2, 3))
        (scan,) = audit(save(tmp_path / 'a.mat', ms, pan, moved)).scans
        shift = scan.against_reference
        assert (shift.rows, shift.cols) == pytest.approx((rows, cols), abs=0.25)
    found = audit(save(tmp_path / 'b.mat', ms, np.roll(pan, 6, 2)))
    assert list_defects(found) == [('MS off its PAN', ('b_0',))]
    found = audit(save(tmp_path / 'c.mat', ms, np.roll(pan, 2, 2)))
    assert [f.kind for f in found.findings] == ['remark']


def test_bit_depths_and_units(sound, tmp_path):
    ms, pan, _ = sound
    found = audit(save(tmp_path / 'a.mat', ms * 2, pan * 2))
    assert {kind for kind, _ in list_defects(found)} == {'bit depth'}
    assert 'found the digital number' in found.defects[0].message
    found = audit(save(tmp_path / 'b.mat', ms, pan, bits=16))
    assert [f.kind for f in found.defects] == ['bit depth']
    assert 'but 16 bits end at 65535; state 11' in found.defects[0].message
    found = audit(save(tmp_path / 'c.mat', ms // 16 * 16, pan // 16 * 16))
    assert found.defects == []
    assert 'lie 16 apart' in found.findings[0].message
    found = audit(save(tmp_path / 'd.mat', np.round(ms / 10), pan))
    assert {kind for kind, _ in list_defects(found)} == {'units'}


def test_assumed_gains_are_said_once_for_all_scenes(sound, tmp_path):
    path = save(tmp_path / 'a.mat', *sound)
    (finding,) = audit(path, sensor='GF2', bits=11).findings
    assert (finding.kind, finding.leak, len(finding.scenes)) == ('remark', False, COUNT)
    assert '0.3 for the MS and 0.15 for the PAN are assumed' in finding.message


def test_the_command(sound, tmp_path, capsys):
    path = save(tmp_path / 'train.mat', *(images[:2] for images in sound))
    assert main(['audit', path, '--sensor', 'IKONOS', '--json', f'{tmp_path}/a.json']) == 0
    assert 'no defects' in capsys.readouterr().out
    record = json.loads((tmp_path / 'a.json').read_text())
    assert (record['defects'], len(record['measured'])) == (0, 2)
    assert main(['audit', '--sensor', 'IKONOS', path, path, '--json', f'{tmp_path}/a.json']) == 2
    assert 'exists already' in capsys.readouterr().err
    assert main(['audit', path, path, '--sensor', 'IKONOS']) == 0
    assert '2 defects' in capsys.readouterr().out
    for argv, message in (
        (['a.txt'], 'expected data of one kind: images'),
        (['none.h5'], 'no file none.h5'),
        ([path, '--sensor', 'IKONO'], "did you mean 'IKONOS'"),
        ([path, '--json', path], 'would destroy the input'),
    ):
        assert main(['audit', *argv]) != 0
        assert message in capsys.readouterr().err, argv


@pytest.mark.parametrize(
    ('path', 'sensor'),
    [
        pytest.param('ikonos/imgIK.mat', 'IKONOS', marks=pytest.mark.slow),
        pytest.param('wv2/imgWV2.mat', 'WV2', marks=pytest.mark.slow),
        ('wv3_tiny', 'WV3'),
    ],
)
def test_real_sound_sets_have_none(data_root, path, sensor):
    assert audit(path, sensor=sensor).defects == []


@pytest.mark.slow
def test_real_rasters_have_none(data_root, tmp_path):
    rows = ['name,ms,pan,sensor,bit_depth']
    for folder, ms, sensor, bits in (
        ('wv3_georef', 'mul', 'WV3', ''),
        ('landsat_georef', 'ms', 'generic', '16'),
    ):
        place = data_root / folder
        rows.append(f'{folder},{place}/{ms}.tif,{place}/pan.tif,{sensor},{bits}')
    (tmp_path / 'scenes.csv').write_text('\n'.join(rows))
    archive = open_archive(f'{tmp_path}/scenes.csv', outside=True)
    assert audit_archives([archive]).defects == []


def test_help_lists_the_options_of_the_data(tmp_path, capsys):
    for argv, listed, left_out in (
        ([], ('--sensor', '--annotations'), ()),
        (['a.h5'], ('--sensor',), ('--annotations',)),
        (['a.csv'], ('--annotations',), ('--sensor',)),
    ):
        with pytest.raises(SystemExit) as stopped:
            main(['audit', *argv, '--help'])
        assert stopped.value.code == 0
        text = capsys.readouterr().out
        assert all(option in text for option in listed), argv
        assert not any(option in text for option in left_out), argv
