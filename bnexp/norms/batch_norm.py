"""`bn` and `sync_bn`: batch normalization in one process and over all of them, torch's own modules.

Both standardize each feature by the mean and variance of the batch, and use running ones at inference. They differ in
what a batch is where several processes train together.
"""

from torch import nn

from bnexp.config.items import BatchNormOptions
from bnexp.norms.shapes import Shape


def batch_norm(shape: Shape, options: BatchNormOptions) -> nn.BatchNorm1d | nn.BatchNorm2d:
    """Normalize each feature over the batch, each channel over the batch and all positions.

        y = gamma * (x - mean) / sqrt(var + eps) + beta

    In training, mean and (biased) variance are the batch's, and the running ones move toward them by `momentum`, the
    running variance toward the unbiased one. At inference the running ones are used. `reference.py` spells this out.

    Shape: (F,) for inputs (B, F); (C, H, W) for inputs (B, C, H, W). gamma and beta are (F,) or (C,).
    Options: momentum (the weight of the new batch), eps, affine.
    Source: https://arxiv.org/abs/1502.03167
    """
    kind = nn.BatchNorm1d if len(shape) == 1 else nn.BatchNorm2d
    return kind(shape[0], eps=options.eps, momentum=options.momentum, affine=options.affine)


def sync_batch_norm(shape: Shape, options: BatchNormOptions) -> nn.SyncBatchNorm:
    """Normalize each feature as `bn` does, in training over the batches of all processes together.

        y = gamma * (x - mean) / sqrt(var + eps) + beta

    In one process it is `bn`. In several (torchrun, on GPUs), mean and variance in training are those of the whole
    batch, and the running ones are the same everywhere. At inference it is `bn` in any case.

    Shape: (F,) for inputs (B, F); (C, H, W) for inputs (B, C, H, W). gamma and beta are (F,) or (C,).
    Options: momentum (the weight of the new batch), eps, affine.
    Source: Peng et al. 2018 (MegDet), https://arxiv.org/abs/1711.07240
    """
    return nn.SyncBatchNorm(shape[0], eps=options.eps, momentum=options.momentum, affine=options.affine)
