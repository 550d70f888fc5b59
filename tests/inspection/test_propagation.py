"""Signal and gradient at initialization: direct computation, and what the theory of deep networks says."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional

from bnexp.blueprint import draw
from bnexp.config.loading import load_config
from bnexp.config.schema import Config
from bnexp.inspection.propagation import growth, measure_propagation
from bnexp.training.build import TrainingRun, build

MakeConfig = Callable[..., Config]


def experiment(make_config: MakeConfig, **sections: Any) -> TrainingRun:
    return build(draw(make_config(**sections), Path("unused")), data_dir=Path("unused"), device="cpu")


def deep(make_config: MakeConfig, layers: int, width: int, norm: str, gain: float = 1.0) -> TrainingRun:
    return experiment(
        make_config,
        data={"batch_size": width, "synthetic": {"shape": [1, 16, 16], "classes": 10, "size": 2 * width}},
        model={"hidden": [width] * layers, "norm": norm},
        init={"scheme": "kaiming", "gain": gain},
    )


def test_each_layer_is_measured_with_the_items_that_follow_it(make_config: MakeConfig) -> None:
    run = experiment(make_config, training={"label_smoothing": 0.2})
    measured = measure_propagation(run)
    rows = {row.layer: row for row in measured.layers}
    assert list(rows) == ["block1.linear", "block2.linear", "head"]
    x, y = run.batches.at(0)
    hidden = run.network.block1(x.flatten(1))
    logits = run.network(x)
    loss = functional.cross_entropy(logits, y, label_smoothing=0.2)
    loss.backward()
    assert measured.loss == pytest.approx(loss.item(), rel=1e-5)
    assert [row.output for row in measured.layers] == ["block1.relu", "block2.relu", "head"]
    assert rows["block1.linear"].std == pytest.approx(hidden.std(correction=0).item(), rel=1e-4)
    assert rows["block1.linear"].dead_fraction == pytest.approx((hidden.amax(dim=0) == 0).float().mean().item())
    assert rows["head"].std == pytest.approx(logits.std(correction=0).item(), rel=1e-4)
    assert rows["head"].dead_fraction is None
    for name, row in rows.items():
        assert row.gradient_norm == pytest.approx(run.items[name].weight.grad.norm().item(), rel=1e-4)
        assert 1 <= row.effective_rank <= len(x) - 1


def test_measuring_changes_nothing(make_config: MakeConfig) -> None:
    run = experiment(make_config, model={"block": "linear -> norm -> act -> dropout(p=0.5)"})
    before = {name: value.clone() for name, value in run.network.state_dict().items() if torch.is_tensor(value)}
    first = measure_propagation(run)
    assert measure_propagation(run) == first
    state = run.network.state_dict()
    assert all(torch.equal(state[name], value) for name, value in before.items())
    assert all(parameter.grad is None for parameter in run.network.parameters())


def test_growth_is_the_geometric_mean_over_the_layers() -> None:
    assert growth([3.0, 100.0, 24.0]).total == pytest.approx(8)
    assert growth([3.0, 100.0, 24.0]).per_layer == pytest.approx(math.sqrt(8))


def test_with_batch_normalization_the_gradient_explodes_by_the_factor_of_yang_et_al(make_config: MakeConfig) -> None:
    """Its square grows by pi / (pi - 1) = 1.467 a layer toward the input, for large widths and batches (ReLU).

    Yang et al. 2019, https://arxiv.org/abs/1902.08129, with gamma 1 and beta 0; the first and last layers are still
    under way to that limit.
    """
    rows = measure_propagation(deep(make_config, 22, 768, "bn")).layers
    norms = [row.gradient_norm for row in rows[5:17]]
    assert growth(norms[::-1]).per_layer ** 2 == pytest.approx(math.pi / (math.pi - 1), rel=0.05)


@pytest.mark.parametrize("gain", [0.5, 1.0, 2.0])
def test_without_a_norm_signal_and_gradient_grow_by_the_gain_of_the_initialization(
    make_config: MakeConfig, gain: float
) -> None:
    """Weights of variance 2 / fan_in keep the square of the signal behind a ReLU, up and down (He et al. 2015)."""
    rows = measure_propagation(deep(make_config, 20, 512, "none", gain)).layers[5:-1]
    assert growth([row.std for row in rows]).per_layer == pytest.approx(gain, rel=0.1)
    assert growth([row.gradient_norm for row in rows]).per_layer == pytest.approx(1, rel=0.1)


def test_theory_says_nothing_of_the_first_layer_whose_input_is_the_image(make_config: MakeConfig) -> None:
    """Its gradient is |delta| |x|; the next one's |delta / gain| |h| with |h| = gain sqrt(width / inputs) |x|.

    So it is sqrt(inputs / width) times the others, which are as large as each other, whatever the gain.
    """
    width, inputs, gain, depth = 400, 100, 1.3, 6
    torch.manual_seed(0)
    x = torch.randn(width, inputs, dtype=torch.float64)
    weights = [
        (gain * math.sqrt(2 / before) * torch.randn(width, before, dtype=torch.float64)).requires_grad_()
        for before in (inputs, *[width] * (depth - 1))
    ]
    h = x
    for weight in weights:
        h = torch.relu(h @ weight.T)
    # Each example has a gradient of its own: theory is of one, and those of a batch add up like independent ones.
    (h * torch.randn(width, width, dtype=torch.float64)).sum().backward()
    norms = [float(torch.linalg.vector_norm(weight.grad)) for weight in weights if weight.grad is not None]
    assert growth(norms[1:]).per_layer == pytest.approx(1, rel=0.05)
    assert norms[0] / norms[1] == pytest.approx(math.sqrt(inputs / width), rel=0.15)
    one = experiment(
        make_config,
        data={"batch_size": 1, "synthetic": {"shape": [1, 16, 16], "classes": 10, "size": 50}},
        model={"hidden": [1024] * 8, "norm": "none"},
        init={"scheme": "kaiming", "gain": gain},
    )
    rows = measure_propagation(one).layers[:-1]
    measured = [row.gradient_norm for row in rows]
    assert growth(measured[1:]).per_layer == pytest.approx(1, rel=0.05)
    assert measured[0] / measured[1] == pytest.approx(math.sqrt(256 / 1024), rel=0.15)


def test_of_linear_layers_under_batch_normalization_the_gradient_grows_by_the_batch_alone(
    make_config: MakeConfig,
) -> None:
    """Its square by (B - 2) / (B - 3) a layer toward the input (Yang et al. 2019)."""
    run = experiment(
        make_config,
        data={"batch_size": 8, "synthetic": {"shape": [1, 16, 16], "classes": 10, "size": 1000}},
        model={"hidden": [512] * 25, "norm": "bn", "activation": "identity"},
        init={"scheme": "kaiming"},
    )
    norms = [row.gradient_norm for row in measure_propagation(run).layers[3:23]]
    assert growth(norms[::-1]).per_layer ** 2 == pytest.approx(6 / 5, rel=0.03)


def test_without_a_norm_all_examples_become_alike_and_with_one_they_do_not(make_config: MakeConfig) -> None:
    """The rank collapse of Daneshmand et al. 2020, https://arxiv.org/abs/2003.01652."""
    ranks = {
        norm: measure_propagation(deep(make_config, 40, 128, norm)).layers[-2].effective_rank for norm in ("none", "bn")
    }
    assert ranks["none"] < 1.3
    assert ranks["bn"] > 2


