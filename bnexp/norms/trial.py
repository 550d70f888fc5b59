"""Try the module of a registered norm or activation on random values before a network is built of it.

What its registration claims is held against what it computes: shapes and types, what a state_dict keeps, over which
values its statistics are taken, and whether they are those that it uses at inference.
"""

import copy
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from bnexp.config.block import Item, norm_parameters
from bnexp.config.plugin_code import Source, explained
from bnexp.config.wording import brief, one_of
from bnexp.errors import ConfigError
from bnexp.norms.shapes import Shape
from bnexp.norms.statistics import seen_by, statistics_of

_MOST_PIXELS = 5
_EXAMPLES = 16
_CLOSE, _ALIKE = 1e-3, 0.2
"""Relative to the largest output: where two are the same up to eps and rounding; and where the statistics of a batch
may be biased in the one and not in the other."""
_SCALE = 1e3
"""The standard deviation of inputs beside which eps is nothing."""
_TRIED: set[tuple[str, str, str, Shape]] = set()


def build_registered(item: Item, shape: Shape) -> nn.Module:
    """Return the module of a registered item for a shape without the batch, (F,) or (C, H, W), tried before.

    Raises:
        ConfigError: it fails, or is not what its registration says, with file and line.
    """
    source = item.kind.source
    assert source is not None  # noqa: S101  the caller asks for registered items only
    small = (shape[0], *(min(side, _MOST_PIXELS) for side in shape[1:]))
    key = (item.name, str(item), source.mark, small)
    if key not in _TRIED:
        with torch.device("cpu"), torch.random.fork_rng(devices=[]), torch.enable_grad():
            problem = next(_problems(item, small, source), None)
        if problem is not None:
            raise ConfigError(f"{source.where}: {item}: {problem}")
        _TRIED.add(key)
    module = _made(item, shape, source)
    module.__dict__["is_item"] = True  # whatever modules it holds, it is one item
    return module


def _made(item: Item, shape: Shape, source: Source) -> nn.Module:
    build: Any = item.kind.build
    with explained(source.path, f"{item} of shape {shape}: "):
        module = build(shape, item.options)
    if not isinstance(module, nn.Module):
        found = brief(repr(module))
        raise ConfigError(f"{source.where}: {item}: expected a torch.nn.Module of {_name_of(build)}, found {found}")
    return module


def _name_of(build: Callable[..., Any]) -> str:
    return getattr(build, "__name__", None) or repr(build)


def _problems(item: Item, shape: Shape, source: Source) -> Iterator[str]:
    """Yield what is wrong, a sentence each."""
    module = _made(item, shape, source)
    try:
        copy.deepcopy(module)
    except Exception as error:
        yield f"it cannot be copied, as probes and folding do: {brief(f'{type(error).__name__}: {error}', 200)}"
        return
    x = torch.randn((_EXAMPLES, *shape), generator=torch.Generator().manual_seed(0)) * 2 + 1
    run = _runner(item, source)
    yield from _start(item, shape, module, _made(item, shape, source))
    yield from _single_pass(module, x, run)
    yield from _state(item, shape, source, x, run)
    norm = item.kind.role == "norm"
    yield from (_norm(item, module, x, run) if norm else _activation(module, x, run))


Pass = Callable[[nn.Module, Tensor], Tensor]
"""Passes values through a copy of a module, and keeps what goes wrong in it."""


def _runner(item: Item, source: Source) -> Pass:
    def run(module: nn.Module, x: Tensor) -> Tensor:
        with explained(source.path, f"{item} on values {tuple(x.shape)}: "):
            y = module(x)
        if not isinstance(y, Tensor):
            raise ConfigError(f"{source.where}: {item}: expected a tensor of forward, found {brief(repr(y))}")
        return y

    return run


def _start(item: Item, shape: Shape, module: nn.Module, again: nn.Module) -> Iterator[str]:
    """Compare what it learns with what is said of it, and with what a second one begins with."""
    redrawn = {
        f"{name}.{own}" if name else own
        for name, layer in module.named_modules()
        if isinstance(layer, nn.Linear | nn.Conv2d)  # which the network initializes
        for own, _ in layer.named_parameters()
    }
    second = again.state_dict()
    for name, value in module.state_dict().items():
        if name not in redrawn and not torch.equal(value, second[name]):
            yield f"{name} begins at random; expected constants, since each seed has a stream of its own for weights"
    learned = sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)
    if item.kind.role == "norm" and not redrawn and learned != (said := norm_parameters(item, shape)):
        yield (
            f"it learns {learned:,} numbers for {shape}, and its registration says {said:,} (learned_per_feature="
            f"{item.kind.learned_per_feature}, learned_per_layer={item.kind.learned_per_layer})"
        )


