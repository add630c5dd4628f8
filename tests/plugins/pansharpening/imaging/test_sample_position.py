"""MS samples that are read where the upsampling does not take them to be are said."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from plugins.pansharpening.imaging.sample_position import describe_misplacement


@pytest.mark.parametrize(
    ('samples', 'upsampling', 'ratio', 'words'),
    [
        ('centre', 'interp23tap', 4, 'too low and too far to the right; leave `samples` out'),
        ('interp23tap', 'bicubic', 4, 'too high and too far to the left; set samples: centre'),
        ('centre', 'bicubic', 4, None),
        ('interp23tap', 'interp23tap', 2, None),
        ('centre', 'interp23tap', 3, None),  # a pixel lies at the centre
        (None, 'interp23tap', 4, None),  # nothing says where they are
    ],
)
def test_only_what_does_not_go_together_is_said(samples, upsampling, ratio, words) -> None:
    scene = SimpleNamespace(name='s.tif', samples=samples)
    line = describe_misplacement(scene, upsampling, ratio)
    assert line is None if words is None else words in line
