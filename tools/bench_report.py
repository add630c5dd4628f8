#!/usr/bin/env python3
"""Measures the report of a large study: seconds to write, bytes, first paint in a browser, height.

The study is synthetic: runs with configs, capsules, logs, values of test samples and images as a
training leaves them. Screenshots of the page can be kept.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np
from PIL import Image

from toolkit.report import page as report_page

CHROMIUM = '/usr/bin/chromium'
SIZES = {'desktop': (1280, 900), 'phone': (390, 844)}
FINGERPRINT = {'config': 'c', 'code': 'k', 'data': 'd', 'train': 't'}
SAMPLES = 20
PAINT = "performance.getEntriesByName('first-contentful-paint').map((e) => e.startTime)[0]"


def write_study(folder: Path, variants: int, values: int, seeds: int, side: int) -> None:
    """Writes a study of variants x values of an axis x seeds, in all states of its runs."""
    chance = random.Random(0)
    runs = []
    for variant in range(variants):
        for value in range(values):
            for seed in range(seeds):
                id_ = f'variant{variant:02d}-width{16 * (value + 1)}-s{seed}'
                runs.append(
                    {
                        'id': id_,
                        'variant': f'variant{variant:02d}',
                        'settings': {'model.width': 16 * (value + 1)},
                        'data': None,
                        'seed': seed,
                        'fold': None,
                        'folder': f'runs/{id_}',
                        'fingerprint': FINGERPRINT,
                        'changes': [f'model.drop: 0.0 -> {variant / 100}'] if variant else [],
                        'parameters': 1000 * (value + 1) ** 2,
                        'macs': 1_000_000 * (value + 1),
                    }
                )
    write_json(
        folder / 'plan.json',
        {
            'study': 'synthetic',
            'compare_to': 'variant00',
            'metrics': {'accuracy': True, 'error': False},
            'runs': runs,
        },
    )
    (folder / 'study.yaml').write_text('study: synthetic\ncompare_to: variant00\n')
    for run in runs:
        write_run(folder / run['folder'], run, chance, side)


def write_run(folder: Path, run: dict[str, Any], chance: random.Random, side: int) -> None:
    """Writes the files of a run; one in fifty has failed, one in fifty is running."""
    variant, width = int(run['variant'][-2:]), run['settings']['model.width']
    state = chance.choices(['finished', 'failed', 'running'], [96, 2, 2])[0]
    status = {'status': state, 'attempts': 1, 'seconds': 60.0 + width, 'fingerprint': FINGERPRINT}
    status |= {'memory': 10**8 * width, 'message': 'loss is not finite' * (state == 'failed')}
    write_json(folder / 'status.json', status)
    config = make_config(variant, width, run['seed'])
    packages = {f'package-{number}': f'1.{number}.0' for number in range(80)} | {'torch': '2.6.0'}
    write_json(
        folder / 'capsule.json',
        {
            'toolkit': '0.1.0',
            'kind': 'train',
            'status': state if state != 'failed' else 'failed: loss is not finite',
            'started': f'2026-01-02T03:{run["seed"]:02d}:05+00:00',
            'ended': '2026-01-02T04:05:05+00:00',
            'seed': run['seed'],
            'device': 'cuda',
            'processes': 1,
            'threads': 4,
            'git': {'commit': '0123456789abcdef' * 2, 'dirty': False},
            'data': {'train': 'aaaa', 'val': 'bbbb', 'test': 'cccc'},
            'python': '3.11.7',
            'packages': packages,
            'hardware': {'system': 'Linux', 'cpu': 'A CPU', 'cores': 8, 'gpus': ['A GPU']},
            'config': config,
            'resumed': [],
        },
    )
    (folder / 'config.yaml').write_text(json.dumps(config, indent=1))
    level = 0.6 + 0.2 * variant / 25 + 0.1 * width / 160
    lines = []
    for i in range(1, 201):
        loss = 1 / level / i**0.5 * (1 + chance.gauss(0, 0.1))
        line = {'iter': 10 * i, 'epoch': i / 10, 'lr': 0.1 / i, 'loss': loss, 'time': 0.01}
        lines.append({**line, 'data_time': 0.001})
        if i % 20 == 0:
            value = level - 0.1 / i + chance.gauss(0, 0.01)
            lines.append({'iter': 10 * i, 'epoch': i / 10, 'val': {'accuracy': value}})
    (folder / 'metrics.jsonl').write_text(''.join(json.dumps(line) + '\n' for line in lines))
    if state != 'finished':
        return
    rows = [
        {'item': f'image{n}', 'accuracy': level + chance.gauss(0, 0.03)} for n in range(SAMPLES)
    ]
    accuracy = sum(row['accuracy'] for row in rows) / SAMPLES
    write_json(
        folder / 'metrics.json',
        {
            'metrics': {'accuracy': accuracy, 'error': 1 - accuracy + chance.gauss(0, 0.01)},
            'directions': {'accuracy': True, 'error': False},
            'rows': {'accuracy': rows},
            'checkpoint': None,
        },
    )
    if side and run['seed'] == 0:
        write_images(folder / 'pictures', variant * 1000 + width, side)


def make_config(variant: int, width: int, seed: int) -> dict[str, Any]:
    """Makes a config of about 150 values."""
    parts = {f'part{n}': {'type': 'Block', 'width': width, 'index': n} for n in range(40)}
    return {
        'model': {'type': 'Net', 'width': width, 'drop': variant / 100, 'parts': parts},
        'optim_wrapper': {'optimizer': {'type': 'AdamW', 'lr': 1e-3 / (1 + variant % 3)}},
        'train_cfg': {'max_epochs': 20},
        'randomness': {'seed': seed},
    }


def write_images(folder: Path, seed: int, side: int) -> None:
    """Writes the images of a scene: one that all runs share, and one of the run."""
    noise = np.random.default_rng(seed).integers(0, 60, (side, side, 3))
    ramp = np.linspace(0, 180, side)[:, None, None] + np.zeros((side, side, 3))
    folder.mkdir(parents=True)
    Image.fromarray(ramp.astype('uint8')).save(folder / 'scene-pan.png')
    Image.fromarray((ramp + noise).astype('uint8')).save(folder / 'scene-sharpened.png')
    layers = [
        {'name': 'PAN', 'file': 'scene-pan.png'},
        {'name': 'sharpened', 'file': 'scene-sharpened.png'},
    ]
    write_json(folder / 'scene.json', {'item': 'scene', 'layers': layers})


def write_json(path: Path, content: object) -> None:
    """Writes a JSON file, with its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def measure_page(page: Path, shots: Path | None) -> None:
    """Opens the page at each size, light and dark, and prints first paint and height."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=['--headless', '--no-sandbox', '--disable-gpu']
        )
        for name, (width, height) in SIZES.items():
            for scheme in ('light', 'dark'):
                context = browser.new_context(
                    viewport={'width': width, 'height': height}, color_scheme=scheme
                )
                tab = context.new_page()
                errors: list[str] = []
                tab.on('pageerror', lambda error, seen=errors: seen.append(str(error)))
                start = time.perf_counter()
                tab.goto(page.absolute().as_uri())
                tab.wait_for_function(PAINT)
                paint = tab.evaluate(PAINT)
                tab.wait_for_selector('html[data-charts=drawn]', state='attached', timeout=120_000)
                drawn = time.perf_counter() - start
                size = tab.evaluate(
                    '[document.documentElement.scrollHeight, document.documentElement.scrollWidth]'
                )
                print(
                    f'{name} {scheme}: first paint {paint / 1000:.2f} s, all charts {drawn:.1f} s, '
                    f'{size[0]} pixels high, {size[1]} wide' + (f', errors {errors}' * bool(errors))
                )
                if shots is not None:
                    shots.mkdir(parents=True, exist_ok=True)
                    tab.screenshot(path=shots / f'{name}-{scheme}.png', full_page=True)
                context.close()
        browser.close()


def main() -> None:
    """Writes the study and its report, and measures the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--variants', type=int, default=25)
    parser.add_argument('--values', type=int, default=10, help='of the axis model.width')
    parser.add_argument('--seeds', type=int, default=4)
    parser.add_argument('--side', type=int, default=128, help='of images, in pixels; 0 for none')
    parser.add_argument('--folder', type=Path, help='where the study is kept (default: nowhere)')
    parser.add_argument('--shots', type=Path, help='folder for screenshots')
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary) / 'study'
        if not (folder / 'plan.json').exists():
            sizes = arguments.variants, arguments.values, arguments.seeds
            write_study(folder, *sizes, arguments.side)
        output = folder / 'report.html'
        start = time.perf_counter()
        for note in report_page.write([folder], output):
            print(note)
        seconds = time.perf_counter() - start
        print(f'written in {seconds:.1f} s, {output.stat().st_size / 1e6:.2f} MB')
        measure_page(output, arguments.shots)


if __name__ == '__main__':
    main()
