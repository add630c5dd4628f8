"""`toolkit audit` for scenes: finds duplicates, leaks, shifts and wrong values."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.table import Table

from plugins.pansharpening.audit.findings import Finding, SceneAudit, examine
from plugins.pansharpening.audit.scan import SceneScan, scan_scene
from plugins.pansharpening.data.archives.scene_archive import (
    SceneArchive,
    is_scene_source,
    open_archive,
)
from plugins.pansharpening.inference.thread_pool import run_workers
from plugins.pansharpening.scenes.sensors import SENSORS
from toolkit.errors import ToolkitError
from toolkit.interfaces import Auditor
from toolkit.io.json_values import write_json
from toolkit.io.output_path import check_outputs
from toolkit.io.tables.shown_console import ShownConsole
from toolkit.registry import AUDITORS

SHOWN = 20  # rows of findings of one kind on the terminal
NAMED = 4  # scenes of one finding


@AUDITORS.register
class SceneAuditor(Auditor):
    """Finds what is wrong with scenes: an MS, a PAN, and a reference at reduced resolution.

    DATA are archives (.h5, .mat, .npz), folders of such, or manifests of scenes. Each of several
    is a subset of its own, such as train.h5 and test.h5; a manifest states them in its column
    split. Found are images given twice, across subsets above all; an MS that lies off its reference
    or its PAN; a PAN of another scene; saturated and constant bands; a wrong bit depth; a PAN in
    other units than its MS; and scenes that cannot be read.
    """

    items = 'scenes'
    formats = (
        'an .h5 or .mat, a folder of such, an .npz with ms and pan, or a manifest with the columns '
        'ms and sensor'
    )

    @classmethod
    def accepts(cls, paths: Sequence[str]) -> bool:
        return any(is_scene_source(path) for path in paths)

    @classmethod
    def add_arguments(cls, parser: argparse._ArgumentGroup) -> None:
        add = parser.add_argument
        add(
            '--sensor',
            default='generic',
            metavar='S',
            help=f'{", ".join(SENSORS)} (the default), or a YAML file; a manifest states its own',
        )
        add('--bit-depth', type=int, metavar='N', help="of the digital numbers; the sensor's")
        add('--outside', action='store_true', help="allow paths outside a manifest's folder")

    def audit(self, paths: Sequence[str], arguments: argparse.Namespace) -> int:
        try:
            archives = [
                open_archive(path, arguments.sensor, arguments.bit_depth, arguments.outside)
                for path in paths
            ]
        except ValueError as error:
            raise ToolkitError(str(error)) from error
        if arguments.json is not None:
            inputs = [file for archive in archives for file in archive.files()]
            check_outputs([arguments.json], inputs, overwrite=arguments.overwrite, option='--json')
        audit = audit_archives(archives)
        _print(audit)
        if arguments.json is not None:
            write_json(arguments.json, make_record(audit))
            print(f'wrote {arguments.json}')
        return 0


def audit_archives(archives: Sequence[SceneArchive], workers: int | None = None) -> SceneAudit:
    """Scans all scenes of archives and finds what is wrong with them.

    Args:
        archives: each is a subset of its own if there are several.
        workers: threads that compute; None for one a core.
    """
    many = len(archives) > 1
    jobs = [
        (archive, index, own or (archive.path.name if many else ''))
        for archive in archives
        for index, own in enumerate(archive.subsets)
    ]

    def work(job: tuple[SceneArchive, int, str]) -> SceneScan | Finding:
        archive, index, subset = job
        name = f'{archive.path.name}: {archive.names[index]}' if many else archive.names[index]
        try:
            return scan_scene(archive.open(index), name, subset)
        except ToolkitError as error:
            message = str(error).splitlines()[0]
            kind = 'bit depth' if 'bits end at' in message else 'unreadable'
            return Finding(kind, (name,), False, message)  # type: ignore[arg-type]

    with run_workers(workers) as pool:
        results = list(pool.map(work, jobs))
    scans = [result for result in results if isinstance(result, SceneScan)]
    unread = [result for result in results if isinstance(result, Finding)]
    counts = Counter(subset for _, _, subset in jobs)
    return SceneAudit(dict(counts), tuple(scans), (*unread, *examine(scans)))


def make_record(audit: SceneAudit) -> dict[str, Any]:
    """Makes the record of an audit, for JSON."""
    return {
        'scenes': audit.counts,
        'defects': len(audit.defects),
        'findings': [{**asdict(finding), 'defect': finding.defect} for finding in audit.findings],
        'measured': [
            {
                'scene': scan.name,
                'subset': scan.subset,
                'bit_depth': scan.bits,
                'fit': scan.fit,
                'against_pan': scan.against_pan._asdict(),
                'against_reference': scan.against_reference and scan.against_reference._asdict(),
                'images': [asdict(image) for image in scan.images],
            }
            for scan in audit.scans
        ],
    }


def _print(audit: SceneAudit) -> None:
    subsets = ', '.join(f'{n} in {name}' for name, n in audit.counts.items() if name)
    total = sum(audit.counts.values())
    print(f'{total} scenes' + (f' ({subsets})' if subsets else ''))
    kinds: dict[str, list[Finding]] = {}
    for finding in audit.findings:
        kinds.setdefault(finding.kind, []).append(finding)
    for kind, findings in kinds.items():
        table = Table(title=f'{kind}: {len(findings)}', title_justify='left', title_style='bold')
        table.add_column('scenes', overflow='fold')
        table.add_column('found', overflow='fold')
        for finding in sorted(findings, key=lambda f: not f.leak)[:SHOWN]:
            names = ', '.join(finding.scenes[:NAMED])
            more = len(finding.scenes) - NAMED
            table.add_row(names + (f' and {more} more' if more > 0 else ''), finding.message)
        ShownConsole().print(table)
        if len(findings) > SHOWN:
            print(f'{len(findings) - SHOWN} more are in --json')
    leaks = sum(finding.leak for finding in audit.findings)
    across = f', {leaks} of them across subsets' if leaks else ''
    print(f'{len(audit.defects)} defects{across}' if audit.defects else 'no defects')
