"""Scoring the results of several methods on archives of scenes, in all layouts."""

from __future__ import annotations

import csv
import json
import math

import numpy as np
import pytest
import rasterio
import scipy.io
import torch
from rasterio.transform import from_origin

from plugins.pansharpening.benchmark.evaluation import evaluate
from plugins.pansharpening.benchmark.scores import BenchmarkScores
from plugins.pansharpening.benchmark.tables import Benchmark
from plugins.pansharpening.data.archives.image_layout import find_pair_layouts
from plugins.pansharpening.data.archives.method_results import MethodResults, pair_names
from plugins.pansharpening.data.archives.scene_archive import open_archive
from plugins.pansharpening.metrics import functional
from plugins.pansharpening.scenes.arrays.npy import ArrayScene
from plugins.pansharpening.synthetic.scene import SyntheticScene
from toolkit.analysis.paired_tests import adjust_holm, paired_bootstraps
from toolkit.analysis.table_files import format_tables
from toolkit.cli import main
from toolkit.errors import DataError

h5py = pytest.importorskip('h5py')
from tests.support.matlab_file import write_matlab_73  # noqa: E402 - needs h5py

COUNT, SIDE = 3, 64


def write_h5(path, **arrays):
    with h5py.File(path, 'w') as file:
        for name, array in arrays.items():
            file[name] = array


@pytest.fixture(scope='module')
def made(tmp_path_factory):
    """Three scenes and two methods in every layout, and single files for single calls."""
    folder = tmp_path_factory.mktemp('archive')
    scenes = [SyntheticScene(4, SIDE, seed=seed) for seed in range(COUNT)]
    ms, pan, gt = (
        np.stack([np.round(image * 2047) for image in images])
        for images in zip(*((s.read_ms(), s.read_pan(), s.reference) for s in scenes))
    )
    rng = np.random.default_rng(0)
    sharp = {
        'good': gt + 5 * rng.standard_normal(gt.shape),
        'poor': 0.9 * gt + 60 + 20 * rng.standard_normal(gt.shape),
    }
    write_h5(folder / 'test_ik.h5', ms=ms, pan=pan, gt=gt, lms=gt * 0)
    write_h5(folder / 'full.h5', ms=ms, pan=pan)

    def last(image):
        return np.moveaxis(image, -3, -1)

    scipy.io.savemat(
        folder / 'all.mat', {'ms': last(ms), 'pan': pan[:, 0], 'gt': last(gt), 'L': 11}
    )
    scipy.io.savemat(folder / 'poor.mat', {'sr': last(sharp['poor']), 'gt': last(gt)})
    write_matlab_73(folder / 'poor73.mat', sr=last(sharp['poor']))
    np.save(folder / 'good.npy', sharp['good'])
    write_h5(folder / 'good.h5', sr=sharp['good'])
    for name in ('scenes', 'poor', 'good'):
        (folder / name).mkdir()
    for i in range(COUNT):
        variables = {'I_MS_LR': last(ms[i]), 'I_MS': last(gt[i]), 'I_PAN': pan[i, 0]}
        scipy.io.savemat(
            folder / 'scenes' / f'data{i + 1}.mat', {**variables, 'I_GT': last(gt[i]), 'L': 11}
        )
        scipy.io.savemat(folder / 'poor' / f'output_mulExm_{i}.mat', {'sr': last(sharp['poor'][i])})
        np.save(folder / 'good' / f'data{i + 1}.npy', sharp['good'][i])
        for name, image in (('ms', ms), ('pan', pan), ('gt', gt), *sharp.items()):
            np.save(folder / f'{name}_{i}.npy', image[i])
    rows = [f's{i},ms_{i}.npy,pan_{i}.npy,gt_{i}.npy,IKONOS' for i in range(COUNT)]
    (folder / 'scenes.csv').write_text('\n'.join(['name,ms,pan,reference,sensor', *rows]))
    return folder


