"""Error maps of a sharpened image, and histograms of its bands.

matplotlib draws the figures; it is imported when a figure is drawn.
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

# Side of the windows of local correlation, as in the usual quality indices.
CORRELATION_WINDOW = 32


class ErrorMap(NamedTuple):
    """Values per pixel, and the colours to show them with.

    Attributes:
        title: of the values, with the unit.
        values: (h, w), NaN for pixels without a value.
        low: value of the darkest colour.
        high: value of the brightest.
        colours: name of matplotlib's colour map.
    """

    title: str
    values: np.ndarray
    low: float
    high: float
    colours: str = 'magma'


def compute_rms_difference(image: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Computes the root mean squared difference over bands: (C, h, w) twice -> (h, w)."""
    difference = image.astype(np.float64) - other
    return np.sqrt((difference * difference).mean(0))


def compute_spectral_angle(image: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Computes the angle between spectra in degrees, 0 for spectra of zeros: -> (h, w)."""
    a, b = image.astype(np.float64), other.astype(np.float64)
    norms = np.sqrt((a * a).sum(0) * (b * b).sum(0))
    cosine = (a * b).sum(0) / np.where(norms > 0, norms, 1)
    return np.where(norms > 0, np.degrees(np.arccos(np.clip(cosine, -1, 1))), 0)


def correlate_locally(
    image: np.ndarray, pan: np.ndarray, size: int, valid: np.ndarray | None = None
) -> np.ndarray:
    """Correlates an image's mean band with PAN in the window around each pixel: -> (h, w).

    Args:
        image: (C, h, w).
        pan: (1, h, w).
        size: of the windows in pixels; images are mirrored at borders.
        valid: (h, w) bool, the pixels that count; None for all.
    Returns:
        From -1 to 1; NaN if one of the two is constant.
    """
    x, y = image.mean(0, dtype=np.float64), pan[0].astype(np.float64)
    weight = np.ones_like(x) if valid is None or not valid.any() else valid.astype(np.float64)
    # Centred, against cancellation in differences of squares.
    x, y = (weight * (v - np.average(v, weights=weight)) for v in (x, y))
    share = uniform_filter(weight, size).clip(0.5 / size**2)  # of the pixels that count
    mean_x, mean_y, xx, yy, xy = (
        uniform_filter(v, size) / share for v in (x, y, x * x, y * y, x * y)
    )
    variance = (xx - mean_x**2).clip(0) * (yy - mean_y**2).clip(0)
    tiny = 1e-12 * max(float(x.var() * y.var()), np.finfo(np.float64).tiny)
    with np.errstate(divide='ignore', invalid='ignore'):
        found = (xy - mean_x * mean_y) / np.sqrt(variance)
    return np.where(variance > tiny, found.clip(-1, 1), np.nan)


def compute_error_maps(
    sharpened: np.ndarray,
    pan: np.ndarray,
    upsampled: np.ndarray,
    reference: np.ndarray | None,
    scale: float,
    valid: np.ndarray | None = None,
) -> list[ErrorMap]:
    """Computes two maps of a window, the error first.

    With a reference: root mean squared error over bands, and spectral angle. Without one:
    difference to the upsampled MS, and local correlation with PAN.

    Args:
        sharpened: (C, h, w) in [0, 1]; the others likewise, PAN with one band.
        scale: the digital number of the value 1.
        valid: (h, w) bool; None if all pixels are valid.
    """
    if reference is not None:
        found = [
            (
                'RMSE over bands, digital numbers',
                compute_rms_difference(sharpened, reference) * scale,
            ),
            (
                'spectral angle to the reference, degrees',
                compute_spectral_angle(sharpened, reference),
            ),
        ]
    else:
        size = min(CORRELATION_WINDOW, *pan.shape[1:])
        found = [
            (
                'difference to the upsampled MS, RMS over bands, digital numbers',
                compute_rms_difference(sharpened, upsampled) * scale,
            ),
            (
                f'correlation with PAN in windows of {size} pixels',
                correlate_locally(sharpened, pan, size, valid),
            ),
        ]
    maps = []
    for title, values in found:
        if valid is not None:
            values = np.where(valid, values, np.nan)
        known = select_finite(values)
        if title.startswith('correlation'):
            # Mostly near 1: the scale shows how far it falls.
            low = np.floor(10 * np.percentile(known, 1)) / 10 if known.size else 0.0
            maps.append(ErrorMap(title, values, float(min(low, 0.9)), 1.0, 'viridis'))
        else:
            high = float(np.percentile(known, 99)) if known.size else 0.0
            maps.append(ErrorMap(title, values, 0.0, high or 1.0))
    return maps


def select_finite(values: np.ndarray) -> np.ndarray:
    """Selects the finite values, (n,)."""
    return values[np.isfinite(values)]


def paint_map(shown: ErrorMap) -> Image.Image:
    """Paints a map pixel by pixel, in grey for pixels without a value."""
    span = max(shown.high - shown.low, np.finfo(np.float32).tiny)
    scaled = (shown.values - shown.low) / span
    pixels = _get_colormap(shown)(np.ma.masked_invalid(scaled), bytes=True)[..., :3]
    return Image.fromarray(np.ascontiguousarray(pixels))


def draw_maps(maps: Sequence[ErrorMap], title: str) -> bytes:
    """Draws maps side by side with their scales, as a PNG."""
    height, width = maps[0].values.shape
    side, gap, bar, above = 5.8, 0.25, 0.9, 0.75  # in inches
    tall = min(max(side * height / width, 2.0), 12.0)
    whole = (gap + len(maps) * (side + bar), above + tall + gap)
    figure = _make_figure(*whole)
    for number, shown in enumerate(maps):
        left = gap + number * (side + bar)
        axes = figure.add_axes(_to_shares(left, gap, side, tall, whole))
        image = axes.imshow(
            shown.values,
            cmap=_get_colormap(shown),
            vmin=shown.low,
            vmax=shown.high,
            interpolation='nearest',
        )
        axes.set_title(shown.title, fontsize=10)
        axes.set_xticks([])
        axes.set_yticks([])
        beyond = 'max' if shown.low == 0 else 'min'
        scale = figure.add_axes(_to_shares(left + side + 0.1, gap, 0.18, tall, whole))
        figure.colorbar(image, cax=scale, extend=beyond)
    figure.suptitle(title, fontsize=11)
    return _encode_png(figure)


def draw_histograms(
    values: Mapping[str, np.ndarray], bands: Sequence[str], scale: float, title: str
) -> bytes:
    """Draws histograms of the digital numbers, band by band, as a PNG.

    Args:
        values: image -> (C, n) in [0, 1].
        bands: their names.
        scale: the digital number of the value 1.
        title: of the figure.
    """
    across = min(len(bands), 4)
    down = -(-len(bands) // across)
    whole = (3.5 * across + 0.3, 2.6 * down + 0.9)
    figure = _make_figure(*whole)
    grid = np.array(
        [
            [
                figure.add_axes(
                    _to_shares(0.55 + 3.5 * col, 0.9 + 2.6 * (down - 1 - row), 3.05, 1.95, whole)
                )
                for col in range(across)
            ]
            for row in range(down)
        ]
    )
    for axes in grid.flat[len(bands) :]:
        axes.set_axis_off()
    for band, (name, axes) in enumerate(zip(bands, grid.flat)):
        shown = {label: select_finite(image[band]) * scale for label, image in values.items()}
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
    return _encode_png(figure)


def _make_figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure

    # Without pyplot, which keeps every figure and needs a screen.
    return Figure(figsize=(width, height), dpi=100)


def _to_shares(
    left: float, bottom: float, width: float, height: float, whole: tuple[float, float]
) -> tuple[float, float, float, float]:
    """Converts a rectangle in inches to shares of the figure."""
    return left / whole[0], bottom / whole[1], width / whole[0], height / whole[1]


def _get_colormap(shown: ErrorMap) -> Colormap:
    from matplotlib import colormaps

    return colormaps[shown.colours].with_extremes(bad=(0.5, 0.5, 0.5))


def _encode_png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format='png')
    return buffer.getvalue()
