"""Images in a folder, at two resolutions."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from toolkit.errors import DataError
from toolkit.interfaces import Dataset, Identities
from toolkit.io.verification.hashing import hash_files
from toolkit.registry import DATASETS


def read_image(path: Path) -> Tensor:
    """Reads an image (3, H, W), float32 in [0, 1]."""
    try:
        with Image.open(path) as image:
            return torch.from_numpy(np.array(image.convert('RGB'))).permute(2, 0, 1) / 255
    except OSError as error:
        raise DataError(f'{path} cannot be read as an image: {error}') from error


@DATASETS.register
class ImagePairs(Dataset):
    """Images of a folder, and the same `scale` times smaller.

    Args:
        folder: of PNG files; those of the test lie in another one.
        scale: fine pixels per coarse pixel.
        size: side of random patches in fine pixels; None for the largest square.
    """

    def __init__(self, folder: str, scale: int = 2, size: int | None = None) -> None:
        self.scale, self.size = scale, size
        self.files = sorted(Path(folder).glob('*.png'))
        if not self.files:
            raise DataError(f'{folder} holds no PNG files; draw some with draw.py')

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> dict[str, Any]:
        fine = read_image(self.files[index])
        size = self.size or min(fine.shape[1:]) // self.scale * self.scale
        top, left = (int(torch.randint(side - size + 1, ())) for side in fine.shape[1:])
        fine = fine[:, top : top + size, left : left + size]  # (3, size, size)
        coarse = F.interpolate(fine[None], scale_factor=1 / self.scale, mode='area')[0]
        return {'coarse': coarse, 'fine': fine, 'meta': {'item': self.files[index].stem}}

    def identities(self, content: bool = True) -> dict[str, Identities]:
        """The content of the files, so that no image of the test is trained on."""
        return {'image': Identities({hash_files(file): str(file) for file in self.files})}