@pytest.fixture(scope='module')
def single(made):
    """Scores of single calls, by method and scene."""
    found = {}
    for i in range(COUNT):
        scene = ArrayScene(f'{made}/ms_{i}.npy', f'{made}/pan_{i}.npy', 'IKONOS')
        for method in ('good', 'poor'):
            image, truth = f'{made}/{method}_{i}.npy', f'{made}/gt_{i}.npy'
            found[method, i] = evaluate(scene, image, truth)['scores']
    return found


@pytest.mark.parametrize(
    ('data', 'good', 'poor'),
    [
        ('test_ik.h5', 'good.npy', 'poor.mat'),
        ('all.mat', 'good.h5', 'poor73.mat'),
        ('scenes', 'good', 'poor'),
        ('scenes.csv', 'good.npy', 'poor'),
    ],
)
def test_every_scene_has_the_scores_of_single_calls(
    made, single, tmp_path, capsys, data, good, poor
):
    argv = ['evaluate', '--data', f'{made}/{data}', '--indices', 'all']
    argv += [] if data == 'scenes.csv' else ['--sensor', 'IKONOS']  # a manifest states its own
    argv += ['--results', f'good={made}/{good}', f'poor={made}/{poor}']
    assert main([*argv, '--output', f'{tmp_path}/s.json', '--output', f'{tmp_path}/s.csv']) == 0
    said = capsys.readouterr().err.splitlines()
    (line,) = said
    assert line.endswith('and 5 more: R_Q: no windows of 32 x 32 pixels in (17, 17)')
    written = json.loads((tmp_path / 's.json').read_text())
    found = written['conventions']['toolbox']['methods']
    for (method, place), scores in single.items():
        assert list(found[method]) == list(scores)
        for index, expected in scores.items():
            value = found[method][index]['values'][written['scenes'][place]]
            if math.isnan(expected):  # no window of 32 in 16 x 16 MS pixels
                assert value is None
            else:
                assert value == pytest.approx(expected, rel=1e-9, abs=1e-12), (method, index)
    for index in ('SAM', 'HQNR'):
        values = {m: [single[m, i][index] for i in range(COUNT)] for m in ('good', 'poor')}
        summary = found['poor'][index]
        assert summary['mean'] == pytest.approx(np.mean(values['poor']), rel=1e-9)
        assert summary['sd'] == pytest.approx(np.std(values['poor'], ddof=1), rel=1e-9)
        assert summary['test']['difference'] == pytest.approx(
            np.mean(values['poor']) - np.mean(values['good']), rel=1e-8
        )
    with (tmp_path / 's.csv').open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * COUNT
    assert float(rows[0]['SAM']) == pytest.approx(single['good', 0]['SAM'], rel=1e-9)


def test_tests_are_those_of_studies():
    rng = np.random.default_rng(1)
    values = {
        ('toolbox', method, index): tuple(rng.normal(shift, 1, 12) + 3)
        for method, shift in (('a', 0), ('b', 2), ('c', 0.1))
        for index in ('SAM', 'Q')
    }
    scores = BenchmarkScores(
        tuple(map(str, range(12))), values, {'toolbox': {'SAM': 'lower', 'Q': 'higher'}}, ()
    )
    benchmark = Benchmark('set', scores, 'a')
    found = benchmark.comparisons['toolbox']
    expected = paired_bootstraps(
        [
            np.subtract(values['toolbox', m, i], values['toolbox', 'a', i])
            for m in ('b', 'c')
            for i in ('SAM', 'Q')
        ]
    )
    assert [c.test for c in found.values()] == expected
    assert [c.p_holm for c in found.values()] == adjust_holm([t.p for t in expected])
    assert (found['b', 'SAM'].better, found['b', 'Q'].better) == (False, True)
    primary = Benchmark('set', scores, 'a', 'SAM').comparisons['toolbox']
    assert primary['b', 'Q'].p_holm is None
    assert primary['b', 'SAM'].p_holm == min(1, 2 * found['b', 'SAM'].test.p)
    by_bands = BenchmarkScores(
        scores.scenes,
        {('band-psnr', m, 'PSNR_bands'): v for (_, m, i), v in values.items() if i == 'Q'},
        {'band-psnr': {'PSNR_bands': 'higher'}},
        (),
    )
    primary = Benchmark('set', by_bands, 'a', 'PSNR')
    assert primary.comparisons['band-psnr']['b', 'PSNR_bands'].p_holm is not None
    assert 'over 2 tests of PSNR_bands' in format_tables(primary.make_tables(), 'text')
    text = format_tables(benchmark.make_tables(), 'markdown')
    assert '| a (reference) |' in text
    assert 'Holm-corrected over 4 tests' in text
    latex = format_tables(benchmark.make_tables(), 'latex')
    assert latex.count(r'\begin{tabular}') == latex.count(r'\end{tabular}') == 3
    assert r'\boldmath' in latex  # b is better in Q by far more than noise


