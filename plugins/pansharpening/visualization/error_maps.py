"""Where a sharpened image errs: maps per pixel, and histograms of its bands.

matplotlib draws what has axes; it is imported when something is drawn.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from PIL import Image
from scipy.ndimage import uniform_filter

if TYPE_CHECKING:
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure

# Side of the windows of local correlation, as the indices of the field use.
CORRELATION_WINDOW = 32


class Map(NamedTuple):
    """Values per pixel (h, w), NaN where there are none, and how they are shown.

    Attributes:
        title: what they are, with the unit.
        low: value of the darkest colour.
        high: value of the brightest.
        colours: name of matplotlib's colour map.
    """

    title: str
    values: np.ndarray
    low: float
    high: float
    colours: str = 'magma'


def rms_difference(image: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Root of the mean over bands of squared differences: (C, h, w) twice -> (h, w)."""
    difference = image.astype(np.float64) - other
    return np.sqrt((difference * difference).mean(0))


def spectral_angle(image: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Angle between the spectra of each pixel in degrees, 0 where one is all zero: -> (h, w)."""
    a, b = image.astype(np.float64), other.astype(np.float64)
    norms = np.sqrt((a * a).sum(0) * (b * b).sum(0))
    cosine = (a * b).sum(0) / np.where(norms > 0, norms, 1)
    return np.where(norms > 0, np.degrees(np.arccos(np.clip(cosine, -1, 1))), 0)


def local_correlation(image: np.ndarray, pan: np.ndarray, size: int) -> np.ndarray:
    """Correlation of an image's mean band with PAN in the window around each pixel: -> (h, w).

    Args:
        image: (C, h, w).
        pan: (1, h, w).
        size: of the windows in pixels; at borders they are mirrored.
    Returns:
        From -1 to 1; NaN where one of the two is constant.
    """
    x, y = image.mean(0, dtype=np.float64), pan[0].astype(np.float64)
    x, y = x - x.mean(), y - y.mean()  # so that differences of squares keep their digits
    mean_x, mean_y, xx, yy, xy = (uniform_filter(v, size) for v in (x, y, x * x, y * y, x * y))
    variance = (xx - mean_x**2).clip(0) * (yy - mean_y**2).clip(0)
    tiny = 1e-12 * max(float(x.var() * y.var()), np.finfo(np.float64).tiny)
    with np.errstate(divide='ignore', invalid='ignore'):
        found = (xy - mean_x * mean_y) / np.sqrt(variance)
    return np.where(variance > tiny, found.clip(-1, 1), np.nan)


def error_maps(
    sharpened: np.ndarray,
    pan: np.ndarray,
    upsampled: np.ndarray,
    reference: np.ndarray | None,
    scale: float,
    inside: np.ndarray | None = None,
) -> list[Map]:
    """The maps of a window; the first is the one that stands for the error.

    With a reference: root mean squared error over bands, and spectral angle, against it. Without:
    difference to the upsampled MS, and local correlation with PAN.

    Args:
        sharpened: (C, h, w) in [0, 1]; the others likewise, PAN with one band.
        scale: the digital number that is 1.
        inside: (h, w) bool, where there is data; None for everywhere.
    """
    if reference is not None:
        found = [
            ('RMSE over bands, digital numbers', rms_difference(sharpened, reference) * scale),
            ('spectral angle to the reference, degrees', spectral_angle(sharpened, reference)),
        ]
    else:
        size = min(CORRELATION_WINDOW, *pan.shape[1:])
        found = [
            (
                'difference to the upsampled MS, RMS over bands, digital numbers',
                rms_difference(sharpened, upsampled) * scale,
            ),
            (
                f'correlation with PAN in windows of {size} pixels',
                local_correlation(sharpened, pan, size),
            ),
        ]
    maps = []
    for title, values in found:
        if inside is not None:
            values = np.where(inside, values, np.nan)
        known = finite(values)
        if title.startswith('correlation'):
            # Mostly near 1: what matters is how far it falls.
            low = np.floor(10 * np.percentile(known, 1)) / 10 if known.size else 0.0
            maps.append(Map(title, values, float(min(low, 0.9)), 1.0, 'viridis'))
        else:
            high = float(np.percentile(known, 99)) if known.size else 0.0
            maps.append(Map(title, values, 0.0, high or 1.0))
    return maps


def finite(values: np.ndarray) -> np.ndarray:
    """The values that are numbers, (n,)."""
    return values[np.isfinite(values)]


def coloured(shown: Map) -> Image.Image:
    """A map as a picture of its own size, grey where it has no values."""
    span = max(shown.high - shown.low, np.finfo(np.float32).tiny)
    scaled = (shown.values - shown.low) / span
    pixels = _colours(shown)(np.ma.masked_invalid(scaled), bytes=True)[..., :3]
    return Image.fromarray(np.ascontiguousarray(pixels))


def map_figure(maps: Sequence[Map], title: str) -> bytes:
    """Maps side by side with their scales, as a PNG."""
    height, width = maps[0].values.shape
    side, gap, bar, above = 5.8, 0.25, 0.9, 0.75  # in inches
    tall = min(max(side * height / width, 2.0), 12.0)
    whole = (gap + len(maps) * (side + bar), above + tall + gap)
    figure = _figure(*whole)
    for number, shown in enumerate(maps):
        left = gap + number * (side + bar)
        axes = figure.add_axes(_part(left, gap, side, tall, whole))
        image = axes.imshow(
            shown.values,
            cmap=_colours(shown),
            vmin=shown.low,
            vmax=shown.high,
            interpolation='nearest',
        )
        axes.set_title(shown.title, fontsize=10)
        axes.set_xticks([])
        axes.set_yticks([])
        beyond = 'max' if shown.low == 0 else 'min'
        scale = figure.add_axes(_part(left + side + 0.1, gap, 0.18, tall, whole))
        figure.colorbar(image, cax=scale, extend=beyond)
    figure.suptitle(title, fontsize=11)
    return _png(figure)


def histogram_figure(
    values: Mapping[str, np.ndarray], bands: Sequence[str], scale: float, title: str
) -> bytes:
    """How often each digital number occurs, band by band, as a PNG.

    Args:
        values: image -> (C, n) in [0, 1].
        bands: their names.
        scale: the digital number that is 1.
        title: above all.
    """
    across = min(len(bands), 4)
    down = -(-len(bands) // across)
    whole = (3.5 * across + 0.3, 2.6 * down + 0.9)
    figure = _figure(*whole)
    grid = np.array(
        [
            [
                figure.add_axes(
                    _part(0.55 + 3.5 * col, 0.9 + 2.6 * (down - 1 - row), 3.05, 1.95, whole)
                )
                for col in range(across)
            ]
            for row in range(down)
        ]
    )
    for axes in grid.flat[len(bands) :]:
        axes.set_axis_off()
    for band, (name, axes) in enumerate(zip(bands, grid.flat)):
        shown = {label: finite(image[band]) * scale for label, image in values.items()}
        joined = np.concatenate(list(shown.values()))
        low, high = np.percentile(joined, (0.1, 99.9)) if joined.size else (0.0, 1.0)
        edges = np.linspace(low, high if high > low else low + 1, 101)
        for label, numbers in shown.items():
            counts = np.histogram(numbers, edges)[0] / max(numbers.size, 1) * 100
            axes.stairs(counts, edges, label=label, linewidth=1.2, alpha=0.85)
        axes.set_title(name, fontsize=10)
        axes.tick_params(labelsize=8)
        axes.set_xlim(edges[0], edges[-1])
        if band % across == 0:
            axes.set_ylabel('% of pixels', fontsize=8)
        if band // across == down - 1 or band + across >= len(bands):
            axes.set_xlabel('digital number', fontsize=8)
    handles, labels = grid.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc='lower center', ncols=len(labels), fontsize=9)
    figure.suptitle(title, fontsize=11)
    return _png(figure)


def _figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure

    # Without pyplot, which would keep every figure and ask for a screen.
    return Figure(figsize=(width, height), dpi=100)


def _part(
    left: float, bottom: float, width: float, height: float, whole: tuple[float, float]
) -> tuple[float, float, float, float]:
    """A rectangle in inches as shares of the figure."""
    return left / whole[0], bottom / whole[1], width / whole[0], height / whole[1]


def _colours(shown: Map) -> Colormap:
    from matplotlib import colormaps

    return colormaps[shown.colours].with_extremes(bad=(0.5, 0.5, 0.5))


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format='png')
    return buffer.getvalue()