def _single_pass(module: nn.Module, x: Tensor, run: Pass) -> Iterator[str]:
    for training in (True, False):
        one, given = copy.deepcopy(module).train(training), x.clone().requires_grad_()
        random = torch.get_rng_state()
        y = run(one, given)
        when = "in training" if training else "at inference"
        if y.shape != x.shape:
            yield f"{when} it makes {tuple(y.shape)} of {tuple(x.shape)}; expected the same shape"
            return
        if y.dtype != x.dtype:
            yield f"{when} it makes {y.dtype} of {x.dtype}; expected the same type"
        if not y.isfinite().all():
            yield f"{when} it makes values that are not finite of normal ones"
        if not torch.equal(given, x):
            yield f"{when} it changes its input in place; expected a new tensor"
        if not torch.equal(random, torch.get_rng_state()):
            yield f"{when} it draws from torch's stream of random numbers, on which nothing here may depend"
        if not training and run(copy.deepcopy(module).eval(), x[:1]).shape != x[:1].shape:
            yield f"{when} it makes another shape of a single example"
        if not torch.equal(y, run(copy.deepcopy(module).train(training), x)):
            yield f"{when} it makes other values of the same input a second time"
        exact = run(copy.deepcopy(module).double().train(training), x.double())
        if exact.dtype != torch.float64 or not _same(exact, y.double()):
            yield f"{when} it makes other values, or another type, of the same numbers in float64"
        yield from _gradient(y, given, when)


def _gradient(y: Tensor, x: Tensor, when: str) -> Iterator[str]:
    weights = torch.linspace(1, 2, y.numel()).view(y.shape).square()
    gradient = torch.autograd.grad((y * weights).sum(), x, allow_unused=True)[0] if y.requires_grad else None
    if gradient is None:
        yield f"{when} no gradient passes through it"
    elif not gradient.isfinite().all():
        yield f"{when} its gradient is not finite at normal values"


def _state(item: Item, shape: Shape, source: Source, x: Tensor, run: Pass) -> Iterator[str]:
    """See that a resumed training is the uninterrupted one: all that a pass leaves behind is in its buffers."""
    trained, resumed = (_made(item, shape, source).train() for _ in range(2))
    values = dict((*trained.named_parameters(), *trained.named_buffers()))
    for number in range(3):
        run(trained, x * (1 + number))
    for name, value in (*trained.named_parameters(), *trained.named_buffers()):
        if values.get(name) is not value:
            yield f"it puts another tensor in the place of its buffer {name}; expected it changed in place, as by copy_"
            return
    with torch.no_grad():
        for name, value in (*resumed.named_parameters(), *resumed.named_buffers()):
            value.copy_(values[name])
    for training in (True, False):
        if not torch.equal(*(run(one.train(training), x) for one in (trained, resumed))):
            yield "what it keeps from one pass to the next is not all in buffers: a resumed run would be another"
            return


def _activation(module: nn.Module, x: Tensor, run: Pass) -> Iterator[str]:
    if not _same(run(copy.deepcopy(module).train(), x)[:1], run(copy.deepcopy(module).train(), x[:1])):
        yield "it makes other values of an example beside others; expected a function of each value"
    if changed := _changed_by_a_pass(module, x, run):
        yield f"it changes {one_of(changed)} in training; expected a function without a state"


def _changed_by_a_pass(module: nn.Module, x: Tensor, run: Pass) -> list[str]:
    copied = copy.deepcopy(module).train()
    before = {name: value.clone() for name, value in copied.named_buffers()}
    run(copied, x)
    return [
        name
        for name, value in copied.named_buffers()
        if value.is_floating_point() and not torch.equal(value, before[name])
    ]