def test_conventions_and_their_cost(made, tmp_path, capsys):
    argv = ['evaluate', '--data', f'{made}/test_ik.h5', '--sensor', 'IKONOS', '--results']
    argv += [f'poor={made}/poor.mat', '--indices', 'PSNR,SAM,SCC,HQNR', '--output']
    argv += [f'{tmp_path}/s.json', '--convention', 'toolbox']
    names = ('clip', 'grip', 'interior', 'band-psnr', 'peak-psnr')
    for name in (*names, 'cut'):
        argv += ['--convention', name]
    assert main(argv) == 0
    text = capsys.readouterr().out
    assert 'what conventions cost' in text
    found = json.loads((tmp_path / 's.json').read_text())['conventions']

    def mean(convention, index):
        return found[convention]['methods']['poor'][index]['mean']

    fused, truth = np.load(made / 'poor_0.npy'), np.load(made / 'gt_0.npy')
    error = ((fused - truth) ** 2).mean((1, 2))
    bands = 20 * np.log10(2047 / np.sqrt(error)).mean()
    assert functional.psnr(fused, truth, 2047, average='bands') == pytest.approx(bands)
    peak = 20 * np.log10(truth.max() / np.sqrt(error.mean()))
    assert functional.psnr(fused, truth, None) == pytest.approx(peak)
    assert (
        mean('band-psnr', 'PSNR_bands') > mean('toolbox', 'PSNR') > mean('peak-psnr', 'PSNR_peak')
    )
    assert mean('grip', 'HQNR_grip') != mean('toolbox', 'HQNR')
    assert mean('interior', 'SCC_interior') != mean('toolbox', 'SCC')
    inner = (slice(None), slice(20, -21), slice(20, -21))
    sam = [
        functional.sam(np.load(made / f'poor_{i}.npy')[inner], np.load(made / f'gt_{i}.npy')[inner])
        for i in range(COUNT)
    ]
    assert mean('cut', 'SAM') == pytest.approx(float(torch.stack(sam).mean()), rel=1e-9)
    assert mean('cut', 'HQNR') == mean('toolbox', 'HQNR')


def test_names_pair_by_text_or_number(tmp_path):
    assert pair_names(['a', 'b'], ['b', 'a'], tmp_path) == [1, 0]
    assert pair_names(['s1', 's10'], ['s1_gsa', 's10_gsa'], tmp_path) == [0, 1]
    assert pair_names(['t3_0', 't3_1'], ['out_1', 'out_0'], tmp_path) == [1, 0]
    assert pair_names(['d1', 'd2', 'd3'], ['o_0', 'o_1', 'o_2'], tmp_path) == [0, 1, 2]
    for scenes, images in (
        (['a1', 'a2'], ['b5', 'b6']),  # begin at 1 and at 5
        (['a1', 'a2'], ['b1', 'c2']),
        (['a1', 'a3'], ['b0', 'b2']),  # with a gap
        (['a', 'b'], ['c', 'd']),
    ):
        with pytest.raises(DataError, match='do not pair with the scenes'):
            pair_names(scenes, images, tmp_path)
    assert [(a.axes, b.axes) for a, b in find_pair_layouts((5, 8, 9, 4), (32, 36, 6))] == []
    assert [(a.axes, b.axes) for a, b in find_pair_layouts((8, 9, 4, 5), (32, 36, 5))] == [
        ('HWCN', 'HWN')
    ]


