"""Every norm of the block notation against its formula in float64, written out here once more, and its invariances."""

import copy
import io

import pytest
import scipy.special
import torch

from bnexp.config.block import norm_parameters, parse_item
from bnexp.config.items import ITEMS, NORM_NAMES
from bnexp.norms.noisy_batch_norm import NoisyBatchNorm
from bnexp.norms.registry import NORMS, build_norm

VECTORS, IMAGES = (6,), (6, 3, 2)
BATCH_SIZES = [2, 64]
TEXTS = {
    "bn": "bn(eps=0.01)",
    "ghost_bn": "ghost_bn(size=2, eps=0.01)",
    "batch_renorm": "batch_renorm(rmax=1.5, dmax=0.4, warmup_steps=0, momentum=0.2, eps=0.01)",
    "sync_bn": "sync_bn(eps=0.01)",
    "noisy_bn": "noisy_bn(eps=0.01)",
    "ln": "ln(eps=0.01)",
    "ln_c": "ln_c(eps=0.01)",
    "gn": "gn(groups=3, eps=0.01)",
    "in": "in(eps=0.01)",
    "rms": "rms(eps=0.01)",
    "frn": "frn(eps=0.01)",
    "vn": "vn(eps=0.01)",
    "evonorm_b0": "evonorm_b0(eps=0.01)",
    "evonorm_s0": "evonorm_s0(groups=2, eps=0.01)",
    "dyt": "dyt(alpha=0.7)",
    "derf": "derf(alpha=0.7)",
}
EPS = 0.01
PLACES = [(name, shape) for name in NORM_NAMES for shape in (VECTORS, IMAGES) if (name, shape) != ("in", VECTORS)]
SAME_IN_BOTH_MODES = ["ln", "ln_c", "gn", "in", "rms", "frn", "evonorm_s0", "dyt", "derf"]
every_place = pytest.mark.parametrize(("name", "shape"), PLACES, ids=lambda value: str(value))


