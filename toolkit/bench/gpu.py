"""Measurements of a GPU, part by part within a time, and the page that is made of them.

toolkit bench gpu [--output gpu.json] [--minutes 9] [--small] [--only PART ...]
toolkit bench gpu-report gpu.json [--output docs/gpu.md]
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import torch

from toolkit.bench.gpu_report import write_report
from toolkit.errors import ToolkitError
from toolkit.io.json_values import write_json
from toolkit.registry import BENCHES
from toolkit.registry.command import Command

# Of the output of a part, what is kept in the record.
KEPT_CHARACTERS = 4000
# Seconds that a part has to end after it was asked to.
GRACE = 5
# Seconds below which no further part is started.
LEAST = 10
# Files with tests marked gpu.
TESTS = (
    'tests/test_gpu.py',
    'tests/toolkit/engine/training/test_training_step.py',
    'tests/plugins/pansharpening/data/test_patches_on_device.py',
    'tests/plugins/pansharpening/test_gpu.py',
    'tests/toolkit/run/test_train.py',
)
PACKAGES = ('torch', 'torchvision', 'timm', 'numpy', 'mmengine', 'triton')


class Part(NamedTuple):
    """One part of the measurements, a process of its own.

    Attributes:
        name: of the part.
        bench: name of the bench that measures it; None for the tests marked gpu.
        seconds: it has at most.
    """

    name: str
    bench: str | None
    seconds: float


# The most telling first.
PARTS = (
    Part('tests', None, 150),
    Part('device', 'gpu-device', 40),
    Part('scene', 'gpu-scene', 75),
    Part('ldpnet', 'gpu-ldpnet', 75),
    Part('classifier', 'gpu-classifier', 60),
    Part('schedule', 'gpu-schedule', 420),
    Part('finetune', 'gpu-finetune', 150),
)


@BENCHES.register(name='gpu')
class GPUBench(Command):
    """Measures a GPU in parts, the most telling first, and writes gpu.json after each part.

    Each part is a process of its own within a time of its own; one that fails or is cut short
    leaves what it has measured and stops no other. A file that is there is gone on with.
    """

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        add = parser.add_argument
        add('--output', type=Path, default=Path('gpu.json'), help='the record (gpu.json)')
        add('--logs', type=Path, help='a folder for the output of the parts')
        add('--minutes', type=float, default=9.0, help='for all parts together (9)')
        add('--small', action='store_true', help='small sizes, to try it all on a CPU')
        add('--device', choices=('cpu', 'cuda'), help='to compute on (a GPU where there is one)')
        add('--only', nargs='+', choices=[part.name for part in PARTS], help='these parts alone')

    def run(self, arguments: argparse.Namespace) -> int:
        device = arguments.device or ('cuda' if torch.cuda.is_available() else 'cpu')
        record = {'parts': {}}
        if arguments.output.exists():
            record = _read(arguments.output)
        record |= {'device': describe_device(device), 'small': arguments.small}
        ends = time.monotonic() + 60 * arguments.minutes
        parts = [part for part in PARTS if part.name in (arguments.only or _names())]
        for part in parts:
            left = ends - time.monotonic()
            if left < LEAST:
                print(f'{part.name}: not started, as the time is over', flush=True)
                record['parts'].setdefault(part.name, {'status': 'not started'})
            else:
                found = _measure(part, min(part.seconds, left), device, arguments)
                record['parts'][part.name] = found
                print(f'{part.name}: {found["status"]} in {found["seconds"]:.0f} s', flush=True)
            write_json(arguments.output, record)
        print(f'wrote {arguments.output}')
        failed = [p.name for p in parts if record['parts'][p.name]['status'] != 'finished']
        return 1 if failed else 0


@BENCHES.register(name='gpu-report')
class GPUReport(Command):
    """Makes a page of what `toolkit bench gpu` has measured."""

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument('record', type=Path, metavar='GPU.JSON', help='the record')
        parser.add_argument(
            '--output', type=Path, default=Path('docs/gpu.md'), help='the page (docs/gpu.md)'
        )

    def run(self, arguments: argparse.Namespace) -> int:
        write_report(_read(arguments.record), arguments.output, _names())
        print(f'wrote {arguments.output}')
        return 0


def describe_device(device: str) -> dict[str, Any]:
    """The device, its software and the date."""
    found: dict[str, Any] = {
        'type': device,
        'name': 'CPU',
        'date': datetime.datetime.now(datetime.timezone.utc).strftime('%Y-%m-%d'),
        'python': platform.python_version(),
        'cores': os.cpu_count(),
        'packages': {name: _version(name) for name in PACKAGES},
    }
    if device == 'cuda' and torch.cuda.is_available():
        properties = torch.cuda.get_device_properties(0)
        found |= {
            'name': properties.name,
            'memory_gib': round(properties.total_memory / 2**30, 1),
            'multiprocessors': properties.multi_processor_count,
            'cuda': torch.version.cuda,
        }
    return found


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _names() -> list[str]:
    return [part.name for part in PARTS]


def _read(path: Path) -> dict[str, Any]:
    try:
        record = json.loads(path.read_text(encoding='utf-8'))
    except (OSError, ValueError) as error:
        raise ToolkitError(f'{path} cannot be read as a record of measurements: {error}') from error
    if not isinstance(record, dict) or not isinstance(record.get('parts'), dict):
        raise ToolkitError(f'{path} is no record of `toolkit bench gpu`: it has no parts')
    return record


def _measure(
    part: Part, seconds: float, device: str, arguments: argparse.Namespace
) -> dict[str, Any]:
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / f'{part.name}.json'
        log = (arguments.logs or Path(folder)) / f'{part.name}.log'
        log.parent.mkdir(parents=True, exist_ok=True)
        command = _command(part, place, seconds, device, arguments.small)
        with open(log, 'wb') as output:
            process = subprocess.Popen(
                command, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
            )
            try:
                status = 'finished' if process.wait(seconds) == 0 else 'failed'
            except subprocess.TimeoutExpired:
                status = 'cut short'
            finally:
                _end(process)
        text = log.read_text(encoding='utf-8', errors='replace')
        found = json.loads(place.read_text(encoding='utf-8')) if place.exists() else {}
    if part.bench is None:
        found = _count_tests(text)
    return {
        'status': status,
        'seconds': round(time.monotonic() - started, 1),
        **found,
        'output': text[-KEPT_CHARACTERS:],
    }


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a part and all that it started."""
    for number, grace in ((signal.SIGTERM, GRACE), (signal.SIGKILL, None)):
        try:
            os.killpg(process.pid, number)
            process.wait(grace)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue


def _command(part: Part, place: Path, seconds: float, device: str, small: bool) -> list[str]:
    if part.bench is None:
        # On a CPU, the tests of the same files that need no GPU.
        chosen = 'gpu' if device == 'cuda' else 'not gpu and not slow'
        workers = ['-n', '6'] if device == 'cuda' and _version('pytest-xdist') else []
        return [
            sys.executable,
            '-m',
            'pytest',
            '-m',
            chosen,
            '-rfE',
            '--tb=short',
            *workers,
            *TESTS,
        ]
    command = [sys.executable, '-m', 'toolkit', 'bench', part.bench, '--json', str(place)]
    return [*command, '--device', device, '--seconds', str(seconds)] + ['--small'] * small


def _count_tests(text: str) -> dict[str, Any]:
    lines = text.strip().splitlines()
    counted = [line for line in lines if ' passed' in line or ' failed' in line]
    failed = [line for line in lines if line.startswith(('FAILED ', 'ERROR '))]
    return {'summary': (counted or ['no count of tests'])[-1], 'failed_tests': failed}