def test_bad_archives_and_results(made, tmp_path, capsys):
    gt = np.stack([np.load(made / f'gt_{i}.npy') for i in range(COUNT)])
    ms, pan = gt[:, :, ::4, ::4], gt[:, :1]
    write_h5(tmp_path / 'keys.h5', lms=gt, pan=pan)
    write_h5(tmp_path / 'shapes.h5', ms=ms[:, :, 1:], pan=pan)
    write_h5(tmp_path / 'counts.h5', ms=ms[:2], pan=pan)
    write_h5(tmp_path / 'truth.h5', ms=ms, pan=pan, gt=gt[:, :3])
    (tmp_path / 'cut.h5').write_bytes((made / 'test_ik.h5').read_bytes()[:3000])
    (tmp_path / 'cut.mat').write_bytes(b'MATLAB 5.0 MAT-file')
    (tmp_path / 'empty').mkdir()
    for name, message in (
        ('keys.h5', 'has no array ms or I_MS_LR or I_MS; there are: lms'),
        ('shapes.h5', 'sizes that do not fit'),
        ('counts.h5', 'sizes that do not fit'),
        ('truth.h5', r'found gt of shape \(3, 3, 64, 64\), expected \(3, 4, 64, 64\)'),
        ('cut.h5', 'cannot be read'),
        ('cut.mat', 'cannot be read as a .mat file'),
        ('empty', 'found no files, expected one image in each file'),
        ('none.h5', 'no file .*none.h5'),
    ):
        with pytest.raises(DataError, match=message):
            open_archive(str(tmp_path / name), 'IKONOS').open(0)
    np.save(tmp_path / 'few.npy', gt[:2])
    np.save(tmp_path / 'unit.npy', gt / 2047)
    np.save(tmp_path / 'size.npy', gt[:, :, :32])
    np.save(tmp_path / 'swapped.npy', gt[[0, 2, 1]])
    np.save(tmp_path / 'nan.npy', np.where(gt == gt[1].max(), np.nan, gt))
    np.save(tmp_path / 'text.npy', np.full(gt.shape, 'a'))
    np.save(tmp_path / 'complex.npy', gt * 1j)
    write_h5(tmp_path / 'two.h5', a=gt, b=gt)
    argv = ['evaluate', '--data', f'{made}/test_ik.h5', '--sensor', 'IKONOS']
    argv += ['--indices', 'SAM', '--output', f'{tmp_path}/out.md', '--results']
    for name, message in (
        ('few.npy', r'found array (2, 4, 64, 64); expected one array of results, (3, 4, 64, 64)'),
        ('unit.npy', 'save the results in digital numbers'),
        ('size.npy', 'expected one array of results'),
        ('swapped.npy', 'shows the scene test_ik_2'),
        ('nan.npy', 'values are NaN or infinite'),
        ('text.npy', 'expected one array of results'),
        ('complex.npy', 'expected one array of results'),
        ('two.h5', 'name one of them by --result-key'),
        ('cut.h5', 'cannot be read'),
    ):
        assert main([*argv, f'm={tmp_path}/{name}']) == 1, name
        said = capsys.readouterr().err
        assert message in said, (name, said)
        assert said.count('\n') == 1
        assert not (tmp_path / 'out.md').exists()
    assert main([*argv, f'm={tmp_path}/two.h5', '--result-key', 'b']) == 0
    assert (tmp_path / 'out.md').exists()
    with pytest.raises(DataError, match='found 2 images, expected 3, one for each scene'):
        (tmp_path / 'other').mkdir()
        for i in range(2):
            np.save(tmp_path / 'other' / f'{i}.npy', gt[i])
        MethodResults('m', str(tmp_path / 'other'), ['a', 'b', 'c'])


