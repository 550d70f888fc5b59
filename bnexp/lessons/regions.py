"""Which values of a batch share a mean and a variance, as a picture: one input, normalized in several ways."""

from collections.abc import Callable, Mapping
from string import ascii_lowercase, ascii_uppercase

from bnexp.document.lesson import Regions

Statistic = Callable[[int, int], int]
"""The number of the statistic that a value belongs to, of its example and its channel (both from 0)."""

MOST_EXAMPLES, MOST_FEATURES = 6, 8
"""A matrix that is larger than this is drawn as one of this size."""
_LETTERS = ascii_uppercase + ascii_lowercase


def of_batch(example: int, channel: int) -> int:
    """Batch normalization: a statistic per channel, over all examples."""
    return channel


def of_example(example: int, channel: int) -> int:
    """Layer and RMS normalization: a statistic per example, over all channels."""
    return example


def of_group(channels: int, groups: int) -> Statistic:
    """Group normalization: a statistic per example and group; with a group per channel, instance normalization."""
    return lambda example, channel: example * groups + channel * groups // channels


def matrix_regions(key: str, examples: int, features: int, norms: Mapping[str, Statistic]) -> Regions:
    """Return the picture of a matrix (B, F): a row per example, a letter per feature, a block per normalization."""
    rows, columns = min(examples, MOST_EXAMPLES), min(features, MOST_FEATURES)
    smaller = "" if (rows, columns) == (examples, features) else f", drawn for {rows} examples of {columns} features"
    blocks = [
        (
            name,
            [
                (f"example {row + 1}", [_LETTERS[statistic(row, column)] for column in range(columns)])
                for row in range(rows)
            ],
        )
        for name, statistic in norms.items()
    ]
    values = {name: _values(statistic, rows, columns) for name, statistic in norms.items()}
    return Regions(key, f"equal letters share their statistics{smaller}", blocks, values)


def image_regions(key: str, shape: tuple[int, int, int, int], norms: Mapping[str, Statistic]) -> Regions:
    """Return the picture of images (N, C, H, W): a row per channel, a letter per position, a block per norm."""
    images, channels, height, width = shape
    positions = height * width
    blocks = [
        (
            name,
            [
                (f"image {image + 1}, channel {channel + 1}", [_LETTERS[statistic(image, channel)]] * positions)
                for image in range(images)
                for channel in range(channels)
            ],
        )
        for name, statistic in norms.items()
    ]
    values = {name: positions * _values(statistic, images, channels) for name, statistic in norms.items()}
    return Regions(
        key, f"equal letters share their statistics, a letter per position ({height} x {width})", blocks, values
    )


def _values(statistic: Statistic, examples: int, channels: int) -> int:
    """Return how many pairs of example and channel share the first statistic; every other one has as many."""
    return sum(statistic(row, column) == statistic(0, 0) for row in range(examples) for column in range(channels))
