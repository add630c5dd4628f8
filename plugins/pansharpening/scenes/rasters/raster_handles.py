"""Open rasters, kept from one window to the next and lent to one thread at a time."""

from __future__ import annotations

import contextlib
import os
import threading
import warnings
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rasterio._err import CPLE_BaseError  # errors that rasterio passes on as they are
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.io import MemoryFile

from plugins.pansharpening.scenes.rasters.raster_names import (
    RasterName,
    describe_state,
    open_by_name,
)
from toolkit.errors import DataError

# By default GDAL caches blocks in 5 % of the memory, which reading by windows does not need.
os.environ.setdefault('GDAL_CACHEMAX', '64')


@contextmanager
def allow_no_georeference() -> Iterator[None]:
    """Suppresses rasterio's warnings about images without georeference."""
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', NotGeoreferencedWarning)
        yield


@contextmanager
def open_raster(path: RasterName, outside: bool = False) -> Iterator[Any]:
    """Opens a raster for reading, for one thread at a time; see `open_by_name`.

    A few files stay open for the next window, until they change.

    Raises:
        DataError: it cannot be opened, or reading fails.
    """
    try:
        with _HANDLES.lend(path, outside) as raster:
            yield raster
    except UnicodeEncodeError as error:
        raise DataError(
            f'{str(path)!r} cannot be read: its name is no text in UTF-8; rename it'
        ) from error
    except (OSError, MemoryError, RasterioError, CPLE_BaseError) as error:
        cause = f'{error.__cause__ or error}'.splitlines()[0]
        _forget_error()
        raise DataError(f'{path} cannot be read: {cause}; it may be cut or no raster') from error


def _forget_error() -> None:
    """Clears GDAL's last error of this thread, for which rasterio would blame the next raster."""
    options = {'driver': 'GTiff', 'width': 1, 'height': 1, 'count': 1, 'dtype': 'uint8'}
    with contextlib.ExitStack() as stack:
        stack.enter_context(allow_no_georeference())
        stack.enter_context(contextlib.suppress(CPLE_BaseError, RasterioError))
        raster = stack.enter_context(stack.enter_context(MemoryFile()).open(**options))
        # Reading a colour interpretation raises the error that is kept, and clears it.
        _ = raster.colorinterp


class _Handles:
    """Open rasters of this process.

    A GDAL handle serves one thread at a time, and must not cross into a data loader's process.
    """

    MOST = 32

    def __init__(self) -> None:
        self._process = os.getpid()
        self._guard = threading.Lock()
        self._open: OrderedDict[RasterName, tuple[tuple[int, ...], Any, threading.RLock]] = (
            OrderedDict()
        )

    @contextmanager
    def lend(self, path: RasterName, outside: bool) -> Iterator[Any]:
        raster, lock = self._find(path, outside)
        with lock:
            yield raster

    def _find(self, path: RasterName, outside: bool) -> tuple[Any, threading.RLock]:
        state = (*describe_state(path), outside)
        if self._process != os.getpid():
            # The parent's handles are its own: forgotten here, not closed.
            _FORGOTTEN.append(self._open)
            self.__init__()
        with self._guard:
            known = self._open.pop(path, None)
            if known is None or known[0] != state:
                with allow_no_georeference():
                    known = (state, open_by_name(path, outside), threading.RLock())
            self._open[path] = known
            while len(self._open) > self.MOST:
                # Closed once nobody reads from it any more.
                self._open.popitem(last=False)
            return known[1], known[2]


_FORGOTTEN: list[Any] = []
_HANDLES = _Handles()
