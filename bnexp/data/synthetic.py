"""Images made on the spot: one random pattern per class, plus noise. For tests and benchmarks, not for findings."""

import torch

from bnexp.config.data_section import SyntheticConfig
from bnexp.config.randomness import SPLIT_SEED, derive_seed
from bnexp.data.images import ImageSet, Part


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
