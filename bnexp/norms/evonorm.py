"""`evonorm_b0` and `evonorm_s0`: normalization and nonlinearity in one, found by search (Liu et al. 2020)."""

import torch
from torch import Tensor, nn

from bnexp.config.items import EvoNormBatchOptions, EvoNormSampleOptions
from bnexp.norms.shapes import over_positions, per_feature, widened
from bnexp.norms.variance_norm import RunningVariance


class EvoNormB0(RunningVariance):
    """Divide each feature by the larger of its batch's deviation and a line in x, which bends it.

        y = gamma * x / max(sqrt(var_batch + eps), v * x + sqrt(var_instance + eps)) + beta

    var_batch is over the batch and all positions, for each feature; var_instance over the positions, for each example
    and channel (0 for features (B, F), which have none). In training var_batch is the (biased) variance of the batch,
    and the running one moves toward it by `momentum`: biased as in the authors' code (timm keeps the unbiased one, as
    `bn` does). At inference the running one is used; var_instance is the example's own in both. gamma, beta and v
    (which starts at 1) are learned for each feature.

    It contains its nonlinearity: no activation belongs after it.

    Shape: (B, F) or (B, C, H, W), kept.
    Options: momentum (the weight of the new batch), eps.
    Source: https://arxiv.org/abs/2004.02967 and its code, models/official/resnet/evonorms.py of tensorflow/tpu
    """

    def __init__(self, features: int, options: EvoNormBatchOptions) -> None:
        super().__init__(features, options.eps, options.momentum)
        self.weight = nn.Parameter(torch.ones(features))
        self.bias = nn.Parameter(torch.zeros(features))
        self.v = nn.Parameter(torch.ones(features))

    def forward(self, x: Tensor) -> Tensor:
        """Normalize and bend a batch."""
        wide = widened(x)
        var = self.variance(wide)  # (F,)
        instance = wide.var(dim=over_positions(x), correction=0, keepdim=True) if x.ndim > 2 else torch.zeros_like(wide)
        line = per_feature(self.v, x) * wide + torch.sqrt(instance + self.eps)
        divisor = torch.maximum(per_feature(torch.sqrt(var + self.eps), x), line)
        return (per_feature(self.weight, x) * wide / divisor + per_feature(self.bias, x)).to(x.dtype)

    def extra_repr(self) -> str:
        """Return what `print` shows in the parentheses."""
        return f"{len(self.weight)}, eps={self.eps}, momentum={self.momentum}"


class EvoNormS0(nn.Module):
    """Bend each value as swish does, and divide it by the deviation of its group.

        y = gamma * x * sigmoid(v * x) / sqrt(var_group + eps) + beta

    var_group is the (biased) variance over (C / groups, H, W), for each example: the batch plays no part, and training
    and inference are the same. gamma, beta and v (which starts at 1) are learned for each feature.

    It contains its nonlinearity: no activation belongs after it.

    Shape: (B, F) or (B, C, H, W), kept.
    Options: groups (which divide the features), eps.
    Source: https://arxiv.org/abs/2004.02967
    """

    def __init__(self, features: int, options: EvoNormSampleOptions) -> None:
        super().__init__()
        self.eps, self.groups = options.eps, options.groups
        self.weight = nn.Parameter(torch.ones(features))
        self.bias = nn.Parameter(torch.zeros(features))
        self.v = nn.Parameter(torch.ones(features))

    def forward(self, x: Tensor) -> Tensor:
        """Normalize and bend a batch."""
        wide = widened(x)
        grouped = wide.reshape(x.shape[0], self.groups, -1)  # (B, groups, C / groups * H * W)
        var = grouped.var(dim=2, correction=0)  # (B, groups)
        per_channel = var.repeat_interleave(x.shape[1] // self.groups, dim=1)  # (B, C)
        divisor = torch.sqrt(per_channel + self.eps).view(*x.shape[:2], *[1] * (x.ndim - 2))
        bent = wide * torch.sigmoid(per_feature(self.v, x) * wide)
        return (per_feature(self.weight, x) * bent / divisor + per_feature(self.bias, x)).to(x.dtype)

    def extra_repr(self) -> str:
        """Return what `print` shows in the parentheses."""
        return f"{len(self.weight)}, eps={self.eps}, groups={self.groups}"
