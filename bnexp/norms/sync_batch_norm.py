"""`sync_bn`: batch normalization over the batches of all processes, torch's own module."""

from torch import nn

from bnexp.config.items import BatchNormOptions
from bnexp.norms.shapes import Shape


def sync_batch_norm(shape: Shape, options: BatchNormOptions) -> nn.SyncBatchNorm:
    """Normalize each feature as `bn` does, in training over the batches of all processes together.

        y = gamma * (x - mean) / sqrt(var + eps) + beta

    In one process it is `bn`. In several (torchrun, on GPUs), mean and variance in training are those of the whole
    batch, and the running ones are the same everywhere. At inference it is `bn` in any case.

    Args:
        shape: (F,) for inputs (B, F); (C, H, W) for inputs (B, C, H, W). gamma and beta are (F,) or (C,).
        options: momentum (the weight of the new batch), eps, affine.

    Source: Peng et al. 2018 (MegDet), https://arxiv.org/abs/1711.07240
    """
    return nn.SyncBatchNorm(shape[0], eps=options.eps, momentum=options.momentum, affine=options.affine)
