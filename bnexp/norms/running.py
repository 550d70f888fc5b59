"""Running statistics of the norms that torch has no module for, kept as torch's batch normalization keeps its own."""

from torch import Tensor

from bnexp.norms.shapes import over_batch


def unbiased(var: Tensor, x: Tensor) -> Tensor:
    """Return the unbiased variance, divided by n - 1, from the biased one (F,) of a batch x (B, F) or (B, C, H, W)."""
    count = x.numel() // x.shape[1]
    return var * (count / (count - 1))


def batch_variance(x: Tensor) -> Tensor:
    """Return the biased variance of each feature, (F,), over the batch and all positions."""
    return x.var(dim=over_batch(x), correction=0)
