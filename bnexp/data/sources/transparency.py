"""Compose a transparent image on a background, and tell what is lost there."""

from typing import Any

import numpy as np
from PIL import Image

BACKGROUNDS = {"white": 255, "black": 0, "gray": 128}
"""What transparent pixels can be composed on, and its value in each channel."""
LOST_CONTRAST, SEEN_CONTRAST = 0.1, 4.0
"""An image is lost on a background where it keeps less than a tenth of the contrast it has on another, there over 4."""
LOST_OUTLINE, SAME_COLOR = 0.2, 8
"""Part of the outline of what is visible, and levels of 255 by which what cannot be seen differs at most."""
FADED, FAINT = "with an outline in the color of the background", "without a pixel that is half opaque"
"""What is said of an image of which the background hides shapes beside others, and of one that fades whole."""

Array = np.ndarray[Any, np.dtype[Any]]


def composed(image: Image.Image, alpha: Array, background: str) -> tuple[Image.Image, tuple[str, ...], list[str]]:
    """Return an image on a background, color * alpha + background * (1 - alpha), where it would be lost, and faults.

    Args:
        image: of mode L or RGB.
        alpha: its opacity 0 .. 255, (H, W).
        background: a name in `BACKGROUNDS`.
    """
    color = np.asarray(image).astype(np.int64)
    opacity = alpha.astype(np.int64)
    brightness = color.mean(axis=2) if color.ndim == 3 else color
    contrasts = {
        name: (brightness * opacity + level * (255 - opacity)).std() / 255 for name, level in BACKGROUNDS.items()
    }
    most, level = max(contrasts.values()), BACKGROUNDS[background]
    lost_on = tuple(name for name, contrast in contrasts.items() if contrast < LOST_CONTRAST * most)
    lost_on = lost_on if most > SEEN_CONTRAST else ()
    weights = opacity[:, :, np.newaxis] if color.ndim == 3 else opacity
    mixed = (2 * (color * weights + level * (255 - weights)) + 255) // 510
    visible = opacity >= 128
    faults = [] if visible.any() else [FAINT]
    faults += [FADED] * (background not in lost_on and _is_faded(color, visible, level))
    return Image.fromarray(mixed.astype(np.uint8)), lost_on, faults


def _is_faded(color: Array, visible: Array, level: int) -> bool:
    """Tell whether much of what divides visible pixels from hidden ones divides two of the same color."""
    same = np.abs(color - level) <= SAME_COLOR
    hidden = visible & (same.all(axis=2) if same.ndim == 3 else same)
    outline = [visible[1:] != visible[:-1], visible[:, 1:] != visible[:, :-1]]
    lost = [outline[0] & (hidden[1:] | hidden[:-1]), outline[1] & (hidden[:, 1:] | hidden[:, :-1])]
    return bool(sum(edge.sum() for edge in lost) > LOST_OUTLINE * sum(edge.sum() for edge in outline))
