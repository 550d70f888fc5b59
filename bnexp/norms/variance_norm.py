"""`vn`: variance normalization, batch normalization that subtracts no mean (Lubana, Dick & Tanaka 2021).

`evonorm_b0` keeps a running variance in the same way.
"""

import torch
from torch import Tensor, nn

from bnexp.config.items import BatchNormOptions
from bnexp.norms.shapes import over_batch, per_feature, widened
from bnexp.norms.statistics import Moments


class RunningVariance(nn.Module):
    """Base of the norms that divide each feature by its deviation over the batch and subtract no mean.

    The running variance moves toward the biased one of the batch, as in the code of the authors of `vn` and of
    `evonorm_b0`; `bn` keeps the unbiased one.
    """

    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(self, features: int, eps: float, momentum: float) -> None:
        super().__init__()
        self.eps, self.momentum = eps, momentum
        self.register_buffer("running_var", torch.ones(features))
        self.register_buffer("num_batches_tracked", torch.tensor(0))

    def variance(self, x: Tensor) -> Tensor:
        """Return the variance (F,) to divide a batch (B, F) or (B, C, H, W) by; in training, count the batch in."""
        if not self.training:
            return self.running_var
        var = x.var(dim=over_batch(x), correction=0)  # (F,)
        with torch.no_grad():
            self.running_var.lerp_(var.to(self.running_var.dtype), self.momentum)
            self.num_batches_tracked.add_(1)
        return var

    def statistics_from(self, moments: Moments) -> dict[str, Tensor]:
        """Return the running variance of values with these moments, (F,)."""
        return {"running_var": moments.var}


class VarianceNorm(RunningVariance):
    """Divide each feature by its standard deviation over the batch.

        y = gamma * x / sqrt(var + eps) + beta               var is taken around the mean, which stays in x

    In training, the (biased) variance is the batch's, and the running one moves toward it by `momentum`: biased, as in
    the authors' code. At inference the running one is used. It is `bn` without subtracting the mean: an ablation that
    shows what is left without it.

    Shape: (B, F) or (B, C, H, W), kept; statistics are (F,), or (C,) over the positions too.
    Options: momentum (the weight of the new batch), eps, affine.
    Source: Lubana, Dick & Tanaka 2021, https://arxiv.org/abs/2106.05956, and their code, layer_defs.py of
    EkdeepSLubana/BeyondBatchNorm. They name it after Daneshmand et al. 2020, https://arxiv.org/abs/2003.01652, who take
    no mean anywhere and divide by the root mean square.
    """

    def __init__(self, features: int, options: BatchNormOptions) -> None:
        super().__init__(features, options.eps, options.momentum)
        self.weight = nn.Parameter(torch.ones(features)) if options.affine else None
        self.bias = nn.Parameter(torch.zeros(features)) if options.affine else None

    def forward(self, x: Tensor) -> Tensor:
        """Normalize a batch."""
        wide = widened(x)
        y = wide * per_feature(torch.rsqrt(self.variance(wide) + self.eps), x)
        if self.weight is not None and self.bias is not None:
            y = y * per_feature(self.weight, x) + per_feature(self.bias, x)
        return y.to(x.dtype)

    def extra_repr(self) -> str:
        """Return what `print` shows in the parentheses."""
        return f"{len(self.running_var)}, eps={self.eps}, momentum={self.momentum}, affine={self.weight is not None}"
