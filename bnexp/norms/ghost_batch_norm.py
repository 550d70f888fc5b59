"""`ghost_bn`: batch normalization over parts of the batch (Hoffer, Hubara & Soudry 2017)."""

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from bnexp.config.items import GhostBatchNormOptions


class GhostBatchNorm(_BatchNorm):
    """Normalize each feature over ghost batches: consecutive parts of the batch, `size` examples each.

        y = gamma * (x - mean_g) / sqrt(var_g + eps) + beta          for the ghost batch g that the example is in

    In training, each ghost batch has its own mean and (biased) variance, and moves the running ones by `momentum`, one
    ghost batch after the other, just as if each were a batch of `bn`: the running variance toward the unbiased one. At
    inference the running ones are used: it is `bn`. So does the authors' code, which passes the parts of a batch one by
    one through torch's batch norm. Of the paper's algorithm 1 it is the normalization in training alone: that keeps a
    running deviation instead of a variance, and weighs old and new ghost batches by powers of its own.
    Where `size` does not divide the batch, the examples left over are a shorter ghost batch of their own.
    `num_batches_tracked` counts batches, not ghost batches.

    Shape: (B, F) or (B, C, H, W), kept; statistics are (F,), or (C,) over the positions too.
    Options: size (examples in a ghost batch; with the whole batch it is `bn`), momentum (the weight of a new ghost
    batch in the running statistics), eps, affine.
    Source: https://arxiv.org/abs/1705.08741, and its code, eladhoffer/bigBatch, main_gbn.py
    """

    momentum: float
    num_batches_tracked: Tensor

    def __init__(self, features: int, options: GhostBatchNormOptions) -> None:
        super().__init__(features, eps=options.eps, momentum=options.momentum, affine=options.affine)
        self.size = options.size
        self.splits = True

    def forward(self, x: Tensor) -> Tensor:
        """Normalize a batch: in training part by part."""
        if not self.training:
            return self._normalize(x)
        self.num_batches_tracked.add_(1)
        return torch.cat([self._normalize(ghost) for ghost in x.split(self.size if self.splits else len(x))])

    def _normalize(self, x: Tensor) -> Tensor:
        return functional.batch_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias, self.training, self.momentum, self.eps
        )

    def extra_repr(self) -> str:
        """Return what `print` shows in the parentheses."""
        return f"{self.num_features}, size={self.size}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}"
