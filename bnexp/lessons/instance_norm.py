"""The lesson `instancenorm`: each channel of each image alone, and what a classifier no longer sees then."""

import torch
from torch import Tensor
from torch.nn import functional

from bnexp.document.lesson import Experiment, Heading, Lesson, Part, Table, Text
from bnexp.document.numerals import decimal
from bnexp.lessons.image_norms import BATCH_NORM, FOUR_NORMS
from bnexp.lessons.regions import image_regions, of_batch, of_group
from bnexp.lessons.request import Request
from bnexp.lessons.small_images import (
    CHANNEL_NAMES,
    CHANNELS,
    IMAGE_NAMES,
    SHAPE,
    image_table,
    input_images,
    small_images,
)
from bnexp.lessons.tables import matrix
from bnexp.lessons.tensors import against_torch, first_output, largest_magnitude
from bnexp.norms.reference import Normalized, group_norm_backward, instance_norm

GAMMA, BETA = (1.0, 0.5, 2.0, 1.5), (0.25, -0.5, 1.0, -0.75)
"""As if learned, so that their part in the output can be seen."""


def lesson(request: Request) -> Lesson:
    """Return the lesson on two small images.

    Source: Ulyanov, Vedaldi & Lempitsky 2016, https://arxiv.org/abs/1607.08022
    """
    x, eps = small_images(), request.eps
    gamma, beta = (torch.tensor(values, dtype=torch.float64) for values in (GAMMA, BETA))
    forward = instance_norm(x, gamma, beta, eps)
    parts = [
        *_statistics(x, forward),
        *_normalized(gamma, beta, forward, eps),
        *_forgotten(x, eps),
        *_pooled(x, gamma, beta, forward, eps),
        *_backward(x, gamma, forward, eps),
        *_in_a_network(x, gamma, beta, forward, eps),
        _against_torch(x, gamma, beta, forward, eps),
    ]
    return Lesson(
        "instancenorm",
        "each channel of each image is brought to mean 0 and variance 1 by itself",
        parts,
        Experiment(
            (
                "bnexp train configs/cnn_in_pooled.yaml --name in_last",
                "bnexp train configs/cnn_in_pooled.yaml --set model.norm=bn --name bn_last",
                "bnexp train configs/cnn_in_pooled.yaml --set 'model.block=conv -> norm -> act' --name in_then_relu",
                "bnexp compare in_last bn_last in_then_relu",
            ),
            "Ten classes, a tenth of the images in each. The network with instance normalization right before the "
            "pooling cannot do better than chance, whatever it learns; with batch normalization there, or with ReLU "
            "between the two, it can.",
        ),
    )


def _statistics(x: Tensor, forward: Normalized) -> list[Part]:
    picture = image_regions("regions", SHAPE, {"batch norm": of_batch, "instance norm": of_group(CHANNELS, CHANNELS)})
    positions = x[0, 0].numel()
    return [
        Text(
            f"X is a batch of N = {len(x)} images of C = {CHANNELS} channels and H x W = {SHAPE[2]} x {SHAPE[3]} "
            "positions, the one of `bnexp explain groupnorm`."
        ),
        input_images(x),
        picture,
        Text(
            f"Batch normalization takes the mean of a channel over all images, {len(x) * positions} values here. "
            f"Instance normalization takes one for each channel of each image, {positions} values here. No other "
            "image has a part in it, and no other channel."
        ),
        Heading("1. Mean and variance of each channel of each image"),
        matrix("mean", "mean", forward.mean, CHANNEL_NAMES, IMAGE_NAMES, ("mean = 1/(H W) sum_hw x",)),
        matrix(
            "var",
            "variance, biased: divided by H W",
            forward.var,
            CHANNEL_NAMES,
            IMAGE_NAMES,
            ("var = 1/(H W) sum_hw (x - mean)^2",),
        ),
    ]


def _normalized(gamma: Tensor, beta: Tensor, forward: Normalized, eps: float) -> list[Part]:
    apart = largest_magnitude(forward.x_hat[1, 0] - forward.x_hat[0, 0])
    return [
        Heading("2. Normalize, scale and shift"),
        image_table("x_hat", "normalized", forward.x_hat, ("x_hat = (x - mean) / sqrt(var + eps)", f"eps = {eps:g}")),
        Text(
            "Channel 1 of image 2 is twice that of image 1 in X. Normalized the two are the same, but for eps (largest "
            f"difference {apart:.1e}).",
            {"difference_of_a_doubled_channel": apart},
        ),
        matrix("gamma", "gamma, the scale", gamma, CHANNEL_NAMES, formula=("as if learned",)),
        matrix("beta", "beta, the shift", beta, CHANNEL_NAMES, formula=("as if learned",)),
        image_table("y", "output", forward.y, ("y = gamma x_hat + beta",)),
    ]


def _forgotten(x: Tensor, eps: float) -> list[Part]:
    whole, one = x.clone(), x.clone()
    whole[0] = 3 * x[0] + 20
    one[0, 0] = 3 * x[0, 0] + 20
    rows = [
        (name, [largest_magnitude((norm.x_hat(changed, eps) - norm.x_hat(x, eps))[0]) for norm in FOUR_NORMS])
        for name, changed in (("all of image 1", whole), ("only its channel 1", one))
    ]
    of_instance = [cells[-1] for _, cells in rows]
    return [
        Heading("3. What it forgets: brightness and contrast, channel by channel"),
        Text("Let 3 x + 20 stand in place of x: three times the contrast, and brighter."),
        Table(
            "change_of_image_1",
            "largest change of x_hat in image 1",
            [norm.name for norm in FOUR_NORMS],
            rows,
            corner="3 x + 20 in",
        ),
        Text(
            "Instance normalization gives the same in both cases, but for eps (largest change "
            f"{max(of_instance):.1e}). Layer and group normalization (2 groups) forget what happens to all channels "
            "alike, and notice it of one channel alone. For the transfer of style, where the contrast of a "
            "photograph must not matter, this is what Ulyanov et al. 2016 wanted. For telling images apart by their "
            "brightness or tint it is a loss.",
            {"largest_change_under_instance_norm": max(of_instance)},
        ),
    ]


