"""Rules for output files: no input is overwritten, and a failure leaves no new file of several."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from toolkit.errors import ToolkitError


def check_outputs(
    outputs: Iterable[str | Path],
    inputs: Iterable[str | Path] = (),
    *,
    overwrite: bool = False,
    option: str = '--output',
) -> None:
    """Refuses outputs that would destroy an input or replace a file without being asked.

    Call it before any work. An output is an input if both lead to the same file: by another
    spelling, a symbolic link or a hard link.

    Args:
        outputs: every file that will be written.
        inputs: every file that is read, including files that are named inside others, such as the
            sources of a VRT.
        overwrite: whether existing files that are no inputs may be replaced.
        option: name of the command line option that names the output, for messages.
    Raises:
        ToolkitError: an output is an input, another output, a folder, or exists and `overwrite`
            is not set.
    """
    by_file = {_identify(Path(path)): Path(path) for path in inputs}
    seen: set[object] = set()
    for output in map(Path, outputs):
        file = _identify(output)
        path = by_file.get(file)
        if path is not None:
            same = '' if output == path else f', which is the input {path}'
            raise ToolkitError(
                f'the output {output}{same or " is an input"}: it would destroy the input; '
                f'choose another {option}'
            )
        if file in seen:
            raise ToolkitError(f'two outputs are the same file, {output}; choose another {option}')
        seen.add(file)
        if output.is_dir():
            raise ToolkitError(f'the output {output} is a folder; give the name of a file in it')
        if output.exists() and not overwrite:
            raise ToolkitError(
                f'{output} exists already; give --overwrite to replace it, or choose another '
                f'{option}'
            )


@contextlib.contextmanager
def write_all_or_none(outputs: Iterable[Path]) -> Iterator[None]:
    """Removes those of several outputs that are new where one cannot be written.

    Otherwise the same command could not be given again without --overwrite.

    Args:
        outputs: the files that are written inside the context.
    """
    new = [path for path in outputs if not path.exists()]
    try:
        yield
    except BaseException:
        for path in new:
            with contextlib.suppress(OSError):
                path.unlink()
        raise


def _identify(path: Path) -> tuple[int, int] | Path:
    """Returns a value that is equal for all paths of a file, which need not exist yet."""
    try:
        status = path.stat()
    except OSError:
        return path.resolve()
    return status.st_dev, status.st_ino  # equal for hard links too
