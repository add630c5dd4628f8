"""Metrics, images and files of super-resolution."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch import Tensor

from toolkit.errors import ToolkitError
from toolkit.interfaces import Batch, Metric, PredictOptions, Predictor, System, Visualizer
from toolkit.io.output_path import check_outputs
from toolkit.registry import METRICS, PREDICTORS, VISUALIZERS
from toolkit.report.run_images import write_item_images

from .data import read_image
from .system import Bicubic

FLIPS: tuple[tuple[int, ...], ...] = ((), (2,), (3,), (2, 3))


def to_array(image: Tensor) -> np.ndarray:
    """Converts an image (3, H, W) in [0, 1] to (H, W, 3) of 8 bits."""
    return (image.detach().float().clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy()


@METRICS.register
class Fidelity(Metric):
    """PSNR in dB and SSIM of the predicted image, both of 8 bits."""

    directions: ClassVar[dict[str, bool]] = {'PSNR': True, 'SSIM': True}

    def measure(self, outputs: Any, batch: Batch) -> list[dict[str, Any]]:
        rows = []
        for target, image in zip(map(to_array, batch['fine']), map(to_array, outputs['image'])):
            ssim = float(structural_similarity(target, image, channel_axis=2))
            rows.append({'PSNR': float(peak_signal_noise_ratio(target, image)), 'SSIM': ssim})
        return rows


@VISUALIZERS.register
class ResolutionImages(Visualizer):
    """Writes target, interpolated and predicted image for the swipe of reports."""

    system = Bicubic

    def write_images(self, system: Any, outputs: Any, batch: Batch, *place: Any) -> None:
        index, folder, stem = place
        images = {'target': batch['fine'], 'bicubic': Bicubic.tensor(system, batch)}
        images['result'] = outputs['image']
        arrays = {name: to_array(image[index]) for name, image in images.items()}
        write_item_images(folder, stem, batch['meta'][index]['item'], arrays, 'result')


@PREDICTORS.register
class Enlarger(Predictor):
    """Enlarges an image file (--input) to a PNG (--output)."""

    system = Bicubic

    @classmethod
    def add_arguments(cls, parser: argparse._ArgumentGroup) -> None:
        parser.add_argument('--flips', action='store_true', help='mean over mirror images')

    def predict(
        self, system: System, inputs: Sequence[str], output: Path, options: PredictOptions
    ) -> list[Path]:
        if len(inputs) != 1:
            raise ToolkitError(f'give one image: --input FILE; found {len(inputs)}')
        check_outputs([output], inputs, overwrite=options.overwrite)
        image = self.predict_in_memory(
            system, options, read_image(Path(inputs[0])), flips=options.arguments.flips
        )
        Image.fromarray(to_array(image)).save(output, 'PNG')
        return [output]

    def predict_in_memory(
        self, system: System, options: PredictOptions, image: Tensor, flips: bool = False
    ) -> Tensor:
        """Enlarges an image (3, h, w) in [0, 1]."""
        coarse, found = image[None].to(options.device), []
        for axes in FLIPS if flips else FLIPS[:1]:
            with torch.no_grad(), options.autocast():
                outputs = system({'coarse': coarse.flip(axes)}, mode='predict')
            found.append(outputs['image'].float().flip(axes)[0])
        return torch.stack(found).mean(0)  # (3, scale h, scale w)
