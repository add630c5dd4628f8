"""Draws images of discs and bars: `python draw.py FOLDER COUNT SEED`."""

import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw


def draw_images(folder: Path, count: int, seed: int, side: int = 96) -> None:
    """Draws images at four times their size, and makes them smaller."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    for number in range(count):
        image = Image.new('RGB', (4 * side, 4 * side), tuple(rng.integers(0, 256, 3).tolist()))
        draw = ImageDraw.Draw(image)
        for x, y, size, *colour, shape in (4 * rng.integers(0, 96, (40, 7))).tolist():
            outline = (x, y, x + size // 4 + 6, y + size // 4 + 6)
            (draw.ellipse if shape % 8 else draw.rectangle)(outline, tuple(colour))
        image.resize((side, side)).save(folder / f'image_{number:02}.png')


if __name__ == '__main__':
    draw_images(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
