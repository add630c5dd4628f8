"""`python -m toolkit` is the `toolkit` command."""

import sys
from pathlib import Path

import toolkit

# Python puts the working folder first. A `plugins` package in it must not hide the project's own.
root = Path(toolkit.__file__).resolve().parents[1]
if sys.path and Path(sys.path[0]).resolve() == Path.cwd() != root:
    sys.path.append(sys.path.pop(0))

from toolkit.cli import main  # noqa: E402

sys.exit(main())