def draw(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def batch(size, shape, seed=0):
    """Return inputs whose features have means and scales of their own."""
    one = [1] * (len(shape) - 1)
    scale, shift = draw(shape[0], *one, seed=100).abs() + 0.5, draw(shape[0], *one, seed=101)
    return draw(size, *shape, seed=seed) * scale + shift


def build(text, shape, seed=7):
    """Return a norm in float64 whose parameters are not where they start."""
    module = build_norm(parse_item(text), shape).double()
    with torch.no_grad():
        for number, parameter in enumerate(module.parameters()):
            parameter.copy_(1 + 0.3 * draw(*parameter.shape, seed=seed + number))
    return module


def column(values, x):
    return values.reshape(1, -1, *[1] * (x.ndim - 2))


def affine(module, x_hat):
    weight, bias = module.weight.detach(), getattr(module, "bias", None)
    weight = weight if weight.ndim > 1 else column(weight, x_hat)
    bias = 0 if bias is None else bias.detach() if bias.ndim > 1 else column(bias.detach(), x_hat)
    return weight * x_hat + bias


def moments(x, dims):
    """Return mean and biased variance, from sums."""
    count = 1
    for dim in dims:
        count *= x.shape[dim]
    mean = x.sum(dim=dims, keepdim=True) / count
    return mean, ((x - mean) ** 2).sum(dim=dims, keepdim=True) / count


def standardized(x, dims):
    mean, var = moments(x, dims)
    return (x - mean) / (var + EPS) ** 0.5


def batch_dims(x):
    return [d for d in range(x.ndim) if d != 1]


def example_dims(x):
    return list(range(1, x.ndim))


def grouped(x, groups):
    """Return x as (B, groups, everything else)."""
    return x.reshape(len(x), groups, -1)


def formula_bn(module, x):
    return affine(module, standardized(x, batch_dims(x)))


def formula_ghost(module, x):
    return torch.cat([formula_bn(module, x[start : start + module.size]) for start in range(0, len(x), module.size)])


def formula_renorm(module, x):
    mean, var = moments(x, batch_dims(x))
    std = (var + EPS) ** 0.5
    running_mean, running_std = column(module.running_mean, x), column(module.running_std, x)
    r = (std / running_std).clamp(1 / 1.5, 1.5)
    d = ((mean - running_mean) / running_std).clamp(-0.4, 0.4)
    return affine(module, (x - mean) / std * r + d)


def formula_noisy(module, x):
    z, stream = formula_bn(module, x), torch.Generator().manual_seed(module.stream.seed)

    def uniform(low, high, *shape):
        return torch.empty(*shape, dtype=x.dtype).uniform_(low, high, generator=stream)

    sigma = uniform(1, 1.25, x.shape[1])
    scale = column(sigma, x) + 0.1 * torch.empty(x.shape, dtype=x.dtype).normal_(generator=stream)
    mu = uniform(-0.5, 0.5, x.shape[1])
    return scale * z + column(mu, x) + uniform(-0.1, 0.1, *x.shape)


def formula_gn(module, x):
    return affine(module, standardized(grouped(x, 3), [2]).reshape(x.shape))


def formula_rms(module, x):
    return affine(module, x / ((x**2).mean(dim=example_dims(x), keepdim=True) + EPS) ** 0.5)


def formula_frn(module, x):
    if x.ndim == 2:
        return affine(module, x / (x**2 + EPS + module.eps_learned.detach().abs()) ** 0.5)
    return affine(module, x / ((x**2).sum(dim=(2, 3), keepdim=True) / 6 + EPS) ** 0.5)


def formula_vn(module, x):
    return affine(module, x / (moments(x, batch_dims(x))[1] + EPS) ** 0.5)


def formula_b0(module, x, var=None):
    var = moments(x, batch_dims(x))[1] if var is None else column(var, x)
    instance = torch.zeros_like(x) if x.ndim == 2 else moments(x, [2, 3])[1]
    line = column(module.v.detach(), x) * x + (instance + EPS) ** 0.5
    return affine(module, x / torch.where(line > (var + EPS) ** 0.5, line, (var + EPS) ** 0.5))


def formula_s0(module, x):
    var = moments(grouped(x, 2), [2])[1].expand(-1, -1, x[0].numel() // 2).reshape(x.shape)
    return affine(module, x / (1 + torch.exp(-column(module.v.detach(), x) * x)) / (var + EPS) ** 0.5)


def formula_derf(module, x):
    squashed = scipy.special.erf((module.alpha * x + module.s).detach().numpy())
    return affine(module, torch.from_numpy(squashed))


FORMULAS = {
    "bn": formula_bn,
    "ghost_bn": formula_ghost,
    "batch_renorm": formula_renorm,
    "sync_bn": formula_bn,
    "noisy_bn": formula_noisy,
    "ln": lambda module, x: affine(module, standardized(x, example_dims(x))),
    "ln_c": lambda module, x: affine(module, standardized(x, [1])),
    "gn": formula_gn,
    "in": lambda module, x: affine(module, standardized(x, [2, 3])),
    "rms": formula_rms,
    "frn": formula_frn,
    "vn": formula_vn,
    "evonorm_b0": formula_b0,
    "evonorm_s0": formula_s0,
    "dyt": lambda module, x: affine(module, 1 - 2 / (1 + torch.exp(2 * module.alpha.detach() * x))),
    "derf": formula_derf,
}


def test_every_norm_is_tested_here():
    assert set(TEXTS) == set(FORMULAS) == set(NORMS)


@every_place
@pytest.mark.parametrize("size", BATCH_SIZES)
def test_in_training_each_computes_its_formula_and_leaves_its_input_alone(name, shape, size):
    module, x = build(TEXTS[name], shape), batch(size, shape)
    before, expected = x.clone(), FORMULAS[name](module, x)
    y = module(x)
    assert y.shape == x.shape
    assert torch.equal(x, before)
    torch.testing.assert_close(y.detach(), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", SAME_IN_BOTH_MODES)
@pytest.mark.parametrize("size", [1, *BATCH_SIZES])
def test_without_batch_statistics_training_and_inference_are_the_same(name, size):
    module, x = build(TEXTS[name], IMAGES), batch(size, IMAGES)
    expected = FORMULAS[name](module, x)
    for mode in (True, False):
        torch.testing.assert_close(module.train(mode)(x).detach(), expected, rtol=0, atol=1e-12)
    assert not list(module.buffers())


def running_after(name, module, batches):
    """Return running mean and variance (of batch_renorm: deviation) after these batches, by their definition."""
    momentum = 0.2 if name == "batch_renorm" else 0.1
    mean, var = torch.zeros(6, dtype=torch.float64), torch.ones(6, dtype=torch.float64)
    for x in batches:
        for part in x.split(2) if name == "ghost_bn" else [x]:
            count = part.numel() // 6
            part_mean, part_var = (value.flatten() for value in moments(part, batch_dims(part)))
            new = part_var if name in ("vn", "evonorm_b0") else part_var * count / (count - 1)
            new = (part_var + EPS) ** 0.5 if name == "batch_renorm" else new
            mean, var = (1 - momentum) * mean + momentum * part_mean, (1 - momentum) * var + momentum * new
    return mean, var


@pytest.mark.parametrize("size", BATCH_SIZES)
@pytest.mark.parametrize("shape", [VECTORS, IMAGES], ids=str)
@pytest.mark.parametrize("name", [name for name in NORM_NAMES if ITEMS[name].batch_statistics])
def test_inference_uses_the_running_statistics_of_several_batches(name, shape, size):
    module, batches = build(TEXTS[name], shape), [batch(size, shape, seed=seed) + seed for seed in range(4)]
    for x in batches:
        module(x)
    mean, var = running_after(name, module, batches)
    assert module.num_batches_tracked == 4
    x = batch(3, shape, seed=9)
    if name == "evonorm_b0":
        expected = formula_b0(module, x, var=var)
    elif name == "vn":
        expected = affine(module, x / column((var + EPS) ** 0.5, x))
    else:
        std = var if name == "batch_renorm" else (var + EPS) ** 0.5
        expected = affine(module, (x - column(mean, x)) / column(std, x))
    torch.testing.assert_close(module.eval()(x).detach(), expected, rtol=0, atol=1e-12)
    assert module.num_batches_tracked == 4


def as_function(module, x):
    """Return the norm as a function of its input and parameters that leaves no trace."""
    names, draws = [name for name, _ in module.named_parameters()], hasattr(module, "stream")

    def y(x, *parameters):
        fresh = copy.deepcopy(module) if draws else module
        buffers = {name: buffer.clone() for name, buffer in module.named_buffers()}
        return torch.func.functional_call(fresh, buffers | dict(zip(names, parameters, strict=True)), (x,))

    return y, (x.requires_grad_(), *(parameter.detach().clone().requires_grad_() for parameter in module.parameters()))


@every_place
@pytest.mark.parametrize("training", [True, False])
def test_the_gradient_is_that_of_the_function(name, shape, training):
    module = build(TEXTS[name], shape)
    if name == "batch_renorm":
        # r and d are constants to the gradient: where both are at their bounds, they are constants of the function too.
        module.running_mean.fill_(50.0)
        module.running_std.fill_(0.01)
    function, inputs = as_function(module.train(training), batch(2, shape))
    assert torch.autograd.gradcheck(function, inputs)


@every_place
def test_a_state_dict_takes_everything_along(name, shape):
    module, twin = build(TEXTS[name], shape), build(TEXTS[name], shape, seed=50)
    for seed in range(3):
        module(batch(4, shape, seed=seed))
    file = io.BytesIO()
    torch.save(module.state_dict(), file)
    file.seek(0)
    twin.load_state_dict(torch.load(file, weights_only=True))
    x = batch(4, shape, seed=9)
    for mode in (True, False):
        assert torch.equal(twin.train(mode)(x), module.train(mode)(x))


@every_place
def test_a_narrow_input_under_autocast_is_normalized_as_a_wide_one(name, shape):
    module, x = build_norm(parse_item(TEXTS[name]), shape), batch(8, shape).to(torch.bfloat16)
    twin = copy.deepcopy(module)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = module(x)
    assert y.dtype == torch.bfloat16
    assert all(buffer.dtype != torch.bfloat16 for buffer in module.buffers())
    if name != "noisy_bn":  # whose draws in bfloat16 are others
        torch.testing.assert_close(y.float(), twin(x.float()), rtol=0.02, atol=0.02)


# Invariances: what a norm forgets about its input


def training_change(name, change, shape=IMAGES, size=8):
    """Return how much the output changes in training when the input is changed so; eps is next to nothing."""
    text = TEXTS[name].replace("eps=0.01", "eps=1e-12")
    x = batch(size, shape)
    module, other = build(text, shape), build(text, shape)
    return (module(x) - other(change(x))).abs().max().item()


def forgotten(kind):
    """Return what a norm forgets by its facts: shift per feature, scale per feature, shift and scale per example."""
    of_features, of_examples = kind.over in ("batch", "channel"), kind.divided is not None
    return [
        kind.cancels_bias,
        of_features and kind.scale_invariant,
        of_examples and kind.subtracts_mean,
        of_examples and kind.scale_invariant,
    ]


PER_FEATURE, PER_EXAMPLE = (1, 6, 1, 1), (8, 1, 1, 1)
CHANGES = [
    lambda x: x + 3 * draw(*PER_FEATURE, seed=4),
    lambda x: x * (0.5 + draw(*PER_FEATURE, seed=5).abs()),
    lambda x: x + 3 * draw(*PER_EXAMPLE, seed=4),
    lambda x: x * (0.5 + draw(*PER_EXAMPLE, seed=5).abs()),
]


@pytest.mark.parametrize("name", NORM_NAMES)
@pytest.mark.parametrize("index", range(4), ids=["shift_feature", "scale_feature", "shift_example", "scale_example"])
def test_what_a_norm_forgets_and_what_it_keeps(name, index):
    change = training_change(name, CHANGES[index])
    assert change < 1e-8 if forgotten(ITEMS[name])[index] else change > 1e-2


@every_place
def test_the_order_of_the_examples_is_kept(name, shape):
    if name in ("noisy_bn", "ghost_bn"):
        pytest.skip("noise and ghost batches go by the place in the batch, on purpose")
    x, order = batch(8, shape), torch.randperm(8, generator=torch.Generator().manual_seed(0))
    module, other = build(TEXTS[name], shape), build(TEXTS[name], shape)
    torch.testing.assert_close(other(x[order]), module(x)[order], rtol=0, atol=1e-12)


@every_place
def test_an_example_sees_the_rest_of_its_batch_only_through_batch_statistics(name, shape):
    x = batch(8, shape)
    other = torch.cat([x[:1], batch(7, shape, seed=8) * 2])
    for training in (True, False):
        module, twin = build(TEXTS[name], shape).train(training), build(TEXTS[name], shape).train(training)
        change = (module(x)[0] - twin(other)[0]).abs().max().item()
        assert change > 1e-2 if training and ITEMS[name].batch_statistics else change < 1e-12


@pytest.mark.parametrize("training", [True, False])
@every_place
def test_a_bias_cancels_exactly_before_the_norms_that_are_said_to_cancel_it(name, shape, training):
    """Proof: y depends on x through x - mean_f(x) only, and the running mean moves with the bias.

    A momentum of 1 lets the running mean forget its initial 0, to which no bias was added.
    """
    options = TEXTS[name].replace("momentum=0.2, ", "").replace("(", "(momentum=1, ")
    text = options if "momentum" in ITEMS[name].options.model_fields else TEXTS[name]
    x, bias = batch(8, shape), column(10 * draw(6, seed=4), batch(1, shape))
    module, other = build(text, shape), build(text, shape)
    y, with_bias = module(x), other(x + bias)
    if not training:
        y, with_bias = module.eval()(x), other.eval()(x + bias)
    change = (y - with_bias).abs().max().item()
    # batch_renorm cancels it at inference, but not in training, where the running mean that enters lags behind.
    cancels = ITEMS[name].cancels_bias or (name == "batch_renorm" and not training)
    assert change < 1e-10 if cancels else change > 1e-3


@pytest.mark.parametrize("name", [name for name in NORM_NAMES if forgotten(ITEMS[name])[1]])
def test_the_scale_of_the_weights_below_does_not_matter_and_their_gradient_goes_with_its_inverse(name):
    """For y(a W x) = y(W x): dL/dW at a W is 1 / a of the one at W."""
    text = TEXTS[name].replace("eps=0.01", "eps=1e-12")
    x, weight = batch(8, IMAGES), draw(6, 6, seed=11)
    gradients, outputs = [], []
    for scale in (1.0, 7.0):
        scaled = (scale * weight).requires_grad_()
        y = build(text, IMAGES)(torch.einsum("oc,bchw->bohw", scaled, x))
        (gradient,) = torch.autograd.grad((y * draw(*y.shape, seed=12)).sum(), scaled)
        gradients.append(gradient)
        outputs.append(y.detach())
    torch.testing.assert_close(outputs[1], outputs[0], rtol=0, atol=1e-8)
    torch.testing.assert_close(7 * gradients[1], gradients[0], rtol=1e-6, atol=1e-8)


# Norms that are each other in a special case


@pytest.mark.parametrize("shape", [VECTORS, IMAGES], ids=str)
def test_a_ghost_batch_of_the_whole_batch_is_bn(shape):
    ghost, bn = build("ghost_bn(size=8)", shape), build("bn", shape)
    for seed in range(3):
        x = batch(8, shape, seed=seed)
        assert torch.equal(ghost(x), bn(x))
    x = batch(5, shape, seed=9)
    assert torch.equal(ghost.eval()(x), bn.eval()(x))
    assert ghost.num_batches_tracked == bn.num_batches_tracked == 3


def test_what_ghost_batches_leave_over_is_a_ghost_batch_of_its_own():
    x, ghost = batch(8, VECTORS), build("ghost_bn(size=3)", VECTORS)
    parts = [build("bn", VECTORS)(part) for part in (x[:3], x[3:6], x[6:])]
    torch.testing.assert_close(ghost(x), torch.cat(parts), rtol=0, atol=1e-12)
    assert ghost.num_batches_tracked == 1


def test_a_ghost_batch_does_not_see_the_others():
    x = batch(8, VECTORS)
    other = torch.cat([x[:4], batch(4, VECTORS, seed=5)])
    first, second = (build("ghost_bn(size=4)", VECTORS)(inputs) for inputs in (x, other))
    assert torch.equal(first[:4], second[:4])


@pytest.mark.parametrize("shape", [VECTORS, IMAGES], ids=str)
def test_sync_bn_in_one_process_is_bn(shape):
    sync, bn = build("sync_bn", shape), build("bn", shape)
    for seed in range(2):
        assert torch.equal(sync(batch(8, shape, seed=seed)), bn(batch(8, shape, seed=seed)))
    assert torch.equal(sync.eval()(batch(3, shape)), bn.eval()(batch(3, shape)))


def test_batch_renorm_is_bn_in_its_warm_up_and_its_bounds_then_rise_to_where_they_are_set():
    renorm, bn = build("batch_renorm(rmax=3, dmax=5, warmup_steps=4)", VECTORS), build("bn", VECTORS)
    bounds = []
    for step in range(40):
        bounds.append(tuple(value.item() for value in renorm.bounds()))
        x = batch(8, VECTORS, seed=step)
        y = renorm(x)
        if step < 4:
            torch.testing.assert_close(y, bn(x), rtol=0, atol=1e-12)
    assert bounds[:5] == [(1, 0)] * 5
    assert bounds[12] == pytest.approx((1 + 2 * 8 / 28, 2.5))
    assert bounds[20][1] == 5 > bounds[19][1]
    assert bounds[32] == (3, 5)
    assert bounds[31][0] < 3


def test_the_bounds_of_batch_renorm_are_as_exact_as_what_they_bound():
    module = build("batch_renorm(rmax=3, dmax=5, warmup_steps=7)", VECTORS)
    module.num_batches_tracked.fill_(18)
    rmax, dmax = module.bounds()
    assert rmax.dtype == dmax.dtype == torch.float64
    assert (rmax.item(), dmax.item()) == pytest.approx((1 + 2 * 11 / 49, 5 * 11 / 28), rel=1e-15)


def test_batch_renorm_is_nearly_the_same_in_training_and_at_inference_once_it_knows_the_data():
    renorm, bn = build("batch_renorm(warmup_steps=0, momentum=0.01)", VECTORS), build("bn(momentum=0.01)", VECTORS)
    for step in range(600):
        x = batch(64, VECTORS, seed=step)
        renorm(x)
        bn(x)
    x = batch(16, VECTORS, seed=1000)
    gap = {}
    for module in (renorm, bn):
        in_training = copy.deepcopy(module)(x)
        gap[module] = (in_training - module.eval()(x)).abs().max().item()
    assert gap[renorm] < 1e-10
    assert gap[bn] > 1e-2


def test_the_gradient_of_batch_renorm_does_not_go_through_its_corrections():
    module, x = build("batch_renorm(warmup_steps=0)", VECTORS), batch(8, VECTORS).requires_grad_()
    mean, var = moments(x.detach(), [0])
    std = (var + 1e-5) ** 0.5
    grad_y = draw(8, 6, seed=3)
    (gradient,) = torch.autograd.grad(module(x), x, grad_y)
    # That of bn, times r.
    (of_bn,) = torch.autograd.grad(build("bn", VECTORS)(x), x, grad_y)
    torch.testing.assert_close(gradient, of_bn * std.clamp(1 / 3, 3), rtol=1e-9, atol=1e-12)
    assert mean.abs().max() < 5


def test_gn_of_one_group_is_ln_and_of_a_group_per_channel_is_in():
    x = batch(4, IMAGES)
    plain = {name: build_norm(parse_item(name), IMAGES).double()(x) for name in ("ln", "in")}
    for groups, name in ((1, "ln"), (6, "in")):
        gn = build_norm(parse_item(f"gn(groups={groups})"), IMAGES).double()
        torch.testing.assert_close(gn(x), plain[name], rtol=0, atol=1e-12)
    on_vectors = build_norm(parse_item("gn(groups=1)"), VECTORS).double()
    ln = build_norm(parse_item("ln"), VECTORS).double()
    torch.testing.assert_close(on_vectors(x[..., 0, 0]), ln(x[..., 0, 0]), rtol=0, atol=1e-12)


def test_ln_c_on_feature_maps_is_ln_at_each_position_and_on_features_is_ln():
    ln_c, ln = build("ln_c", IMAGES), build("ln", VECTORS)
    x = batch(4, IMAGES)
    for row in range(3):
        for col in range(2):
            torch.testing.assert_close(ln_c(x)[..., row, col], ln(x[..., row, col]), rtol=0, atol=1e-12)
    assert torch.equal(build("ln_c", VECTORS)(x[..., 0, 0]), ln(x[..., 0, 0]))


def test_evonorm_b0_is_a_line_where_the_batch_varies_most_and_bends_above():
    module = build_norm(parse_item("evonorm_b0"), VECTORS).double()
    x = batch(64, VECTORS)
    y, std = module(x).detach(), x.std(dim=0, correction=0)
    negative = x < 0
    torch.testing.assert_close(y[negative], (x / std)[negative], rtol=1e-4, atol=1e-4)
    assert y.max() < 1


def test_dyt_starts_at_its_alpha_and_its_values_are_on_their_own():
    module = build_norm(parse_item("dyt(alpha=0.25)"), IMAGES).double()
    x = batch(4, IMAGES)
    torch.testing.assert_close(module(x).detach(), torch.tanh(0.25 * x), rtol=0, atol=1e-7)
    assert module(x)[1, 2, 0, 1] == module(x[1:2])[0, 2, 0, 1]


def test_derf_starts_at_its_alpha_with_no_shift():
    module, x = build_norm(parse_item("derf(alpha=0.25)"), IMAGES).double(), batch(4, IMAGES)
    expected = torch.from_numpy(scipy.special.erf(0.25 * x.numpy()))
    torch.testing.assert_close(module(x).detach(), expected, rtol=0, atol=1e-12)
    assert build_norm(parse_item("derf"), VECTORS).alpha.item() == 0.5


def test_frn_learns_its_eps_only_where_there_is_one_position():
    assert build_norm(parse_item("frn"), IMAGES).eps_learned is None
    for shape in (VECTORS, (6, 1, 1)):
        assert build_norm(parse_item("frn"), shape).eps_learned.item() == pytest.approx(1e-4)


# noisy_bn: the noise


def noise(size=20_000, seed=3):
    """Return shift and scale of one batch of ones and zeros: bn's output is known there."""
    module = NoisyBatchNorm(2, parse_item("noisy_bn(eps=1e-12)").options, seed).double()
    x = torch.tensor([[1.0, 1.0], [-1.0, -1.0]], dtype=torch.float64).repeat(size // 2, 1)
    return x, module(x).detach(), module


def test_the_noise_has_a_mean_and_a_scale_of_its_own_in_each_feature_and_batch():
    seen = set()
    for seed in range(5):
        x, y, module = noise(seed=seed)
        for values in (y, module(x).detach()):
            shifts, scales = values.mean(dim=0), (values * x).mean(dim=0)
            assert (shifts.abs() < 0.51).all()
            assert (scales > 0.99).all()
            assert (scales < 1.26).all()
            # Of y = s x + m with x = 1 or -1: var = var(s) + var(m) on each side.
            spread = (values[0::2]).var(dim=0)
            torch.testing.assert_close(spread, torch.full_like(spread, 0.1**2 + 0.1**2 / 3), rtol=0.05, atol=0)
            seen |= {round(value, 3) for value in shifts.tolist()}
    assert len(seen) >= 19


def test_at_inference_there_is_no_noise_and_the_running_statistics_are_those_of_bn():
    noisy, bn = build("noisy_bn", IMAGES), build("bn", IMAGES)
    for seed in range(3):
        x = batch(8, IMAGES, seed=seed)
        assert not torch.allclose(noisy(x), bn(x), atol=0.1)
    state = noisy.stream.get_state()
    assert torch.equal(noisy.eval()(x), bn.eval()(x))
    assert torch.equal(noisy.stream.get_state(), state)


def test_the_noise_and_torchs_own_stream_do_not_move_each_other():
    x, module, twin = batch(8, VECTORS), build("noisy_bn", VECTORS), build("noisy_bn", VECTORS)
    before = torch.get_rng_state()
    first = module(x)
    assert torch.equal(torch.get_rng_state(), before)
    torch.randn(3)
    assert torch.equal(twin(x), first)
    assert not torch.equal(module(x), first)


@pytest.mark.parametrize("name", NORM_NAMES)
def test_each_shows_what_it_is(name):
    assert "6" in repr(build_norm(parse_item(TEXTS[name]), IMAGES))


def test_a_norm_learns_one_number_per_feature_and_ln_and_rms_one_per_value():
    per_feature = {name: [tuple(p.shape) for p in build(TEXTS[name], IMAGES).parameters()] for name in NORM_NAMES}
    assert per_feature.pop("ln") == [IMAGES, IMAGES]
    assert per_feature.pop("rms") == [IMAGES]
    assert per_feature.pop("dyt") == [(1,), (6,), (6,)]
    assert per_feature.pop("derf") == [(1,), (6,), (6,), (1,)]
    for name, shapes in per_feature.items():
        assert set(shapes) == {(6,)}, name


VARIANTS = [
    *(f"{name}(affine={affine})" for name in ("ln", "rms") for affine in ("true", "false", "channel")),
    *(f"{name}(affine=false)" for name in ("bn", "ghost_bn", "batch_renorm", "vn", "ln_c", "in")),
    *(f"bn(frozen={frozen})" for frozen in ("none", "statistics", "affine", "both")),
]


@pytest.mark.parametrize("shape", [VECTORS, IMAGES, (6, 1, 1), (6, 32, 32)], ids=str)
@pytest.mark.parametrize("text", [*TEXTS.values(), *VARIANTS])
def test_what_a_norm_learns_is_known_without_building_it(text, shape):
    item = parse_item(text)
    if item.name == "in" and len(shape) == 1:
        pytest.skip("images only")
    learned = sum(p.numel() for p in build_norm(item, shape).parameters() if p.requires_grad)
    assert norm_parameters(item, shape) == learned


def test_the_numbers_of_what_ln_learns_on_images():
    """Of ResNet-20: 19 norms, 7 of 16 x 32 x 32, 6 of 32 x 16 x 16 and 6 of 64 x 8 x 8."""
    places = [((16, 32, 32), 7), ((32, 16, 16), 6), ((64, 8, 8), 6)]
    counts = [
        sum(count * norm_parameters(parse_item(text), shape) for shape, count in places)
        for text in ("ln", "ln(affine=channel)", "bn")
    ]
    assert counts == [2 * (7 * 16384 + 6 * 8192 + 6 * 4096), 2 * (7 * 16 + 6 * 32 + 6 * 64), 2 * 688]


@pytest.mark.parametrize("name", ["ln", "rms"])
def test_affine_channel_is_a_gamma_for_each_channel_and_the_same_statistics(name):
    module, x = build(f"{name}(eps=0.01, affine=channel)", IMAGES), batch(8, IMAGES)
    torch.testing.assert_close(module(x).detach(), FORMULAS[name](module, x), rtol=0, atol=1e-12)
    function, inputs = as_function(module, batch(2, IMAGES))
    assert torch.autograd.gradcheck(function, inputs)
    of_vectors = build(f"{name}(eps=0.01, affine=channel)", VECTORS), build(f"{name}(eps=0.01)", VECTORS)
    x = batch(8, VECTORS)
    torch.testing.assert_close(of_vectors[0](x), of_vectors[1](x), rtol=0, atol=1e-12)


@pytest.mark.parametrize("frozen", ["statistics", "both"])
@pytest.mark.parametrize("shape", [VECTORS, IMAGES], ids=str)
def test_frozen_statistics_normalize_in_training_too_and_never_move(frozen, shape):
    """The statistics come from a state dict of bn, whose keys are the same."""
    bn, module = build("bn(eps=0.01)", shape), build(f"bn(frozen={frozen}, eps=0.01)", shape)
    for seed in range(3):
        bn(batch(8, shape, seed=seed))
    module.load_state_dict(bn.state_dict())
    mean, var, x = bn.running_mean.clone(), bn.running_var.clone(), batch(1, shape, seed=9)
    expected = affine(bn, (x - column(mean, x)) / column((var + EPS) ** 0.5, x))
    for training in (True, False):
        torch.testing.assert_close(module.train(training)(x).detach(), expected, rtol=0, atol=1e-12)
    assert torch.equal(module.running_mean, mean)
    assert torch.equal(module.running_var, var)
    assert module.num_batches_tracked == 3
    function, inputs = as_function(module.train(), batch(2, shape))
    assert torch.autograd.gradcheck(function, inputs)


def test_the_facts_of_frozen_statistics_are_those_of_a_constant_map():
    frozen, moving = parse_item("bn(frozen=statistics)").kind, parse_item("bn(frozen=affine)").kind
    assert moving == ITEMS["bn"]
    assert (moving.batch_statistics, moving.cancels_bias, moving.scale_invariant) == (True, True, True)
    assert (frozen.batch_statistics, frozen.cancels_bias, frozen.scale_invariant) == (False, False, False)
    norm, x = build("bn(frozen=statistics)", IMAGES), batch(8, IMAGES)
    assert all((norm(x) - norm(change(x))).abs().max() > 1e-2 for change in CHANGES)  # nothing is forgotten
    assert torch.equal(norm(x)[:1], norm(x[:1]))


@pytest.mark.parametrize("shape", [VECTORS, IMAGES], ids=str)
@pytest.mark.parametrize("name", [name for name in NORM_NAMES if name != "in"])
def test_the_norms_that_are_called_scale_invariant_are(name, shape):
    """With as good as no eps, the output in training is the same for 1,000 times the input, or it is not."""
    module, x = build(TEXTS[name], shape), batch(8, shape)
    module.eps = 1e-12
    if getattr(module, "eps_learned", None) is not None:  # of frn, where there is one position
        torch.nn.init.zeros_(module.eps_learned)
    copies = copy.deepcopy(module), copy.deepcopy(module)
    same = torch.allclose(copies[0](x), copies[1](1000 * x), rtol=1e-6, atol=1e-9)
    assert same == ITEMS[name].scale_invariant
