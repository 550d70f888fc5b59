"""What `groupnorm` says of images: four norms on two small ones, and what the companions change."""

from collections import Counter

import torch
from torch import Tensor
from torch.nn import functional

from bnexp.document.lesson import Heading, Part, Table, Text
from bnexp.document.numerals import decimal
from bnexp.lessons.image_norms import BATCH_NORM, FOUR_NORMS, GROUP_NORM
from bnexp.lessons.regions import image_regions, of_batch, of_example, of_group
from bnexp.lessons.small_images import CHANNELS, ROWS, SHAPE, image_table, input_images
from bnexp.lessons.tensors import first_output, initial_parameters, largest_magnitude
from bnexp.norms.reference import group_norm


def on_images(x: Tensor, eps: float) -> list[Part]:
    """Return the parts on images x, those of `small_images`."""
    return [*_images(x, eps), *_ends(x, eps), *_companions(x, eps), *_backward(x, eps)]


def _images(x: Tensor, eps: float) -> list[Part]:
    norms = {
        "batch norm": of_batch,
        "layer norm": of_example,
        "group norm": of_group(CHANNELS, 2),
        "instance norm": of_group(CHANNELS, CHANNELS),
    }
    picture = image_regions("regions_of_images", SHAPE, norms)
    shared = {name: Counter(letter for _, letters in rows for letter in letters) for name, rows in picture.blocks}
    return [
        Heading("2. Two images: four ways to share"),
        input_images(x),
        picture,
        Table(
            "statistics_of_images",
            "how many means, and of how many values each",
            ("means", "values each", "values each, in letters"),
            [
                (name, (len(shared[name]), shared[name]["A"], letters))
                for name, letters in zip(norms, ("N H W", "C H W", "C H W / G", "H W"), strict=True)
            ],
            corner="norm",
        ),
        Text(
            "Each channel has an image's rows and columns to average over, so that even a group of one channel holds "
            f"{x[0, 0].numel()} values here. Only batch normalization has N, the size of the batch, among them."
        ),
        image_table(
            "y_of_images", "group norm, 2 groups", GROUP_NORM.x_hat(x, eps), ("gamma = 1, beta = 0", f"eps = {eps:g}")
        ),
    ]


def _ends(x: Tensor, eps: float) -> list[Part]:
    ones, zeros = initial_parameters(CHANNELS)
    layer, instance = functional.layer_norm(x, x.shape[1:], eps=eps), functional.instance_norm(x, eps=eps)
    counts = [count for count in range(1, CHANNELS + 1) if CHANNELS % count == 0]
    rows = [
        (
            f"groups={count}",
            [largest_magnitude(group_norm(x, ones, zeros, count, eps).y - one) for one in (layer, instance)],
        )
        for count in counts
    ]
    return [
        Heading("3. Layer and instance normalization are its two ends"),
        Table(
            "distance_to_the_ends",
            "largest difference of the outputs on X",
            ("to layer norm", "to instance norm"),
            rows,
            corner="group norm",
        ),
        Text(
            "One group is layer normalization over (C, H, W), a group per channel is instance normalization; what lies "
            "between is neither. One thing differs even then: torch.nn.LayerNorm over (C, H, W) has a gamma and a beta "
            f"for each of the {x[0].numel()} values, group normalization one for each of the {CHANNELS} channels."
        ),
    ]


def _companions(x: Tensor, eps: float) -> list[Part]:
    batches = {
        "image 1 alone": x[:1],
        "with image 2": x,
        "with image 2, doubled": torch.cat([x[:1], 2 * x[1:]]),
        "with three times image 2": torch.cat([x[:1], x[1:], x[1:], x[1:]]),
    }
    rows = []
    for name, batch in batches.items():
        rows.append((name, [norm.x_hat(batch, eps)[0, 0, 0, 0].item() for norm in (BATCH_NORM, GROUP_NORM)]))
    changes = [max(cells[one] for _, cells in rows) - min(cells[one] for _, cells in rows) for one in (0, 1)]
    return [
        Heading("4. Why it exists: the size of the batch"),
        Table(
            "first_output_by_companions",
            "the first output of image 1, in four batches",
            ("batch norm", "group norm"),
            rows,
            corner="batch",
        ),
        Text(
            "Group normalization does not look at the other images: its output changes by "
            f"{changes[1]:.2g}, that of batch normalization by up to {decimal(changes[0])}. The fewer the examples of "
            "a batch, the more its mean and variance depend on which they are, and the farther they are from the "
            "running averages that inference uses. Where memory allows only a few images at a time, as in detection "
            "and segmentation, this is what Wu & He 2018 meant to mend. Training and inference are the same "
            "computation here, without running averages.",
            {"change_by_companions": {"batch_norm": changes[0], "group_norm": changes[1]}},
        ),
    ]


def _backward(x: Tensor, eps: float) -> list[Part]:
    of_each = [norm.gradient_of_x_hat(x, first_output(x), eps) for norm in FOUR_NORMS]
    gradients = [gradient.flatten(2).abs().amax(dim=2).flatten() for gradient in of_each]
    cells = torch.stack(gradients, dim=1).tolist()
    return [
        Heading("5. Backward: the gradient draws the same picture"),
        Text(
            "Let the loss be the first output of image 1, channel 1. Whatever shares its mean and variance gets a "
            "gradient, and nothing else does."
        ),
        Table(
            "reached_by_the_gradient",
            "largest magnitude of d x",
            [norm.name for norm in FOUR_NORMS],
            list(zip(ROWS, cells, strict=True)),
            ("g = gamma dy", "d x = 1 / sqrt(var + eps)", "  (g - mean_S(g)", "   - x_hat mean_S(g x_hat))"),
        ),
    ]