def write_raster(path, image, nodata=None):
    with rasterio.open(
        path,
        'w',
        driver='GTiff',
        width=image.shape[2],
        height=image.shape[1],
        count=len(image),
        dtype='uint16',
        crs='EPSG:32633',
        transform=from_origin(500000, 5000000, SIDE / image.shape[2], SIDE / image.shape[2]),
        nodata=nodata,
    ) as file:
        file.write(image.astype(np.uint16))


def test_images_with_nodata_are_compared_with_scenes_where_they_have_data(made, tmp_path, capsys):
    rows = ['name,ms,pan,sensor']
    for i in range(COUNT):
        for name in ('ms', 'pan'):
            write_raster(tmp_path / f'{name}{i}.tif', np.load(made / f'{name}_{i}.npy'))
        rows.append(f's{i},ms{i}.tif,pan{i}.tif,IKONOS')
    (tmp_path / 'scenes.csv').write_text('\n'.join(rows))
    argv = ['evaluate', '--data', f'{tmp_path}/scenes.csv', '--indices', 'D_sR', '--results']
    for folder, order, code in (('own', [0, 1, 2], 0), ('swapped', [0, 2, 1], 1)):
        (tmp_path / folder).mkdir()
        for i, other in enumerate(order):
            image = np.load(made / f'gt_{other}.npy')
            image[:, :24] = 65535
            write_raster(tmp_path / folder / f's{i}.tif', image, 65535)
        assert main([*argv, f'm={tmp_path}/{folder}']) == code
        said = capsys.readouterr().err
        assert ('shows the scene s2' in said) == bool(code)
        assert 'hardly resembles' not in said


def test_arguments_of_one_mode_are_refused_in_the_other(made, tmp_path, capsys):
    data, manifest, full = (
        ['--data', f'{made}/{name}'] for name in ('test_ik.h5', 'scenes.csv', 'full.h5')
    )
    results = ['--results', f'm={made}/good.npy']
    for argv, message in (
        ([], 'expected --fused and --ms, or --data and --results'),
        (results, '--results needs --data'),
        (data, '--data needs --results'),
        ([*data, *results, '--fused', 'a'], '--fused is for a single image'),
        ([*data, *results, '--samples', 'centre'], '--samples is for a single image'),
        ([*data, *results, '--channels-last'], '--channels-last is for a single image'),
        ([*manifest, *results, '--sensor', 'WV3'], 'states sensor and bit depth of each scene'),
        ([*manifest, *results, '--bit-depth', '14'], 'states sensor and bit depth of each scene'),
        ([*full, *results, '--indices', 'full,SAM'], 'no reference, which SAM compare with'),
        ([*full, *results, '--metric', 'PSNR'], 'no reference, which PSNR compare with'),
        ([*data, *results, '--output', 'a.doc'], 'expected a name that ends with .txt'),
        ([*data, '--results', 'm=a', 'm=b'], "found the method 'm' twice"),
        ([*data, '--results', '=a'], 'expected NAME=PATH'),
        ([*data, *results, '--compare-to', 'n'], "--compare-to: found 'n'"),
        ([*data, *results, '--primary', 'SAMM'], "did you mean 'SAM'"),
        ([*data, *results, '--output', f'{made}/good.npy'], 'expected a name that ends with'),
        ([*data, *results, '--json', f'{made}/good.npy'], 'it would destroy the input'),
    ):
        assert main(['evaluate', *argv]) == 2, argv
        assert message in capsys.readouterr().err, argv
