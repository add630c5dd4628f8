"""A scene whose images lie on a device, for patches that are cut without the CPU."""

from __future__ import annotations

import torch

from plugins.pansharpening.data.whole_scenes import Sample
from plugins.pansharpening.scenes.continuation import MS_SLOPE
from plugins.pansharpening.scenes.scene import Scene
from plugins.pansharpening.scenes.window import Window, read_around


class SceneOnDevice:
    """Images of a scene on a device, padded by the margin that patches need.

    Args:
        scene: scene without mask.
        margin: PAN pixels around a patch.
        context: MS pixels around a patch.
        device: that holds the images.
    """

    def __init__(self, scene: Scene, margin: int, context: int, device: torch.device) -> None:
        fine = {'pan': scene.read_pan}
        if scene.has_reference:
            fine['hrms'] = scene.read_reference
        whole = Window(0, 0, *scene.pan_shape)
        images = {
            'lrms_context': read_around(
                scene.read_ms, Window(0, 0, *scene.ms_shape), context, scene.ms_shape, MS_SLOPE
            ),
            **{key: read_around(read, whole, margin, whole[2:]) for key, read in fine.items()},
        }
        self._images = {key: torch.from_numpy(image).to(device) for key, image in images.items()}
        self._margins = dict.fromkeys(fine, margin) | {'lrms_context': context}

    def cut(self, window: Window, fine: Window) -> Sample:
        """Returns views of a window and its margin."""
        sample = {}
        for key, image in self._images.items():
            row, col, height, width = window if key == 'lrms_context' else fine
            around = 2 * self._margins[key]
            sample[key] = image[:, row : row + height + around, col : col + width + around]
        return sample
