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


def batch_norm_train(x: Tensor, gamma: Tensor, beta: Tensor, eps: float = 1e-5) -> Normalized:
    """Batch normalization in training.

        mean = 1/B sum_b x[b]                var = 1/B sum_b (x[b] - mean)^2          (biased: divided by B)
        y    = gamma * (x - mean) / sqrt(var + eps) + beta

    Args:
        x: (B, F).
        gamma: (F,).
        beta: (F,).
        eps: added to the variance.

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
    return (
        (1 - momentum) * running_mean + momentum * batch.mean,
        (1 - momentum) * running_var + momentum * unbiased,
    )


def batch_norm_inference(
    x: Tensor, gamma: Tensor, beta: Tensor, running_mean: Tensor, running_var: Tensor, eps: float = 1e-5
) -> Tensor:
    """Batch normalization at inference: an affine map, fixed for each feature.

    y = gamma * (x - running_mean) / sqrt(running_var + eps) + beta
    """
    return gamma * (x - running_mean) / torch.sqrt(running_var + eps) + beta


def batch_norm_train_backward(
    grad_y: Tensor, forward: Normalized, gamma: Tensor, eps: float = 1e-5
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of batch normalization in training; mean and variance depend on x too.

        d gamma = sum_b dy * x_hat               d beta = sum_b dy
        d x     = gamma / sqrt(var + eps) * (dy - mean_b(dy) - x_hat * mean_b(dy * x_hat))

    Args:
        grad_y: (B, F), gradient of the loss with respect to y.
        forward: what `batch_norm_train` returned.
        gamma: (F,).
        eps: the one of the forward pass.

    Returns:
        Gradients of x (B, F), gamma (F,) and beta (F,).
    """
    return _backward(grad_y, forward, gamma, eps, dim=0)


def layer_norm(x: Tensor, gamma: Tensor, beta: Tensor, eps: float = 1e-5) -> Normalized:
    """Layer normalization, the same in training and at inference.

        mean = 1/F sum_f x[:, f]             var = 1/F sum_f (x[:, f] - mean)^2       (biased: divided by F)
        y    = gamma * (x - mean) / sqrt(var + eps) + beta

    Args:
        x: (B, F).
        gamma: (F,).
        beta: (F,).
        eps: added to the variance.

    Source: Ba, Kiros & Hinton 2016, https://arxiv.org/abs/1607.06450
    """
    mean = x.mean(dim=1, keepdim=True)  # (B, 1)
    var = ((x - mean) ** 2).mean(dim=1, keepdim=True)  # (B, 1)
    x_hat = (x - mean) / torch.sqrt(var + eps)
    return Normalized(gamma * x_hat + beta, x_hat, mean, var)


def layer_norm_backward(
    grad_y: Tensor, forward: Normalized, gamma: Tensor, eps: float = 1e-5
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of layer normalization, with g = gamma * dy.

        d gamma = sum_b dy * x_hat               d beta = sum_b dy
        d x     = 1 / sqrt(var + eps) * (g - mean_f(g) - x_hat * mean_f(g * x_hat))

    Returns:
        Gradients of x (B, F), gamma (F,) and beta (F,).
    """
    return _backward(grad_y, forward, gamma, eps, dim=1)


def _backward(
    grad_y: Tensor, forward: Normalized, gamma: Tensor, eps: float, dim: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients where mean and variance were taken over `dim`."""
    grad_x_hat = gamma * grad_y
    centered = grad_x_hat - grad_x_hat.mean(dim=dim, keepdim=True)
    along_x_hat = forward.x_hat * (grad_x_hat * forward.x_hat).mean(dim=dim, keepdim=True)
    grad_x = (centered - along_x_hat) / torch.sqrt(forward.var + eps)
    return grad_x, (grad_y * forward.x_hat).sum(dim=0), grad_y.sum(dim=0)
