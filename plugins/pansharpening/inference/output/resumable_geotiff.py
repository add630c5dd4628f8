"""Resumable GeoTIFF: written window by window, continued after a kill."""

from __future__ import annotations

import contextlib
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from filelock import FileLock
from rasterio.errors import RasterioError

from plugins.pansharpening.inference.output.digital_numbers import DigitalNumbers
from plugins.pansharpening.inference.output.raster_format import BLOCK, RasterFormat
from plugins.pansharpening.scenes.rasters.raster_handles import allow_no_georeference
from plugins.pansharpening.scenes.window import Window
from toolkit.errors import RunError, ToolkitError
from toolkit.io.file_lock import remove_lock, try_lock
from toolkit.io.json_values import parse_json

# Seconds of work that a kill may cost.
CHECKPOINT = 10.0


class UnwrittenError(RunError):
    """An output could not be written; its finished windows are kept."""


class GrowingFile:
    """A GeoTIFF under a temporary name, beside a list of its finished windows.

    The list is written after the file, so that it never names a window that the file lacks.
    Another process that opens the same output is refused.

    Args:
        path: path of the finished file.
        extent: part of the scene that it covers.
        layout: format of the file.
        identity: hash of everything that its pixels depend on; windows with another hash are
            discarded.
    Raises:
        ToolkitError: another process writes it.
        RunError: it cannot be written.

    Attributes:
        done: for each window of the scene that is in the file and the list, the numbers of clipped
            and of all values.
    """

    def __init__(self, path: Path, extent: Window, layout: RasterFormat, identity: str) -> None:
        self.path, self.extent, self.layout = path, extent, layout
        self.partial = path.with_name(f'.{path.stem}.partial{path.suffix}')
        self.list = path.with_name(f'.{path.stem}.partial.json')
        self._dataset: Any = None
        self._fresh: dict[Window, tuple[int, int]] = {}
        self._since = time.monotonic()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = try_lock(path.with_name(f'.{path.stem}.partial.lock'))
        except OSError as error:
            raise RunError(f'cannot write {path}: {error.strerror}') from error
        if lock is None:
            raise ToolkitError(
                f'another process is writing {path}; wait for it, or choose another output'
            )
        self._lock: FileLock | None = lock
        try:
            self._file = open(self.list, 'a+', encoding='utf-8')  # noqa: SIM115 (see close)
        except OSError as error:
            self._release()
            raise RunError(f'cannot write {path}: {error.strerror}') from error
        try:
            self.done = self._previous(identity)
            self._open(new=not self.done)
            if not self.done:
                self._begin(identity)
        except BaseException:
            self.close()
            raise

    def write(self, window: Window, numbers: DigitalNumbers) -> None:
        """Writes a window of the scene; not from several threads at once.

        Raises:
            RunError: the disk is full, or the file cannot be written.
        """
        place = window.relative_to(self.extent).raster_window
        with self._said():
            self._dataset.write(numbers.values, window=place)
            if self.layout.masked:
                valid = np.ones(window.shape, bool) if numbers.valid is None else numbers.valid
                self._dataset.write_mask(valid, window=place)
        self._fresh[window] = numbers.clipped, numbers.count
        if time.monotonic() - self._since > CHECKPOINT:
            self.checkpoint()
            self._open()

    def checkpoint(self) -> None:
        """Flushes the written windows, checks that the file has them, and adds them to the list."""
        dataset, self._dataset = self._dataset, None
        with self._said():
            dataset.close()
            for window in self._fresh:
                check_blocks(self.partial, window.relative_to(self.extent))
            lines = ''.join(
                f'{json.dumps([*key, *counts])}\n' for key, counts in self._fresh.items()
            )
            self._file.write(lines)
            self._file.flush()
        self.done.update(self._fresh)
        self._fresh.clear()
        self._since = time.monotonic()

    def finish(self) -> Path:
        """Renames the file to its final name, which it returns."""
        self.checkpoint()
        with self._said():
            self.partial.replace(self.path)
            self.list.unlink()
        self.close()
        return self.path

    def discard(self) -> None:
        """Removes all temporary files."""
        self._close_files()
        for file in (self.partial, self.list):
            file.unlink(missing_ok=True)
        self._release()

    def close(self) -> None:
        """Closes the files; the windows in the list are kept for another run."""
        self._close_files()
        self._release()

    def _close_files(self) -> None:
        if self._dataset is not None:
            with contextlib.suppress(RasterioError):
                self._dataset.close()
            self._dataset = None
        with contextlib.suppress(OSError):  # what did not fit is tried again; it was said before
            self._file.close()

    def _release(self) -> None:
        if self._lock is not None:
            remove_lock(self._lock)
            self._lock = None

    @property
    def counts(self) -> tuple[int, int]:
        """Numbers of clipped and of all values in the windows so far."""
        found = [*self.done.values(), *self._fresh.values()]
        return sum(clipped for clipped, _ in found), sum(count for _, count in found)

    def _previous(self, identity: str) -> dict[Window, tuple[int, int]]:
        self._file.seek(0)
        # A kill or a full disk leaves a line without an end, or with another one behind it.
        first, *lines = self._file.read().split('\n')[:-1] or ['']
        if first != json.dumps({'identity': identity}) or not self.partial.is_file():
            return {}
        found, size = {}, len(first) + 1
        for line in lines:
            try:
                row = parse_json(line)
            except ValueError:
                break
            found[Window(*row[:4])] = row[4], row[5]
            size += len(line) + 1
        self._file.truncate(size)  # otherwise the next line would follow what is broken
        return found

    def _begin(self, identity: str) -> None:
        with self._said():
            self._file.truncate(0)
            self._file.write(json.dumps({'identity': identity}) + '\n')
            self._file.flush()

    def _open(self, new: bool = False) -> None:
        with self._said():
            if new:
                profile = self.layout.profile(self.extent)
                self._dataset = rasterio.open(self.partial, 'w', **profile)
                self.layout.describe(self._dataset, self.extent)
            else:
                self._dataset = rasterio.open(self.partial, 'r+', **self.layout.levels)

    @contextlib.contextmanager
    def _said(self) -> Any:
        try:
            # A mask in a file of its own would be lost when the GeoTIFF is moved.
            with allow_no_georeference(), rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
                yield
        except (OSError, RasterioError) as error:
            cause = getattr(error, 'strerror', None) or error.__cause__ or error
            raise UnwrittenError(
                f'cannot write {self.path}: {cause}. What is finished is kept; make room and give '
                'the same command again to go on'
            ) from error


def check_blocks(path: Path, window: Window) -> None:
    """Checks that a file has all blocks of a window.

    GDAL raises no error for blocks that it cannot write as it closes a file.

    Raises:
        OSError: a block is missing.
    """
    size = path.stat().st_size
    with rasterio.open(path) as raster:
        for block in window.blocks(BLOCK):
            row, col = block.row // BLOCK, block.col // BLOCK
            offset, length = (
                raster.get_tag_item(f'BLOCK_{tag}_{col}_{row}', 'TIFF', 1)
                for tag in ('OFFSET', 'SIZE')
            )
            if offset is None or int(offset) + int(length) > size:
                raise OSError('what was written is not in the file; is the disk full?')
