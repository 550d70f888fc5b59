"""Sizes that no memory holds, counted by hand."""

from bnexp.config.layout import layout_of
from bnexp.config.loading import check_values
from bnexp.config.refusals import weights_of


def weights(shape, **model):
    rest = {"data": {"dataset": "mnist5k"}, "optimizer": {"name": "sgd"}, "training": {"epochs": 1}}
    return weights_of(layout_of(check_values({"name": "x", "model": model, **rest}, {}, "test").model, shape, 10))


def test_the_weights_of_an_mlp_are_products_of_neighbouring_widths():
    assert weights((1, 28, 28), arch="mlp", hidden=[5, 7], block="linear -> bn -> relu") == 784 * 5 + 5 * 7 + 7 * 10


def test_the_weights_of_a_convolution_are_those_of_its_kernel_for_each_pair_of_channels():
    found = weights((3, 8, 8), arch="cnn", stages=[[4], [6]], block="conv(kernel=5) -> relu", head="flatten")
    assert found == 25 * (3 * 4 + 4 * 6) + 6 * 2 * 2 * 10


def test_a_projection_has_weights_of_its_own():
    block = "conv -> bn -> add -> relu"
    options = {"arch": "resnet", "stages": [1, 1], "width": 4, "block": block}
    projected = weights((3, 8, 8), shortcut="projection", **options)
    assert projected - weights((3, 8, 8), **options) == 4 * 8
