"""Hand-written normalizations in plain tensor arithmetic: the formulas that tests hold torch's modules against.

The network uses torch's own modules; these are for reading, teaching and checking. All functions keep the dtype of
their input.
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Normalized:
    """A normalization's result with what it was made of.

    Attributes:
        y: the output, gamma * x_hat + beta.
        x_hat: the normalized input, before gamma and beta.
        mean: what was subtracted.
        var: the variance that was divided by, without eps.
    """

    y: Tensor
    x_hat: Tensor
    mean: Tensor
    var: Tensor


Gradients = tuple[Tensor, Tensor, Tensor]
"""Gradients of x, gamma and beta, in their shapes."""


def batch_norm_train(x: Tensor, gamma: Tensor, beta: Tensor, eps: float = 1e-5) -> Normalized:
    """Batch normalization in training.

        mean = 1/B sum_b x[b]                var = 1/B sum_b (x[b] - mean)^2          (biased: divided by B)
        y    = gamma * (x - mean) / sqrt(var + eps) + beta

    Shapes: x (B, F), gamma and beta (F,).

    Raises:
        ValueError: fewer than two examples, of which no variance can be taken.

    Source: Ioffe & Szegedy 2015, algorithm 1, https://arxiv.org/abs/1502.03167
    """
    if x.shape[0] < 2:
        raise ValueError(f"expected at least 2 examples to take batch statistics of, found {x.shape[0]}")
    mean = x.mean(dim=0)  # (F,)
    var = ((x - mean) ** 2).mean(dim=0)  # (F,)
    x_hat = (x - mean) / torch.sqrt(var + eps)
    return Normalized(gamma * x_hat + beta, x_hat, mean, var)


def batch_norm_running(
    running_mean: Tensor, running_var: Tensor, batch: Normalized, batch_size: int, momentum: float = 0.1
) -> tuple[Tensor, Tensor]:
    """Return the running statistics after one more batch.

        running_mean <- (1 - momentum) * running_mean + momentum * mean
        running_var  <- (1 - momentum) * running_var  + momentum * var * B / (B - 1)     (unbiased: divided by B - 1)

    The momentum is the weight of the new batch, as in PyTorch; Keras calls 1 - momentum by that name.
    """
    unbiased = batch.var * batch_size / (batch_size - 1)
    return (1 - momentum) * running_mean + momentum * batch.mean, (1 - momentum) * running_var + momentum * unbiased


def batch_norm_inference(
    x: Tensor, gamma: Tensor, beta: Tensor, running_mean: Tensor, running_var: Tensor, eps: float = 1e-5
) -> Tensor:
    """Batch normalization at inference: an affine map, fixed for each feature.

    y = gamma * (x - running_mean) / sqrt(running_var + eps) + beta
    """
    return gamma * (x - running_mean) / torch.sqrt(running_var + eps) + beta


def batch_norm_train_backward(grad_y: Tensor, forward: Normalized, gamma: Tensor, eps: float = 1e-5) -> Gradients:
    """Return the gradients of batch normalization in training; mean and variance depend on x too.

        d gamma = sum_b dy * x_hat               d beta = sum_b dy
        d x     = gamma / sqrt(var + eps) * (dy - mean_b(dy) - x_hat * mean_b(dy * x_hat))

    dy (B, F) is `grad_y`, the gradient of the loss with respect to y; `forward` is what `batch_norm_train` returned.
    """
    return _backward(grad_y, forward, gamma, eps, dim=0)


def layer_norm(x: Tensor, gamma: Tensor, beta: Tensor, eps: float = 1e-5) -> Normalized:
    """Layer normalization, the same in training and at inference.

        mean = 1/F sum_f x[:, f]             var = 1/F sum_f (x[:, f] - mean)^2       (biased: divided by F)
        y    = gamma * (x - mean) / sqrt(var + eps) + beta

    Shapes: x (B, F), gamma and beta (F,).
    Source: Ba, Kiros & Hinton 2016, https://arxiv.org/abs/1607.06450
    """
    mean = x.mean(dim=1, keepdim=True)  # (B, 1)
    var = ((x - mean) ** 2).mean(dim=1, keepdim=True)  # (B, 1)
    x_hat = (x - mean) / torch.sqrt(var + eps)
    return Normalized(gamma * x_hat + beta, x_hat, mean, var)


def layer_norm_backward(grad_y: Tensor, forward: Normalized, gamma: Tensor, eps: float = 1e-5) -> Gradients:
    """Return the gradients of layer normalization, with g = gamma * dy.

    d gamma = sum_b dy * x_hat               d beta = sum_b dy
    d x     = 1 / sqrt(var + eps) * (g - mean_f(g) - x_hat * mean_f(g * x_hat))
    """
    return _backward(grad_y, forward, gamma, eps, dim=1)


def group_norm(x: Tensor, gamma: Tensor, beta: Tensor, groups: int, eps: float = 1e-5) -> Normalized:
    """Group normalization, the same in training and at inference.

    The channels of each example are cut into `groups` of neighbors. With S the C / groups channels of a group at all
    their positions:

        mean = 1/|S| sum_S x                 var = 1/|S| sum_S (x - mean)^2           (biased: divided by |S|)
        y    = gamma * (x - mean) / sqrt(var + eps) + beta

    One group is layer normalization over (C, ...), C groups are instance normalization.

    Shapes: x, y and x_hat (N, C) or (N, C, ...), such as (N, C, H, W); gamma and beta (C,); mean and var (N, groups).

    Raises:
        ValueError: the groups do not divide the channels.

    Source: Wu & He 2018, https://arxiv.org/abs/1803.08494
    """
    if groups < 1 or x.shape[1] % groups:
        raise ValueError(f"expected groups that divide {x.shape[1]} channels, found {groups}")
    grouped = _grouped(x, groups)  # (N, groups, |S|)
    mean = grouped.mean(dim=2, keepdim=True)  # (N, groups, 1)
    var = ((grouped - mean) ** 2).mean(dim=2, keepdim=True)  # (N, groups, 1)
    x_hat = ((grouped - mean) / torch.sqrt(var + eps)).view(x.shape)
    y = _by_channel(gamma, x) * x_hat + _by_channel(beta, x)
    return Normalized(y, x_hat, mean.squeeze(2), var.squeeze(2))


def group_norm_backward(grad_y: Tensor, forward: Normalized, gamma: Tensor, eps: float = 1e-5) -> Gradients:
    """Return the gradients of group normalization, with g = gamma * dy and means over each group S.

    d gamma = sum over all but the channel of dy * x_hat      d beta = the same sum of dy
    d x     = 1 / sqrt(var + eps) * (g - mean_S(g) - x_hat * mean_S(g * x_hat))
    """
    groups = forward.var.shape[1]
    x_hat = _grouped(forward.x_hat, groups)
    grad_x_hat = _grouped(_by_channel(gamma, grad_y) * grad_y, groups)
    grad_x = _through_statistics(grad_x_hat, x_hat, forward.var.unsqueeze(2), eps, dim=2).view(grad_y.shape)
    others = [dim for dim in range(grad_y.dim()) if dim != 1]
    return grad_x, (grad_y * forward.x_hat).sum(dim=others), grad_y.sum(dim=others)


def instance_norm(x: Tensor, gamma: Tensor, beta: Tensor, eps: float = 1e-5) -> Normalized:
    """Instance normalization: each channel of each example by its own mean and variance over its positions.

    It is `group_norm` with one channel a group, and `group_norm_backward` gives its gradients.

    Shapes: x, y and x_hat (N, C, ...), such as (N, C, H, W); gamma and beta (C,); mean and var (N, C).

    Raises:
        ValueError: one position a channel, of which no variance can be taken.

    Source: Ulyanov, Vedaldi & Lempitsky 2016, https://arxiv.org/abs/1607.08022
    """
    positions = x[0, 0].numel()
    if positions < 2:
        raise ValueError(f"expected at least 2 positions a channel to take statistics of, found {positions}")
    return group_norm(x, gamma, beta, groups=x.shape[1], eps=eps)


def rms_norm(x: Tensor, gamma: Tensor, eps: float = 1e-5) -> Normalized:
    """RMS normalization: layer normalization without the mean, the same in training and at inference.

        ms = 1/F sum_f x[:, f]^2             y = gamma * x / sqrt(ms + eps)

    Shapes: x, y and x_hat (B, F), gamma (F,); mean (B, 1) is zero, for nothing is subtracted, and var (B, 1) is ms.
    Source: Zhang & Sennrich 2019, https://arxiv.org/abs/1910.07467
    """
    mean_square = (x**2).mean(dim=1, keepdim=True)  # (B, 1)
    x_hat = x / torch.sqrt(mean_square + eps)
    return Normalized(gamma * x_hat, x_hat, torch.zeros_like(mean_square), mean_square)


def rms_norm_backward(grad_y: Tensor, forward: Normalized, gamma: Tensor, eps: float = 1e-5) -> tuple[Tensor, Tensor]:
    """Gradients of RMS normalization, with g = gamma * dy.

        d gamma = sum_b dy * x_hat               d x = 1 / sqrt(ms + eps) * (g - x_hat * mean_f(g * x_hat))

    Returns:
        Gradients of x (B, F) and gamma (F,).
    """
    across = _without_x_hat(gamma * grad_y, forward.x_hat, dim=1)
    return across / torch.sqrt(forward.var + eps), (grad_y * forward.x_hat).sum(dim=0)


def batch_norm_unbiased(x: Tensor, gamma: Tensor, beta: Tensor, eps: float = 0.0) -> Normalized:
    """Batch normalization as it is often written by hand: by torch's `x.var(0)` or `x.std(0)`, which are unbiased.

        var = 1/(B - 1) sum_b (x[b] - mean)^2                     y = gamma * (x - mean) / sqrt(var + eps) + beta

    With eps 0 in both, x_hat is that of `batch_norm_train` times sqrt((B - 1) / B): those who write it by the standard
    deviation leave eps out. Shapes: x (B, F), gamma and beta (F,).

    Raises:
        ValueError: fewer than two examples, of which no variance can be taken.
    """
    batch = batch_norm_train(x, gamma, beta)
    var = batch.var * x.shape[0] / (x.shape[0] - 1)  # (F,)
    x_hat = (x - batch.mean) / torch.sqrt(var + eps)
    return Normalized(gamma * x_hat + beta, x_hat, batch.mean, var)


def batch_norm_running_std(
    running_mean: Tensor, running_std: Tensor, batch: Normalized, momentum: float = 0.001
) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation after one more batch of `batch_norm_unbiased`.

        running <- (1 - momentum) * running + momentum * (mean or std)

    An average of standard deviations is at most the square root of the average of variances that torch keeps, and less
    wherever they differ.
    """
    return (
        (1 - momentum) * running_mean + momentum * batch.mean,
        (1 - momentum) * running_std + momentum * torch.sqrt(batch.var),
    )