def _norm(item: Item, module: nn.Module, x: Tensor, run: Pass) -> Iterator[str]:
    """Hold the facts of a norm against what it computes."""
    kind = item.kind

    def trained(values: Tensor) -> Tensor:
        return run(copy.deepcopy(module).train(), values).detach()

    yield from _over(item, trained, x)
    of_features = kind.over in ("batch", "channel")
    shift = torch.linspace(-3, 3, x.shape[1]).view(-1, *[1] * (x.ndim - 2)) if of_features else torch.tensor(3.0)
    large = trained(x * _SCALE)
    for fact, changed, what in (
        ("subtracts_mean", (x + shift) * _SCALE, "a constant added to its input"),
        ("scale_invariant", x * 2 * _SCALE, "a factor on its input"),
    ):
        claimed, holds = getattr(kind, fact), _same(large, trained(changed))
        if kind.over != "none" and claimed != holds:
            yield f"{fact}={claimed}, but {what} {'has no effect on' if holds else 'changes'} its output in training"
    running = _changed_by_a_pass(module, x, run)
    if kind.over == "batch":
        yield from _inference(item, module, x, running, run)
    elif running:
        yield f"over={kind.over!r} has no running statistics, but training changes {one_of(running)}"


def _same(y: Tensor, other: Tensor, tolerance: float = _CLOSE) -> bool:
    return bool((y - other).abs().max() <= tolerance * y.abs().max().clamp_min(1e-6))


def _over(item: Item, trained: Callable[[Tensor], Tensor], x: Tensor) -> Iterator[str]:
    """See on which values an output depends: those of other examples, channels or positions are replaced in turn."""
    over, images = item.kind.over, x.ndim > 2
    y = trained(x)
    others = x.clone()
    others[1:] = others[1:] * 3 + 2
    depends = not _same(y[0], trained(others)[0])
    if depends != (over == "batch"):
        yield f"over={over!r}, but in training an example {'changes' if depends else 'stays the same'} with the others"
    free = {"batch": "channel", "channel": "channel", "position": "position", "none": "value"}.get(over)
    if free in ("channel", "value"):
        others = x.clone()
        others[:, 1:] = others[:, 1:] * 3 + 2
        if not _same(y[:, 0], trained(others)[:, 0]):
            yield f"over={over!r}, but in training a channel changes with the others"
    if images and free in ("position", "value"):
        others = x.clone()
        others[..., 1:] = others[..., 1:] * 3 + 2
        if not _same(y[..., 0], trained(others)[..., 0]):
            yield f"over={over!r}, but in training a position changes with the others"


def _inference(item: Item, module: nn.Module, x: Tensor, running: list[str], run: Pass) -> Iterator[str]:
    """See that a norm over the batch has running statistics, which are those of the batch and serve at inference."""
    path = item.kind.source.path if item.kind.source else ""
    held = copy.deepcopy(module).eval()
    if not _same(run(held, x)[:1], run(held, x[:1])):
        yield "at inference an example changes with the others; expected running statistics in their place"
        return
    if not running:
        yield "over='batch' needs running statistics for inference, and training changes no buffer"
        return
    with explained(path, "batch_statistics: "), torch.no_grad():
        found = statistics_of(held, [seen_by(held, x)])
    if missing := sorted(set(running) ^ set(found)):
        yield (
            f"nothing tells how {one_of(missing)} follow from a batch; expected a method `batch_statistics(x)` that "
            "returns the statistics of x by the names of their buffers"
        )
        return
    for name, value in found.items():
        held.get_buffer(name).copy_(value)
    if not _same(run(copy.deepcopy(held).train(), x), run(held, x), _ALIKE):
        where = one_of(sorted(found))
        yield f"with the statistics of a batch in {where}, inference differs from training on that batch"
    if not item.kind.nonlinear:
        scale, shift = affine_of_features(held, x.shape[1:])
        wide = [-1, *[1] * (x.ndim - 2)]
        exact = copy.deepcopy(held).double()
        if not _same(exact(x.double()), scale.view(wide) * x.double() + shift.view(wide), 1e-4):
            yield "at inference it is no scale and shift of each feature; expected that, or nonlinear=True"


@torch.no_grad()
def affine_of_features(norm: nn.Module, shape: Shape) -> tuple[Tensor, Tensor]:
    """Return scale and shift, (F,) in float64, of a norm that at inference gives scale * x + shift of each feature."""
    exact = copy.deepcopy(norm).cpu().double().eval()
    zeros = torch.zeros((1, *shape), dtype=torch.float64)
    shift = exact(zeros).flatten(2).mean(-1)[0] if len(shape) > 1 else exact(zeros)[0]
    ones = exact(zeros + 1)
    total = ones.flatten(2).mean(-1)[0] if len(shape) > 1 else ones[0]
    return total - shift, shift
