"""The lesson `instancenorm`: each channel of each image alone, and what a classifier no longer sees then.

Ulyanov, Vedaldi & Lempitsky 2016, https://arxiv.org/abs/1607.08022
"""

import torch
from torch import nn

from bnexp.document.table import Table, number_table
from bnexp.document.values import Lesson
from bnexp.lessons import image_norms
from bnexp.lessons.image_norms import BATCH_NORM, CHANNEL_NAMES, FOUR_NORMS, IMAGE_NAMES, INSTANCE_NORM
from bnexp.lessons.prose import compose
from bnexp.lessons.request import Request
from bnexp.lessons.single_examples import Walk, against_modules
from bnexp.lessons.tables import matrix
from bnexp.lessons.tensors import largest_magnitude

GAMMA, BETA = (1.0, 0.5, 2.0, 1.5), (0.25, -0.5, 1.0, -0.75)
"""As if learned, so that their part in the output can be seen."""


def lesson(request: Request) -> Lesson:
    """Return the lesson on two small images."""
    gamma, beta = (torch.tensor(values, dtype=torch.float64) for values in (GAMMA, BETA))
    walk = Walk(INSTANCE_NORM, BATCH_NORM, image_norms.two_images(gamma, beta), request.eps)
    x, x_hat, y = walk.batch.x, walk.forward.x_hat, walk.forward.y
    images, channels, height, width = x.shape
    changes, names, title = _changes(walk), [norm.name for norm in FOUR_NORMS], "largest change of x_hat in image 1"
    module = nn.InstanceNorm2d(channels, eps=request.eps, affine=True, dtype=torch.float64)
    outputs = {"batch_norm": walk.beside.y, "instance_norm": y, "instance_norm_relu": y.relu()}
    pooled = {name: values.mean(dim=(2, 3)) for name, values in outputs.items()}  # (N, C) each
    grad_of_pooled = torch.zeros_like(x)
    grad_of_pooled[0] = 1 / (height * width)
    bias = torch.arange(1.0, channels + 1).double().view(-1, 1, 1)
    return compose(
        __name__,
        [
            *_tables(walk),
            image_norms.regions("regions", x.shape, (BATCH_NORM, INSTANCE_NORM)),
            number_table("change_of_image_1", title, names, changes, corner="3 x + 20 in"),
            _pooled(pooled, beta),
        ],
        **{name: str(size) for name, size in zip("nchw", x.shape, strict=True)},
        positions=str(height * width),
        all_positions=str(images * height * width),
        difference_of_a_doubled_channel=largest_magnitude(x_hat[1, 0] - x_hat[0, 0]),
        largest_change_under_instance_norm=max(cells[-1] for _, cells in changes),
        pooled_apart={name: largest_magnitude(means[0] - means[1]) for name, means in pooled.items()},
        pooled_from_beta=largest_magnitude(pooled["instance_norm"] - beta),
        largest_gradient_of_pooled=largest_magnitude(walk.backward(grad_of_pooled)[0]),
        alone_against_in_the_batch=largest_magnitude(walk.of(x[:1]).y[0] - y[0]),
        change_by_a_bias=largest_magnitude(walk.of(x + bias).y - y),
        against_torch=against_modules([(walk, module)]),
    )


def _tables(walk: Walk) -> list[Table]:
    forward, eps = walk.forward, f"eps = {walk.eps:g}"
    variance, learned = "variance, biased: divided by H W", ("as if learned",)
    mean, var = ("mean = 1/(H W) sum_hw x",), ("var = 1/(H W) sum_hw (x - mean)^2",)
    through = "g = gamma dy", "d x = 1 / sqrt(var + eps)", "  (g - mean_hw(g)", "   - x_hat mean_hw(g x_hat))"
    return [
        image_norms.input_images(walk.batch.x),
        matrix("mean", "mean", forward.mean, CHANNEL_NAMES, IMAGE_NAMES, mean),
        matrix("var", variance, forward.var, CHANNEL_NAMES, IMAGE_NAMES, var),
        image_norms.image_table("x_hat", "normalized", forward.x_hat, ("x_hat = (x - mean) / sqrt(var + eps)", eps)),
        matrix("gamma", "gamma, the scale", walk.batch.gamma, CHANNEL_NAMES, formula=learned),
        matrix("beta", "beta, the shift", walk.batch.beta, CHANNEL_NAMES, formula=learned),
        image_norms.image_table("y", "output", forward.y, ("y = gamma x_hat + beta",)),
        image_norms.image_table("grad_x", "gradient of x", walk.gradients[0], through),
    ]


def _changes(walk: Walk) -> list[tuple[str, list[float]]]:
    """Return the change of x_hat of image 1 under four norms, by contrast and brightness of all channels and of one."""
    x, eps = walk.batch.x, walk.eps
    whole, single = x.clone(), x.clone()
    whole[0] = 3 * x[0] + 20
    single[0, 0] = 3 * x[0, 0] + 20
    return [
        (name, [largest_magnitude((norm.x_hat(changed, eps) - norm.x_hat(x, eps))[0]) for norm in FOUR_NORMS])
        for name, changed in (("all of image 1", whole), ("only its channel 1", single))
    ]


def _pooled(means: dict[str, torch.Tensor], beta: torch.Tensor) -> Table:
    by_batch, by_instance, after_relu = means.values()
    labels = [f"{norm}, {image}" for norm in ("batch norm", "instance norm") for image in IMAGE_NAMES]
    labels += ["beta", *(f"instance norm, ReLU, {image}" for image in IMAGE_NAMES)]
    rows = torch.cat([by_batch, by_instance, beta[None], after_relu])
    return matrix("pooled", "mean of the output over H and W", rows, CHANNEL_NAMES, labels)
