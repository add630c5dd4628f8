"""Small manifests on disk, of synthetic scenes written as rasters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from plugins.pansharpening.synthetic.scene import SyntheticScene
from tests.support.synthetic_rasters import write_geotiff

Values = Mapping[str, object]


def write_scene(folder: Path, name: str, size: int = 128, bands: int = 4, seed: int = 0) -> Values:
    """Writes rasters of a synthetic scene with its truth; returns its row of a manifest."""
    scene = SyntheticScene(bands, size, seed)
    for kind, image in (
        ('ms', scene.read_ms()),
        ('pan', scene.read_pan()),
        ('true', scene.reference),
    ):
        write_geotiff(folder / f'{name}_{kind}.tif', np.round(image * 2047).astype(np.uint16))
    return {
        'name': name,
        'ms': f'{name}_ms.tif',
        'pan': f'{name}_pan.tif',
        'sensor': scene.sensor.name,
    }


def write_manifest(path: Path, rows: Sequence[Values]) -> str:
    """A CSV file with these rows; columns are those of the first."""
    lines = [','.join(rows[0])]
    lines += [','.join(str(row.get(column, '')) for column in rows[0]) for row in rows]
    path.write_text('\n'.join(lines) + '\n')
    return str(path)
