"""`toolkit evaluate --data`: compares the results of several methods on an archive of scenes."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from plugins.pansharpening.benchmark.conventions import CONVENTIONS
from plugins.pansharpening.benchmark.scores import choose_indices, score_methods
from plugins.pansharpening.benchmark.tables import Benchmark
from plugins.pansharpening.data.archives.method_results import MethodResults, parse_results
from plugins.pansharpening.data.archives.scene_archive import (
    ManifestArchive,
    SceneArchive,
    open_archive,
)
from toolkit.analysis.table_files import format_tables
from toolkit.errors import ToolkitError, did_you_mean
from toolkit.io import atomic_write
from toolkit.io.json_values import format_json
from toolkit.io.output_path import check_outputs, write_all_or_none
from toolkit.io.tables.formatting import format_csv
from toolkit.registry import METRICS

SINGLE = (
    *('fused', 'ms', 'pan', 'reference', 'ratio', 'bands', 'ms_key', 'pan_key'),
    *('channels_last', 'samples'),
)
DEFAULTS = {'samples': 'auto'}
ARCHIVE = ('results', 'result_key', 'compare_to', 'primary', 'indices', 'output', 'per_scene')
STYLES = ('.txt', '.md', '.tex', '.csv', '.json')


def add_archive_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments."""
    group = parser.add_argument_group('several methods on an archive of scenes')
    add = group.add_argument
    add(
        '--data',
        metavar='D',
        help="the scenes: PanCollection's .h5, a .mat or .npz with one scene or many, a folder "
        'with one such file for each scene, or a manifest',
    )
    add(
        '--results',
        nargs='+',
        action='extend',
        metavar='NAME=PATH',
        help='results of each method: one file of all scenes in their order, or a folder with a '
        '.mat, .npy, .h5 or .tif for each, paired by names or by the numbers in them',
    )
    add('--result-key', metavar='NAME', help='of the results in .mat, .h5 and .npz; by shape')
    add('--compare-to', metavar='NAME', help='the method that all others are tested against; first')
    add('--primary', metavar='INDEX', help='index whose tests are corrected; all of them')
    add(
        '--indices',
        metavar='NAME,...',
        help='metrics, or reference, full, or all; default: reference if the scenes have one, full '
        'otherwise',
    )
    add(
        '--output',
        type=Path,
        action='append',
        metavar='FILE',
        help=f'write the tables: {", ".join(STYLES)}; may be repeated',
    )
    add('--per-scene', action='store_true', help='print the scores of each scene too')


def check_archive_arguments(arguments: argparse.Namespace) -> None:
    """Checks that the arguments are those of one image or those of an archive.

    Raises:
        ToolkitError: they are those of both, or some are missing.
    """
    if arguments.data is None:
        if given := [name for name in ARCHIVE if getattr(arguments, name)]:
            raise ToolkitError(f'--{_spell(given[0])} needs --data, the archive of the scenes')
        missing = [f'--{name}' for name in ('fused', 'ms') if not getattr(arguments, name)]
        if missing:
            raise ToolkitError(
                f'expected {" and ".join(missing)}, or --data and --results for an archive of '
                'scenes (see toolkit evaluate --help)'
            )
        return
    if given := [n for n in SINGLE if (getattr(arguments, n) or None) != DEFAULTS.get(n)]:
        raise ToolkitError(f'--{_spell(given[0])} is for a single image; --data holds the scenes')
    if not arguments.results:
        raise ToolkitError('--data needs --results NAME=PATH, the results of each method')
    wrong = [p for p in arguments.output or [] if p.suffix.lower() not in STYLES]
    if wrong:
        raise ToolkitError(
            f'--output: found {wrong[0]}, expected a name that ends with {", ".join(STYLES)}'
        )


def evaluate_archive(arguments: argparse.Namespace) -> int:
    """Runs the command; see `Evaluate`."""
    try:
        archive = open_archive(
            arguments.data, arguments.sensor, arguments.bit_depth, arguments.outside
        )
    except ValueError as error:
        raise ToolkitError(str(error)) from error
    stated = arguments.sensor != 'generic' or arguments.bit_depth is not None
    if stated and isinstance(archive, ManifestArchive):
        raise ToolkitError(
            f'{archive.path} states sensor and bit depth of each scene; leave --sensor and '
            '--bit-depth out, or change them there'
        )
    methods = [
        MethodResults(name, path, archive.names, arguments.result_key)
        for name, path in parse_results(arguments.results).items()
    ]
    outputs = [*(arguments.output or []), *filter(None, [arguments.json])]
    check_outputs(
        outputs,
        [*archive.files(), *(file for method in methods for file in method.files)],
        overwrite=arguments.overwrite,
        option='--output or --json',
    )
    conventions = [CONVENTIONS[n] for n in dict.fromkeys(arguments.convention or ['toolbox'])]
    compare_to = _choose('--compare-to', arguments.compare_to, [m.name for m in methods])
    words = [word.strip() for word in (arguments.indices or '').split(',') if word.strip()]
    indices = choose_indices(archive, words, arguments.metric)
    for name in indices:
        METRICS.get(name)
    if arguments.primary is not None:
        _choose('--primary', arguments.primary, indices)
    scores = score_methods(archive, methods, indices, conventions)
    for message in scores.messages:
        print(f'warning: {message}', file=sys.stderr)
    benchmark = Benchmark(
        archive.path.name, scores, compare_to, arguments.primary, _describe_data(archive)
    )
    print(format_tables(benchmark.make_tables(arguments.per_scene), 'text'), end='')
    with write_all_or_none(outputs):
        for path in outputs:
            atomic_write.write(path, _format(benchmark, path.suffix.lower()))
    for path in outputs:
        print(f'wrote {path}')
    return 0


def _format(benchmark: Benchmark, suffix: str) -> str:
    if suffix == '.json':
        return format_json(benchmark.make_records())
    if suffix == '.csv':
        return format_csv(*benchmark.make_rows())
    styles = {'.md': 'markdown', '.tex': 'latex'}
    return format_tables(benchmark.make_tables(), styles.get(suffix, 'text'))  # type: ignore


def _describe_data(archive: SceneArchive) -> tuple[str, ...]:
    """Lists what the scores rest on."""
    found = archive.open(0)
    scene = found.scene
    height, width = scene.pan_shape
    lines = [
        f'{len(archive.names)} scenes of {archive.path.name}; the first has {height} x {width} PAN '
        f'pixels, {scene.bands} bands, ratio {scene.ratio}, {scene.bits} bits, sensor '
        f'{scene.sensor.name}, {"with" if found.reference else "without"} reference.'
    ]
    if scene.sensor.assumed:
        lines.append(f'{scene.sensor.describe_assumption()}.')
    return tuple(lines)


def _choose(option: str, name: str | None, known: Sequence[str]) -> str:
    if name is None:
        return known[0]
    if name not in known:
        raise ToolkitError(
            f'{option}: found {name!r}{did_you_mean(name, known)}; there are: {", ".join(known)}'
        )
    return name


def _spell(name: str) -> str:
    return name.replace('_', '-')
