"""The formulas against torch's modules, in float64, and against the worked examples of the founding documents."""

import pytest
import torch
from torch import nn

from bnexp.norms.reference import (
    batch_norm_inference,
    batch_norm_running,
    batch_norm_running_std,
    batch_norm_train,
    batch_norm_train_backward,
    batch_norm_unbiased,
    group_norm,
    group_norm_backward,
    instance_norm,
    layer_norm,
    layer_norm_backward,
    rms_norm,
    rms_norm_backward,
)

FEATURES = 5
BATCH_SIZES = [2, 64]
EXACT = {"rtol": 0.0, "atol": 1e-12}


def draw(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def draw_case(batch_size):
    """Return inputs far from standardized, gamma, beta and a gradient of the output."""
    x = draw(batch_size, FEATURES) * torch.tensor([0.1, 1.0, 3.0, 10.0, 100.0], dtype=torch.float64) + 7
    return x, draw(FEATURES, seed=1), draw(FEATURES, seed=2), draw(batch_size, FEATURES, seed=3)


def torch_batch_norm(gamma, beta, **options):
    module = nn.BatchNorm1d(FEATURES, dtype=torch.float64, **options)
    module.load_state_dict({"weight": gamma, "bias": beta}, strict=False)
    return module


def torch_layer_norm(gamma, beta, **options):
    module = nn.LayerNorm(FEATURES, dtype=torch.float64, **options)
    module.load_state_dict({"weight": gamma, "bias": beta})
    return module


@pytest.mark.parametrize("eps", [1e-5, 0.3])
@pytest.mark.parametrize("batch_size", BATCH_SIZES)
@pytest.mark.parametrize(
    ("build", "forward", "backward"),
    [
        (torch_batch_norm, batch_norm_train, batch_norm_train_backward),
        (torch_layer_norm, layer_norm, layer_norm_backward),
    ],
    ids=["bn", "ln"],
)
def test_training_is_torchs_forward_and_backward(build, forward, backward, batch_size, eps):
    x, gamma, beta, grad_y = draw_case(batch_size)
    module = build(gamma, beta, eps=eps)
    leaf = x.clone().requires_grad_()
    expected = module(leaf)
    expected.backward(grad_y)

    result = forward(x, gamma, beta, eps)
    torch.testing.assert_close(result.y, expected.detach(), **EXACT)
    for ours, theirs in zip(
        backward(grad_y, result, gamma, eps), (leaf.grad, module.weight.grad, module.bias.grad), strict=True
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("forward", [batch_norm_train, layer_norm], ids=["bn", "ln"])
@pytest.mark.parametrize("batch_size", [2, 6])
def test_the_forward_formula_is_differentiable_to_second_order(forward, batch_size):
    x, gamma, beta = draw(batch_size, 3), draw(3, seed=1), draw(3, seed=2)
    inputs = tuple(tensor.requires_grad_() for tensor in (x, gamma, beta))

    def y(*arguments):
        return forward(*arguments, eps=0.1).y

    assert torch.autograd.gradcheck(y, inputs)
    assert torch.autograd.gradgradcheck(y, inputs)


@pytest.mark.parametrize(
    ("forward", "backward", "dim"),
    [(batch_norm_train, batch_norm_train_backward, 0), (layer_norm, layer_norm_backward, 1)],
    ids=["bn", "ln"],
)
def test_no_gradient_along_what_normalization_removes(forward, backward, dim):
    # The output does not change with a shift of x, nor (without eps) with its scale: no slope in these directions.
    x, gamma, beta, grad_y = draw_case(16)
    grad_x, _, _ = backward(grad_y, forward(x, gamma, beta, eps=0.0), gamma, eps=0.0)
    zero = torch.zeros(x.shape[1 - dim], dtype=torch.float64)
    torch.testing.assert_close(grad_x.sum(dim=dim), zero, rtol=0, atol=1e-10)
    torch.testing.assert_close((grad_x * x).sum(dim=dim), zero, rtol=0, atol=1e-9)
    assert grad_x.abs().max() > 1e-3


@pytest.mark.parametrize("momentum", [0.1, 1.0])
@pytest.mark.parametrize("batch_size", BATCH_SIZES)
def test_running_statistics_and_inference_follow_torch_over_several_batches(batch_size, momentum):
    _, gamma, beta, _ = draw_case(batch_size)
    module = torch_batch_norm(gamma, beta, momentum=momentum)
    mean, var = torch.zeros(FEATURES, dtype=torch.float64), torch.ones(FEATURES, dtype=torch.float64)
    for seed in range(4):
        x = 3 * draw(batch_size, FEATURES, seed=seed) + seed
        module(x)
        mean, var = batch_norm_running(mean, var, batch_norm_train(x, gamma, beta), batch_size, momentum)
        torch.testing.assert_close(mean, module.running_mean, **EXACT)
        torch.testing.assert_close(var, module.running_var, **EXACT)
    x = draw(3, FEATURES, seed=9)
    torch.testing.assert_close(batch_norm_inference(x, gamma, beta, mean, var), module.eval()(x).detach(), **EXACT)


def test_a_batch_of_two_shows_which_variance_is_biased():
    x = torch.tensor([[0.0], [2.0]], dtype=torch.float64)
    one, zero = torch.ones(1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
    batch = batch_norm_train(x, one, zero, eps=0.0)
    # Deviations of 1 and -1: divided by B they give variance 1, divided by B - 1 they give 2.
    assert batch.var.item() == 1
    assert batch.y.flatten().tolist() == [-1, 1]
    mean, var = batch_norm_running(zero, one, batch, batch_size=2, momentum=1.0)
    assert (mean.item(), var.item()) == (1, 2)
    # The same two examples at inference are therefore smaller, by the square root of 2.
    at_inference = batch_norm_inference(x, one, zero, mean, var, eps=0.0)
    torch.testing.assert_close(at_inference, batch.y / 2**0.5, **EXACT)


def test_one_example_has_no_batch_statistics():
    with pytest.raises(ValueError, match=r"at least 2 examples.*found 1"):
        batch_norm_train(torch.ones(1, 3), torch.ones(3), torch.zeros(3))


def test_worked_example_of_the_document_on_the_moderator():
    # seeds/000: its printed numbers are those of the biased variance; its code takes the unbiased one.
    x = torch.tensor([[1.0, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12]], dtype=torch.float64)
    batch = batch_norm_train(x, torch.ones(4, dtype=torch.float64), torch.zeros(4, dtype=torch.float64))
    assert batch.mean.tolist() == [5, 6, 7, 8]
    assert batch.var.tolist() == pytest.approx([10.6667] * 4, abs=5e-5)
    for row, printed in zip(batch.y, [-1.2247, 0.0, 1.2247], strict=True):
        assert row.tolist() == pytest.approx([printed] * 4, abs=5e-5)
    unbiased = batch.var * 3 / 2
    assert unbiased.tolist() == pytest.approx([16] * 4)
    in_its_code = (x - batch.mean) / torch.sqrt(unbiased + 1e-5)
    for row, computed in zip(in_its_code, [-1.0, 0.0, 1.0], strict=True):
        assert row.tolist() == pytest.approx([computed] * 4, abs=1e-6)


def test_worked_table_of_the_document_that_explains():
    # seeds/002: three features over three examples; printed with three digits, some of them cut, not rounded.
    x = torch.tensor([[1.0, 3, 2], [2, 4, 3], [3, 5, 4]], dtype=torch.float64)
    gamma, beta = (torch.tensor(v, dtype=torch.float64) for v in ([1.5, 1.0, 0.5], [0.5, 0.0, -0.5]))
    batch = batch_norm_train(x, gamma, beta)
    for feature in batch.x_hat.T:
        assert feature.tolist() == pytest.approx([-1.224, 0, 1.224], abs=2e-3)
    printed = [[-1.336, 0.5, 2.336], [-1.224, 0, 1.224], [-1.112, -0.5, 0.112]]
    for feature, expected in zip(batch.y.T, printed, strict=True):
        assert feature.tolist() == pytest.approx(expected, abs=2e-3)


def test_batch_norm_forgets_shift_and_scale_of_each_feature():
    x, gamma, beta, _ = draw_case(16)
    before = batch_norm_train(x, gamma, beta, eps=0.0).y
    scale, shift = draw(FEATURES, seed=5).abs() + 0.5, 10 * draw(FEATURES, seed=6)
    torch.testing.assert_close(batch_norm_train(x * scale + shift, gamma, beta, eps=0.0).y, before, rtol=0, atol=1e-10)


def test_layer_norm_forgets_shift_and_scale_of_each_example_but_not_of_a_feature():
    x, gamma, beta, _ = draw_case(16)
    before = layer_norm(x, gamma, beta, eps=0.0).y
    scale, shift = draw(16, 1, seed=5).abs() + 0.5, 10 * draw(16, 1, seed=6)
    torch.testing.assert_close(layer_norm(x * scale + shift, gamma, beta, eps=0.0).y, before, rtol=0, atol=1e-10)
    # Why a bias before ln stays: a shift of one feature is not cancelled.
    shifted = layer_norm(x + draw(FEATURES, seed=6) * 10, gamma, beta, eps=0.0).y
    assert (shifted - before).abs().max() > 0.1


@pytest.mark.parametrize("forward", [batch_norm_train, layer_norm], ids=["bn", "ln"])
def test_the_order_of_the_examples_does_not_matter(forward):
    x, gamma, beta, _ = draw_case(16)
    order = torch.randperm(16, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(forward(x[order], gamma, beta).y, forward(x, gamma, beta).y[order], **EXACT)


def test_an_example_sees_the_rest_of_its_batch_through_bn_and_not_through_ln():
    x, gamma, beta, _ = draw_case(16)
    other = torch.cat([x[:1], draw(15, FEATURES, seed=8)])
    torch.testing.assert_close(layer_norm(other, gamma, beta).y[0], layer_norm(x, gamma, beta).y[0], **EXACT)
    coupled = batch_norm_train(other, gamma, beta).y[0] - batch_norm_train(x, gamma, beta).y[0]
    assert coupled.abs().max() > 0.1


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_dtype_of_the_input_is_kept(dtype):
    x, gamma, beta, grad_y = (tensor.to(dtype) for tensor in draw_case(4))
    for forward, backward in ((batch_norm_train, batch_norm_train_backward), (layer_norm, layer_norm_backward)):
        result = forward(x, gamma, beta)
        tensors = (result.y, result.mean, result.var, *backward(grad_y, result, gamma))
        assert {tensor.dtype for tensor in tensors} == {dtype}


CHANNELS = 6
SHAPES = [(3, CHANNELS), (2, CHANNELS, 4), (3, CHANNELS, 2, 5)]


def draw_channels(shape):
    """Return inputs (N, C, ...) far from standardized, gamma, beta and a gradient of the output."""
    return 3 * draw(*shape) + 7, draw(CHANNELS, seed=1), draw(CHANNELS, seed=2), draw(*shape, seed=3)


@pytest.mark.parametrize("eps", [1e-5, 0.3])
@pytest.mark.parametrize("groups", [1, 2, 3])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_group_norm_is_torchs_forward_and_backward(shape, groups, eps):
    x, gamma, beta, grad_y = draw_channels(shape)
    module = nn.GroupNorm(groups, CHANNELS, eps=eps, dtype=torch.float64)
    module.load_state_dict({"weight": gamma, "bias": beta})
    leaf = x.clone().requires_grad_()
    expected = module(leaf)
    expected.backward(grad_y)

    result = group_norm(x, gamma, beta, groups, eps)
    torch.testing.assert_close(result.y, expected.detach(), **EXACT)
    assert result.mean.shape == result.var.shape == (shape[0], groups)
    theirs = (leaf.grad, module.weight.grad, module.bias.grad)
    for ours, expected_grad in zip(group_norm_backward(grad_y, result, gamma, eps), theirs, strict=True):
        torch.testing.assert_close(ours, expected_grad, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("eps", [1e-5, 0.3])
@pytest.mark.parametrize("shape", SHAPES[1:], ids=str)
def test_instance_norm_is_torchs_forward_and_backward(shape, eps):
    x, gamma, beta, grad_y = draw_channels(shape)
    parameters = [tensor.clone().requires_grad_() for tensor in (x, gamma, beta)]
    expected = nn.functional.instance_norm(parameters[0], weight=parameters[1], bias=parameters[2], eps=eps)
    expected.backward(grad_y)

    result = instance_norm(x, gamma, beta, eps)
    torch.testing.assert_close(result.y, expected.detach(), **EXACT)
    for ours, leaf in zip(group_norm_backward(grad_y, result, gamma, eps), parameters, strict=True):
        torch.testing.assert_close(ours, leaf.grad, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("eps", [1e-5, 0.3])
@pytest.mark.parametrize("batch_size", [1, 64])
def test_rms_norm_is_torchs_forward_and_backward(batch_size, eps):
    x, gamma, _, grad_y = draw_case(batch_size)
    module = nn.RMSNorm(FEATURES, eps=eps, dtype=torch.float64)
    module.load_state_dict({"weight": gamma})
    leaf = x.clone().requires_grad_()
    expected = module(leaf)
    expected.backward(grad_y)

    result = rms_norm(x, gamma, eps)
    torch.testing.assert_close(result.y, expected.detach(), **EXACT)
    for ours, theirs in zip(
        rms_norm_backward(grad_y, result, gamma, eps), (leaf.grad, module.weight.grad), strict=True
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-10)


def test_group_norm_between_layer_norm_and_instance_norm():
    x, gamma, beta, _ = draw_channels((3, CHANNELS, 4))
    torch.testing.assert_close(
        group_norm(x, gamma, beta, CHANNELS).y, instance_norm(x, gamma, beta).y, rtol=0, atol=1e-12
    )
    flat = draw_channels((3, CHANNELS))[0]
    torch.testing.assert_close(group_norm(flat, gamma, beta, 1).y, layer_norm(flat, gamma, beta).y, **EXACT)


def test_what_has_no_group_or_instance_statistics_is_refused():
    one, zero = torch.ones(CHANNELS), torch.zeros(CHANNELS)
    with pytest.raises(ValueError, match="groups that divide 6 channels, found 4"):
        group_norm(torch.ones(2, CHANNELS), one, zero, 4)
    with pytest.raises(ValueError, match="found 0"):
        group_norm(torch.ones(2, CHANNELS), one, zero, 0)
    with pytest.raises(ValueError, match=r"at least 2 positions a channel.*found 1"):
        instance_norm(torch.ones(2, CHANNELS, 1), one, zero)


@pytest.mark.parametrize("batch_size", [2, 32])
def test_batch_norm_by_hand_is_torchs_but_for_the_unbiased_deviation(batch_size):
    # With torch's own mean and std, as the founding document 001 writes it, and its gradients by autograd.
    x, gain, bias, grad_y = draw_case(batch_size)
    ours, theirs = ([tensor.clone().requires_grad_() for tensor in (x, gain, bias)] for _ in range(2))
    batch = batch_norm_unbiased(*ours)
    x_, gain_, bias_ = theirs
    written = gain_ * (x_ - x_.mean(0, keepdim=True)) / x_.std(0, keepdim=True) + bias_
    torch.testing.assert_close(batch.y, written, **EXACT)
    batch.y.backward(grad_y)
    written.backward(grad_y)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-9, atol=1e-10)
    module = torch_batch_norm(gain, torch.zeros_like(bias), eps=1e-30)  # torch refuses 0
    shrunk = module(x).detach() * ((batch_size - 1) / batch_size) ** 0.5
    torch.testing.assert_close(batch.y.detach() - bias, shrunk, **EXACT)


def test_the_running_deviation_by_hand_is_an_average_of_deviations():
    momentum, stds, variances = 0.25, [], []
    mean, std = torch.zeros(FEATURES, dtype=torch.float64), torch.ones(FEATURES, dtype=torch.float64)
    _, gain, bias, _ = draw_case(2)
    for seed in range(5):
        x = (seed + 1) * draw(32, FEATURES, seed=seed)
        stds.append(x.std(0))
        variances.append(x.var(0))
        mean, std = batch_norm_running_std(mean, std, batch_norm_unbiased(x, gain, bias), momentum)
    weights = [momentum * (1 - momentum) ** (4 - k) for k in range(5)]
    expected = (1 - momentum) ** 5 + sum(weight * one for weight, one in zip(weights, stds, strict=True))
    torch.testing.assert_close(std, expected, **EXACT)
    of_variances = (1 - momentum) ** 5 + sum(weight * one for weight, one in zip(weights, variances, strict=True))
    assert (std < of_variances.sqrt()).all()  # Jensen's inequality
