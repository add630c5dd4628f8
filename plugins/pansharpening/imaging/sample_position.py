"""Positions of MS samples: those that a scene is read with, and those that an upsampling takes."""

from __future__ import annotations

from typing import Any


def describe_misplacement(scene: Any, upsampling: str, ratio: int) -> str | None:
    """Says that an upsampling takes the MS samples of a scene half a PAN pixel off; else None.

    Args:
        scene: a scene that may tell by `samples` where its MS samples are read.
        upsampling: method of upsampling.
        ratio: PAN pixels per MS pixel; odd ones have a pixel at the centre.
    """
    samples = getattr(scene, 'samples', None)
    if samples is None or ratio % 2 or (samples == 'interp23tap') == (upsampling == 'interp23tap'):
        return None
    if samples == 'centre':
        return (
            f'{scene.name}: its MS samples are read at the centres of their PAN pixels (samples: '
            'centre), and interp23tap takes them half a PAN pixel below and right of that: colours '
            'come out half a PAN pixel too low and too far to the right; leave `samples` out, or '
            'set model.upsample=bicubic'
        )
    return (
        f'{scene.name}: its MS samples are read where interp23tap takes them to be (samples: '
        f'interp23tap), and {upsampling} takes them half a PAN pixel above and left of that: '
        'colours come out half a PAN pixel too high and too far to the left; set samples: centre, '
        'or model.upsample=interp23tap'
    )
