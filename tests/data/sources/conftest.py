"""What tests of folders of images need."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def put_image() -> Callable[..., Path]:
    """Return what writes an image of one value, or of given pixels, and makes its folder."""

    def put(path: Path, value: object = 0, size: tuple[int, int] = (4, 3), mode: str = "RGB") -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(value, np.ndarray):
            Image.fromarray(value).save(path)
        else:
            Image.new(mode, size[::-1], (value,) * 3 if mode == "RGB" else value).save(path)  # type: ignore[arg-type]
        return path

    return put


@pytest.fixture
def photos(tmp_path: Path, put_image: Callable[..., Path]) -> Path:
    """Return a folder with train/ and test/: three cats and two dogs, one of each for the test."""
    folder = tmp_path / "photos"
    for number in range(3):
        put_image(folder / "train" / "cat" / f"{number}.png", 10 + number)
    for number in range(2):
        put_image(folder / "train" / "dog" / f"{number}.png", 20 + number)
    put_image(folder / "test" / "cat" / "0.png", 30)
    put_image(folder / "test" / "dog" / "0.png", 40)
    return folder
