"""The lesson `instancenorm`: each channel of each image alone, and what a classifier no longer sees then."""

import torch
from torch import nn

from bnexp.document.lesson import Lesson, Table
from bnexp.lessons.image_norms import (
    BATCH_NORM,
    CHANNEL_NAMES,
    FOUR_NORMS,
    IMAGE_NAMES,
    INSTANCE_NORM,
    image_table,
    input_images,
    regions,
    two_images,
)
from bnexp.lessons.prose import compose
from bnexp.lessons.request import Request
from bnexp.lessons.single_examples import Walk, against_modules
from bnexp.lessons.tables import matrix
from bnexp.lessons.tensors import largest_magnitude

GAMMA, BETA = (1.0, 0.5, 2.0, 1.5), (0.25, -0.5, 1.0, -0.75)
"""As if learned, so that their part in the output can be seen."""
_PAGE = """
instancenorm: each channel of each image is brought to mean 0 and variance 1 by itself

X is a batch of N = {n} images of C = {c} channels and H x W = {h} x {w} positions, the same as in `bnexp explain
groupnorm`.
[images] [regions]
Batch normalization takes the mean of a channel over all images, {all_positions} values here. Instance normalization
takes one for each channel of each image, {positions} values here. No other image and no other channel has a part in it.

# 1. Mean and variance of each channel of each image
[mean] [var]

# 2. Normalize, scale and shift
[x_hat]
In X, channel 1 of image 2 is twice that of image 1. Normalized, the two are the same, except for eps (largest
difference {difference_of_a_doubled_channel:.1e}).
[gamma] [beta] [y]

# 3. What it forgets: brightness and contrast, channel by channel
Replace x by 3 x + 20: three times the contrast, and brighter.
[change_of_image_1]
Instance normalization gives the same in both cases, except for eps (largest change
{largest_change_under_instance_norm:.1e}). Layer and group normalization (2 groups) forget a change of all channels
alike, but not a change of one channel alone. For style transfer, where the contrast of a photograph must not matter,
this is what Ulyanov et al. 2016 wanted. For telling images apart by their brightness or tint it is a loss.

# 4. What a classifier no longer sees
A convolutional network often ends with the mean of each channel over all positions (global average pooling) and a
linear layer on these means. They say how much of each feature an image has. Pooled, the outputs are:
[pooled]
Under instance normalization every image gives beta, since x_hat has mean 0 in each channel of each image: the pooled
outputs differ from beta by {pooled_from_beta:.1e} at most. Whatever the weights below are, the linear layer sees the
same for all images, and the network can only guess. Under batch normalization x_hat has mean 0 over the batch, not in
each image, and the two images differ by up to {pooled_apart[batch_norm]}.

A nonlinearity between the two helps: after ReLU the mean depends on how the values of a channel are distributed around
it, and the images differ by up to {pooled_apart[instance_norm_relu]}. The mean and the scale that the channel had are
gone all the same.

# 5. Backward: the gradient stays in the channel of the image
Let the loss be the first output of image 1, channel 1.
[grad_x]
It sums to 0 in that channel, and is 0 in all others. Were the loss a sum of pooled outputs, x would get no gradient at
all (largest magnitude {largest_gradient_of_pooled:.1e}): that is step 4 again.

# 6. In a network
Image 1 alone in its batch has the same output (difference {alone_against_in_the_batch:.2g}): there are no running
averages, and training and inference compute the same. The bias of the layer before it is left out, since it is a number
per channel and the mean removes it: with 1, 2, 3 and 4 added to the channels the output changes by
{change_by_a_bias:.2g}.

A matrix (B, F) has one value per channel, which is its own mean: the output would be beta, whatever the input. Instance
normalization is not defined there, and `bnexp` refuses the config. (Do not be misled by torch.nn.InstanceNorm1d: it
takes (B, F) for one example of B channels, and normalizes each row.) For the features of an mlp there is `ln`.
[against_torch]

# Test it
bnexp train configs/cnn_in_pooled.yaml --name in_last
bnexp train configs/cnn_in_pooled.yaml --set model.norm=bn --name bn_last
bnexp train configs/cnn_in_pooled.yaml --set 'model.block=conv -> norm -> act' --name in_then_relu
bnexp compare in_last bn_last in_then_relu
There are ten classes, with a tenth of the images in each. The network with instance normalization right before the
pooling cannot do better than chance, whatever it learns; with batch normalization there, or with ReLU between the two,
it can.
"""


