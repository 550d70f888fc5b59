"""`bn`: batch normalization, torch's own modules.

Where several processes train together (docs/devices.md), each takes the statistics of its own part of the batch, and
the running ones are those of process 0.
"""

from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from bnexp.config.items import FreezableBatchNormOptions
from bnexp.norms.shapes import Shape


def batch_norm(shape: Shape, options: FreezableBatchNormOptions) -> nn.Module:
    """Normalize each feature over the batch, each channel over the batch and all positions.

        y = gamma * (x - mean) / sqrt(var + eps) + beta

    In training, mean and (biased) variance are the batch's, and the running ones move toward them by `momentum`, the
    running variance toward the unbiased one. At inference the running ones are used. `reference.py` spells this out.

    With frozen statistics it is `FrozenBatchNorm`; a frozen gamma and beta have no gradient and are not decayed.

    Shape: (F,) for inputs (B, F); (C, H, W) for inputs (B, C, H, W). gamma and beta are (F,) or (C,).
    Options: momentum (the weight of the new batch), eps, affine, frozen.
    Source: https://arxiv.org/abs/1502.03167, whose algorithm 2 averages the statistics of several batches after the
    training; its section 3.1 has moving averages too
    """
    moving = nn.BatchNorm1d if len(shape) == 1 else nn.BatchNorm2d
    kind: type[_BatchNorm] = FrozenBatchNorm if options.freezes_statistics else moving
    norm = kind(shape[0], eps=options.eps, momentum=options.momentum, affine=options.affine)
    return norm.requires_grad_(not options.freezes_affine)


class FrozenBatchNorm(_BatchNorm):
    """Normalize each feature by running statistics that stay as they are: the same in training and at inference.

        y = gamma * (x - running_mean) / sqrt(running_var + eps) + beta

    It is linear in x and takes nothing from the batch; a bias before it does not cancel. With the mean 0 and variance 1
    that a run starts with, y is x but for gamma, beta and eps. It has the buffers of `bn`, and counts no batches.

    Shape: (B, F) or (B, C, H, W), kept; everything else is (F,) or (C,).
    """

    def forward(self, x: Tensor) -> Tensor:
        """Normalize a batch."""
        return functional.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
