"""Text on pictures."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["draw_label"]

FONT_SIZE = 13
PADDING = 5


def draw_label(
    picture: NDArray[np.uint8], text: str, anchor: tuple[int, int], rgb: tuple[int, int, int]
) -> None:
    """Draw a rounded label whose lower edge is centred on the anchor, shifted to stay inside, in place.

    Args:
        picture: (H, W, 3) uint8 RGB.
        text: One line.
        anchor: Pixel (x, y).
        rgb: Colour of the label; the text is black or white, whichever reads better.
    """
    from PIL import Image, ImageDraw

    font = _font(FONT_SIZE)
    width = int(font.getlength(text)) + 2 * PADDING + 1
    height = FONT_SIZE + 2 * PADDING - 2
    rows, columns = picture.shape[:2]
    x0 = int(np.clip(anchor[0] - width // 2, 0, max(columns - width, 0)))
    y0 = int(np.clip(anchor[1] - height, 0, max(rows - height, 0)))
    region = picture[y0 : y0 + height, x0 : x0 + width]
    label = Image.fromarray(region)
    draw = ImageDraw.Draw(label)
    draw.rounded_rectangle((0, 0, width - 1, height - 1), radius=5, fill=rgb)
    ink = (0, 0, 0) if np.dot(rgb, (0.299, 0.587, 0.114)) > 140 else (255, 255, 255)
    draw.text((PADDING, height / 2), text, fill=ink, font=font, anchor="lm")
    picture[y0 : y0 + height, x0 : x0 + width] = np.asarray(label)


@lru_cache(maxsize=4)
def _font(size: int) -> Any:
    from PIL import ImageFont

    return ImageFont.load_default(size)
