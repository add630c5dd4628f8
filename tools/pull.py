"""Runs `toolkit pull` in a checkout that is not installed."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from toolkit.cli import main

if __name__ == '__main__':
    sys.exit(main(['pull', *sys.argv[1:]]))