def _grouped(x: Tensor, groups: int) -> Tensor:
    """Return (N, C, ...) as (N, groups, |S|)."""
    return x.reshape(x.shape[0], groups, -1)


def _by_channel(parameter: Tensor, x: Tensor) -> Tensor:
    """Return (C,) in a shape that broadcasts against x (N, C, ...)."""
    return parameter.view(-1, *[1] * (x.dim() - 2))


def _backward(grad_y: Tensor, forward: Normalized, gamma: Tensor, eps: float, dim: int) -> Gradients:
    """Return the gradients where mean and variance were taken over `dim`."""
    grad_x = _through_statistics(gamma * grad_y, forward.x_hat, forward.var, eps, dim)
    return grad_x, (grad_y * forward.x_hat).sum(dim=0), grad_y.sum(dim=0)


def _through_statistics(grad_x_hat: Tensor, x_hat: Tensor, var: Tensor, eps: float, dim: int) -> Tensor:
    """Gradient of x from that of x_hat, where mean and variance were taken over `dim`."""
    across = _without_x_hat(grad_x_hat, x_hat, dim)
    return (across - grad_x_hat.mean(dim=dim, keepdim=True)) / torch.sqrt(var + eps)


def _without_x_hat(grad_x_hat: Tensor, x_hat: Tensor, dim: int) -> Tensor:
    """Return a gradient less its part along x_hat."""
    return grad_x_hat - x_hat * (grad_x_hat * x_hat).mean(dim=dim, keepdim=True)
