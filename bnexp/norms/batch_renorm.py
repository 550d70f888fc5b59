"""`batch_renorm`: batch renormalization (Ioffe 2017)."""

import torch
from torch import Tensor, nn

from bnexp.config.items import BatchRenormOptions
from bnexp.norms.shapes import per_feature, widened
from bnexp.norms.statistics import Moments, batch_moments

_DMAX_AFTER, _RMAX_AFTER = 5, 8
"""Warm-ups after which the bounds stand at dmax and rmax."""


class BatchRenorm(nn.Module):
    """Normalize each feature in training nearly as at inference: batch statistics, corrected toward the running ones.

        std = sqrt(var + eps)                                        mean and (biased) var of the batch
        r   = std / running_std              within [1/rmax, rmax]   both are constants to the gradient
        d   = (mean - running_mean) / running_std  within [-dmax, dmax]
        y   = gamma * ((x - mean) / std * r + d) + beta              in training
        y   = gamma * (x - running_mean) / running_std + beta        at inference

    Where r and d are within their bounds, both are the same for the same running statistics. For the first
    `warmup_steps` batches r = 1 and d = 0, which is `bn`; then the bounds rise, to dmax at 5 and to rmax at 8 times
    `warmup_steps`. Those are the ratios of the paper, which has 5,000, 25,000 and 40,000 steps and says "gradually":
    here the rise is linear, and the default of 500 a tenth. The running ones move toward the batch's by `momentum`,
    after they were used.

    What measures the batch statistics alone sets `corrects` to false for the time, and has `bn` in training.

    Shape: (B, F) or (B, C, H, W), kept; statistics are (F,), or (C,) over the positions too.
    Options: rmax, dmax, warmup_steps, momentum (the weight of the new batch), eps, affine.
    Source: https://arxiv.org/abs/1702.03275
    """

    running_mean: Tensor
    running_std: Tensor
    num_batches_tracked: Tensor

    def __init__(self, features: int, options: BatchRenormOptions) -> None:
        super().__init__()
        self.options = options
        self.eps = options.eps
        self.corrects = True
        self.weight = nn.Parameter(torch.ones(features)) if options.affine else None
        self.bias = nn.Parameter(torch.zeros(features)) if options.affine else None
        self.register_buffer("running_mean", torch.zeros(features))
        self.register_buffer("running_std", torch.ones(features))
        self.register_buffer("num_batches_tracked", torch.tensor(0))

    def forward(self, x: Tensor) -> Tensor:
        """Normalize a batch."""
        wide = widened(x)
        if self.training:
            y = self._renormalized(wide)
        else:
            y = (wide - per_feature(self.running_mean, x)) / per_feature(self.running_std, x)
        if self.weight is not None and self.bias is not None:
            y = y * per_feature(self.weight, x) + per_feature(self.bias, x)
        return y.to(x.dtype)

    def _renormalized(self, x: Tensor) -> Tensor:
        """Normalize by the corrected statistics of the batch, and move the running ones."""
        mean, std = self.statistics_from(batch_moments(x)).values()  # (F,)
        with torch.no_grad():
            rmax, dmax = self.bounds()
            r = (std / self.running_std).clamp(1 / rmax, rmax)
            d = ((mean - self.running_mean) / self.running_std).clamp(-dmax, dmax)
            self.running_mean.lerp_(mean.to(self.running_mean.dtype), self.options.momentum)
            self.running_std.lerp_(std.to(self.running_std.dtype), self.options.momentum)
            self.num_batches_tracked.add_(1)
        return (x - per_feature(mean, x)) / per_feature(std, x) * per_feature(r, x) + per_feature(d, x)

    def bounds(self) -> tuple[Tensor, Tensor]:
        """Return the bounds of r and d for the next batch, each of shape (); 1 and 0 without corrections."""
        rmax, dmax = (self.options.rmax, self.options.dmax) if self.corrects else (1.0, 0.0)
        return 1 + (rmax - 1) * self._risen(_RMAX_AFTER), dmax * self._risen(_DMAX_AFTER)

    def _risen(self, after: int) -> Tensor:
        """Return how far a bound has risen, 0 to 1, that stands after so many warm-ups."""
        warmup = self.options.warmup_steps
        if warmup == 0:
            return self.running_std.new_ones(())
        risen = (self.num_batches_tracked - warmup).to(self.running_std.dtype) / (warmup * (after - 1))
        return risen.clamp(0, 1)

    def statistics_from(self, moments: Moments) -> dict[str, Tensor]:
        """Return mean and deviation, the root of the biased variance plus eps, of values with these moments."""
        return {"running_mean": moments.mean, "running_std": torch.sqrt(moments.var + self.options.eps)}

    def running_moments(self) -> dict[str, Tensor]:
        """Return the running mean and standard deviation of each feature."""
        return {"mean": self.running_mean, "std": self.running_std}

    def extra_repr(self) -> str:
        """Return what `print` shows in the parentheses."""
        return f"{len(self.running_mean)}, {self.options}"
