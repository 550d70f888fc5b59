"""`bn`: batch normalization (Ioffe & Szegedy 2015), torch's own module."""

from torch import nn

from bnexp.config.items import BatchNormOptions


def batch_norm(features: int, options: BatchNormOptions) -> nn.BatchNorm1d:
    """Normalize each feature over the batch.

        y = gamma * (x - mean) / sqrt(var + eps) + beta          over the batch, for each feature

    In training, mean and (biased) variance are the batch's, and the running ones move toward them by `momentum`, the
    running variance toward the unbiased one. At inference the running ones are used. `reference.py` spells this out.

    Args:
        features: F, for inputs (B, F).
        options: momentum (the weight of the new batch), eps, affine.

    Source: https://arxiv.org/abs/1502.03167
    """
    return nn.BatchNorm1d(features, eps=options.eps, momentum=options.momentum, affine=options.affine)
