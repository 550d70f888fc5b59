"""`sync_bn`: batch normalization over the batch of all processes that train one network together (Peng et al. 2018)."""

from typing import Any

import torch
from torch import Tensor
from torch import distributed as dist
from torch.autograd.function import once_differentiable
from torch.nn.modules.batchnorm import _BatchNorm

from bnexp.config.items import BatchNormOptions
from bnexp.norms.shapes import over_batch, per_feature, widened
from bnexp.norms.statistics import batch_moments


class SyncBatchNorm(_BatchNorm):
    """Normalize each feature as `bn` does, in training over the parts of a batch that all processes hold together.

        y = gamma * (x - mean) / sqrt(var + eps) + beta

    Each process sends mean, variance and count of its part, and all pool them alike: the running statistics, which move
    toward mean and unbiased variance of the whole batch, are the same everywhere. In the backward pass the sums that a
    gradient through mean and variance needs are taken over all processes, too.

    `shares` says whether the batch is divided: it is true in the steps of a training by several processes. Otherwise,
    and at inference, this is `bn`, bit for bit. torch's own layer of this name takes tensors on GPUs only.

    Shape: (B, F) or (B, C, H, W), kept; statistics, gamma and beta are (F,), or (C,) over the positions too.
    Options: momentum (the weight of the new batch), eps, affine.
    Source: Peng et al. 2018 (MegDet), https://arxiv.org/abs/1711.07240
    """

    momentum: float
    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(self, features: int, options: BatchNormOptions) -> None:
        super().__init__(features, eps=options.eps, momentum=options.momentum, affine=options.affine)
        self.shares = False

    def forward(self, x: Tensor) -> Tensor:
        """Normalize a batch, or this process's part of one."""
        if not (self.training and self.shares):
            return super().forward(x)
        mean, var, count = moments_of_all(x.detach())
        self.num_batches_tracked.add_(1)
        self.running_mean.lerp_(mean.to(self.running_mean), self.momentum)
        self.running_var.lerp_((var * count / (count - 1)).to(self.running_var), self.momentum)
        standardize: Any = _Standardize.apply
        standard: Tensor = standardize(x, mean, (var + self.eps).rsqrt(), count)
        if self.affine:
            standard = per_feature(self.weight, x) * standard + per_feature(self.bias, x)
        return standard.to(x.dtype)

    def _check_input_dim(self, input: Tensor) -> None:
        """Take inputs of any number of dimensions."""


def moments_of_all(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Pool the moments of the parts x that the processes hold, (B, F) or (B, C, H, W), of different sizes perhaps.

    Returns:
        Mean and biased variance of each feature, (F,) each, and the number of their values, (), as a tensor: a GPU is
        not waited for. They are the same bits in each process. `statistics.pooled` has the formula.
    """
    own = batch_moments(x)
    sent = torch.cat([own.mean, own.var, own.mean.new_tensor([own.values])])  # (2F + 1,)
    parts = [torch.empty_like(sent) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, sent)
    means, variances, counts = torch.stack(parts).split([len(own.mean), len(own.var), 1], dim=1)  # (processes, ...)
    weights = (counts / counts.sum()).flatten()
    mean = weights @ means
    return mean, weights @ (variances + (means - mean).square()), counts.sum()


class _Standardize(torch.autograd.Function):
    """Standardize x by the moments of all processes' values, on which the gradient depends through each of them.

    z = (x - mean) / std,   dx = (dz - mean of dz - z * mean of (dz * z)) / std       means over all values
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, mean: Tensor, inverse_std: Tensor, count: Tensor) -> Tensor:
        standard = (widened(x) - per_feature(mean, x)) * per_feature(inverse_std, x)
        ctx.save_for_backward(standard, inverse_std, count)
        ctx.dtype = x.dtype
        return standard

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        standard, inverse_std, count = ctx.saved_tensors
        dims = over_batch(gradient)
        sums = torch.stack([gradient.sum(dims), (gradient * standard).sum(dims)])  # (2, F)
        dist.all_reduce(sums)
        mean, along = sums / count
        centred = gradient - per_feature(mean, gradient) - standard * per_feature(along, gradient)
        return (centred * per_feature(inverse_std, gradient)).to(ctx.dtype), None, None, None
