"""Arguments of the command line that say what the files of a scene do not."""

from __future__ import annotations

import argparse
from typing import Any

# Arguments of scenes that `add_scene_arguments` declares.
NAMES = ('bands', 'ms_key', 'pan_key', 'channels_last', 'outside')


def add_scene_arguments(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """Declares the arguments."""
    add = parser.add_argument
    add(
        '--bands',
        type=_parse_bands,
        metavar='N,N,...',
        help='bands of the MS to use, from 1, in the order of the sensor, such as 3,2,1,4; '
        'overrules colour interpretations',
    )
    add('--ms-key', metavar='NAME', help='of the MS in a .mat or .npz (I_MS, ms)')
    add('--pan-key', metavar='NAME', help='of the PAN in a .mat or .npz (I_PAN, pan)')
    add('--channels-last', action='store_true', help='the MS of .npy or .npz is (h, w, bands)')
    add(
        '--outside',
        action='store_true',
        help='a VRT may name files outside its folder and on the network',
    )


def get_scene_options(arguments: argparse.Namespace) -> dict[str, Any]:
    """Returns the arguments that were given, by the names of `make_scene_config`."""
    found = {name: getattr(arguments, name, None) for name in NAMES}
    return {name: value for name, value in found.items() if value not in (None, False)}


def _parse_bands(text: str) -> list[int]:
    numbers = [part.strip() for part in text.split(',')]
    if not all(number.isdecimal() and int(number) > 0 for number in numbers):
        raise argparse.ArgumentTypeError(f'expected numbers from 1 such as 3,2,1,4, found {text!r}')
    return [int(number) for number in numbers]