def _pooled(x: Tensor, gamma: Tensor, beta: Tensor, forward: Normalized, eps: float) -> list[Part]:
    by_batch = BATCH_NORM.forward(x, gamma, beta, eps).mean(dim=(2, 3))  # (N, C)
    by_instance = forward.y.mean(dim=(2, 3))
    after_relu = forward.y.relu().mean(dim=(2, 3))
    rows = torch.cat([by_batch, by_instance, beta[None], after_relu])
    labels = (
        *(f"batch norm, {image}" for image in IMAGE_NAMES),
        *(f"instance norm, {image}" for image in IMAGE_NAMES),
        "beta",
        *(f"instance norm, ReLU, {image}" for image in IMAGE_NAMES),
    )
    apart = {
        "batch_norm": largest_magnitude(by_batch[0] - by_batch[1]),
        "instance_norm": largest_magnitude(by_instance[0] - by_instance[1]),
        "instance_norm_relu": largest_magnitude(after_relu[0] - after_relu[1]),
    }
    return [
        Heading("4. What a classifier no longer sees"),
        Text(
            "A convolutional network often ends with the mean of each channel over all positions (global average "
            "pooling) and a linear layer on these means. They say how much of each feature an image has. Pooled, the "
            "outputs are:"
        ),
        matrix("pooled", "mean of the output over H and W", rows, CHANNEL_NAMES, labels),
        Text(
            "Under instance normalization every image gives beta, since x_hat has mean 0 in each channel of each "
            f"image: from beta the pooled outputs differ by {largest_magnitude(by_instance - beta):.1e} at most. "
            "Whatever the weights below are, the linear layer sees the same for all images, and the network can only "
            "guess. Under batch normalization x_hat has mean 0 over the batch, not in each image, and the two images "
            f"differ by up to {decimal(apart['batch_norm'])}.",
            {"pooled_apart": apart, "pooled_from_beta": largest_magnitude(by_instance - beta)},
        ),
        Text(
            "A nonlinearity between the two helps: after ReLU the mean depends on how the values of a channel are "
            f"distributed around it, and the images differ by up to {decimal(apart['instance_norm_relu'])}. The mean "
            "and the scale that the channel had are gone all the same."
        ),
    ]


def _backward(x: Tensor, gamma: Tensor, forward: Normalized, eps: float) -> list[Part]:
    grad_x, _, _ = group_norm_backward(first_output(x), forward, gamma, eps)
    pooled = torch.zeros_like(x)
    pooled[0] = 1 / x[0, 0].numel()
    grad_of_pooled, _, _ = group_norm_backward(pooled, forward, gamma, eps)
    return [
        Heading("5. Backward: the gradient stays in the channel of the image"),
        Text("Let the loss be the first output of image 1, channel 1."),
        image_table(
            "grad_x",
            "gradient of x",
            grad_x,
            ("g = gamma dy", "d x = 1 / sqrt(var + eps)", "  (g - mean_hw(g)", "   - x_hat mean_hw(g x_hat))"),
        ),
        Text(
            "It sums to 0 in that channel, and is 0 in all others. Were the loss a sum of pooled outputs, x would get "
            f"no gradient at all (largest magnitude {largest_magnitude(grad_of_pooled):.1e}), which is step 4 again.",
            {"largest_gradient_of_pooled": largest_magnitude(grad_of_pooled)},
        ),
    ]


def _in_a_network(x: Tensor, gamma: Tensor, beta: Tensor, forward: Normalized, eps: float) -> list[Part]:
    alone = largest_magnitude(instance_norm(x[:1], gamma, beta, eps).y[0] - forward.y[0])
    bias = torch.arange(1.0, CHANNELS + 1).double().view(-1, 1, 1)
    by_bias = largest_magnitude(instance_norm(x + bias, gamma, beta, eps).y - forward.y)
    return [
        Heading("6. In a network"),
        Text(
            f"Image 1 alone in its batch has the same output (difference {alone:.2g}): there are no running averages, "
            "and training and inference compute the same. The bias of the layer before it is left out, since it is a "
            "number per channel and the mean takes it away: with 1, 2, 3 and 4 added to the channels the output "
            f"changes by {by_bias:.2g}.",
            {"alone_against_in_the_batch": alone, "change_by_a_bias": by_bias},
        ),
        Text(
            "A matrix (B, F) has one value per channel, which is its own mean: the output would be beta, whatever the "
            "input. Instance normalization is not defined there, and `bnexp` refuses the config. (Do not be misled by "
            "torch.nn.InstanceNorm1d: it takes (B, F) for one example of B channels, and normalizes each row.) For "
            "the features of an mlp there is `ln`."
        ),
    ]


def _against_torch(x: Tensor, gamma: Tensor, beta: Tensor, forward: Normalized, eps: float) -> Text:
    """Run torch's own function on the same numbers and say how far it is from the formulas."""
    leaves = [values.clone().requires_grad_() for values in (x, gamma, beta)]
    y = functional.instance_norm(leaves[0], weight=leaves[1], bias=leaves[2], eps=eps)
    y[0, 0, 0, 0].backward()
    ours = forward.y, *group_norm_backward(first_output(x), forward, gamma, eps)
    return against_torch("torch.nn.functional.instance_norm", ours, (y, *(leaf.grad for leaf in leaves)))