def demo(*changes: str) -> Any:
    path = Path(__file__).parent.parent.parent / "configs" / "demo.yaml"
    return measure_propagation(
        build(draw(load_config(path, changes), Path("unused")), data_dir=Path("unused"), device="cpu")
    )


def test_the_first_gradients_of_the_demo_are_as_the_readme_says() -> None:
    ratio = {}
    for norm in ("none", "bn", "ln"):
        first, *_, head = demo(f"model.norm={norm}").layers
        ratio[norm] = first.gradient_norm / head.gradient_norm
    assert ratio["none"] == pytest.approx(1 / 30, rel=0.1)  # "a thirtieth of the head's without normalization"
    assert ratio["bn"] == pytest.approx(1 / 4, rel=0.2)  # "and a quarter with batch normalization"
    assert ratio["ln"] == pytest.approx(ratio["none"], rel=0.1)  # "with layer normalization it begins as small"


def test_sigmoids_behind_large_weights_are_as_the_experiment_on_saturation_says() -> None:
    stds = {norm: [row.std for row in demo(f"model.norm={norm}", "init.std=1").layers[:-1]] for norm in ("none", "bn")}
    assert all(0.4 < std < 0.5 for std in stds["none"])
    assert stds["bn"] == pytest.approx([0.2] * 3, abs=0.02)