def lesson(request: Request) -> Lesson:
    """Return the lesson on two small images.

    Source: Ulyanov, Vedaldi & Lempitsky 2016, https://arxiv.org/abs/1607.08022
    """
    gamma, beta = (torch.tensor(values, dtype=torch.float64) for values in (GAMMA, BETA))
    walk = Walk(INSTANCE_NORM, BATCH_NORM, two_images(gamma, beta), request.eps)
    x, x_hat, y = walk.batch.x, walk.forward.x_hat, walk.forward.y
    images, channels, height, width = x.shape
    changes, names = _changes(walk), [norm.name for norm in FOUR_NORMS]
    outputs = {"batch_norm": walk.beside.y, "instance_norm": y, "instance_norm_relu": y.relu()}
    pooled = {name: values.mean(dim=(2, 3)) for name, values in outputs.items()}  # (N, C) each
    grad_of_pooled = torch.zeros_like(x)
    grad_of_pooled[0] = 1 / (height * width)
    bias = torch.arange(1.0, channels + 1).double().view(-1, 1, 1)
    return compose(
        _PAGE,
        [
            *_tables(walk),
            regions("regions", x.shape, (BATCH_NORM, INSTANCE_NORM)),
            Table("change_of_image_1", "largest change of x_hat in image 1", names, changes, corner="3 x + 20 in"),
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
        against_torch=against_modules(
            [(walk, nn.InstanceNorm2d(channels, eps=request.eps, affine=True, dtype=torch.float64))]
        ),
    )


def _tables(walk: Walk) -> list[Table]:
    """Return the tables of the forward and the backward pass."""
    forward, eps = walk.forward, f"eps = {walk.eps:g}"
    variance, learned = "variance, biased: divided by H W", ("as if learned",)
    mean, var = ("mean = 1/(H W) sum_hw x",), ("var = 1/(H W) sum_hw (x - mean)^2",)
    through = "g = gamma dy", "d x = 1 / sqrt(var + eps)", "  (g - mean_hw(g)", "   - x_hat mean_hw(g x_hat))"
    return [
        input_images(walk.batch.x),
        matrix("mean", "mean", forward.mean, CHANNEL_NAMES, IMAGE_NAMES, mean),
        matrix("var", variance, forward.var, CHANNEL_NAMES, IMAGE_NAMES, var),
        image_table("x_hat", "normalized", forward.x_hat, ("x_hat = (x - mean) / sqrt(var + eps)", eps)),
        matrix("gamma", "gamma, the scale", walk.batch.gamma, CHANNEL_NAMES, formula=learned),
        matrix("beta", "beta, the shift", walk.batch.beta, CHANNEL_NAMES, formula=learned),
        image_table("y", "output", forward.y, ("y = gamma x_hat + beta",)),
        image_table("grad_x", "gradient of x", walk.gradients[0], through),
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
    """Return the table of pooled outputs (N, C) of each norm, with beta (C,) between them."""
    by_batch, by_instance, after_relu = means.values()
    labels = [f"{norm}, {image}" for norm in ("batch norm", "instance norm") for image in IMAGE_NAMES]
    labels += ["beta", *(f"instance norm, ReLU, {image}" for image in IMAGE_NAMES)]
    rows = torch.cat([by_batch, by_instance, beta[None], after_relu])
    return matrix("pooled", "mean of the output over H and W", rows, CHANNEL_NAMES, labels)
