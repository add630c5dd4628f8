"""Embeds images in a page as WebP data URIs, each image once, within a budget of bytes."""

from __future__ import annotations

import base64
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image


class BudgetExceededError(Exception):
    """Raised when images take more bytes than the budget."""


@dataclass(frozen=True)
class ImageQuality:
    """Size and compression of embedded images.

    Attributes:
        webp: quality of WebP in per cent; None for lossless compression.
        crop: side of the central square that is kept, in pixels; None for the whole image.
        side: longest side, to which larger images are reduced; None for the original size.
    """

    webp: int | None = None
    crop: int | None = None
    side: int | None = None


class ImageEmbedder:
    """Collects the images of a page; files with equal content are embedded once.

    Args:
        quality: of the images.
        budget: bytes that all images may take; None for no limit.
        cache: data URIs by content and quality, to be shared by several attempts.

    Attributes:
        images: data URIs in the order of their numbers.
    """

    def __init__(
        self,
        quality: ImageQuality,
        budget: int | None = None,
        cache: dict[tuple[bytes, ImageQuality], str] | None = None,
    ) -> None:
        self.quality = quality
        self.budget = budget
        self.images: list[str] = []
        self._cache = {} if cache is None else cache
        self._numbers: dict[bytes, int] = {}

    def add(self, path: Path) -> int:
        """Add an image file; returns its number in `images`.

        Raises:
            BudgetExceededError: the images take more than the budget.
            OSError: the file is no image or cannot be read.
        """
        content = path.read_bytes()
        if content not in self._numbers:
            key = content, self.quality
            if key not in self._cache:
                self._cache[key] = encode_image(content, self.quality)
            self._numbers[content] = len(self.images)
            self.images.append(self._cache[key])
            if self.budget is not None and self.size > self.budget:
                raise BudgetExceededError
        return self._numbers[content]

    @property
    def size(self) -> int:
        """The bytes of all images."""
        return sum(map(len, self.images))


def encode_image(content: bytes, quality: ImageQuality) -> str:
    """Encode the content of an image file as a data URI.

    Raises:
        OSError: it is no image.
    """
    with Image.open(io.BytesIO(content)) as opened:
        image = opened.convert('RGB')
    if quality.crop is not None:
        left, top = (max(0, (side - quality.crop) // 2) for side in image.size)
        width, height = (min(side, quality.crop) for side in image.size)
        image = image.crop((left, top, left + width, top + height))
    if quality.side is not None:
        image.thumbnail((quality.side, quality.side))
    buffer = io.BytesIO()
    if quality.webp is None:
        image.save(buffer, 'webp', lossless=True, quality=40, method=2)
    else:
        image.save(buffer, 'webp', quality=quality.webp, method=4)
    return 'data:image/webp;base64,' + base64.b64encode(buffer.getvalue()).decode()


def to_script_json(data: Any) -> str:
    """Write data as JSON that may stand inside a script element."""
    return json.dumps(data, ensure_ascii=False).replace('<', '\\u003c')
