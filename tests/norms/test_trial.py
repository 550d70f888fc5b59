"""A registered norm that is not what it claims is refused before a network is built of it, with file and line."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from bnexp.config.block import parse_item
from bnexp.config.plugins import load
from bnexp.errors import ConfigError
from bnexp.models.activations import build_activation
from bnexp.norms.registry import build_norm
from bnexp.norms.trial import affine_of_features
from own_norms import MAD, MISH, forgotten


@pytest.fixture(autouse=True)
def _nothing_stays() -> Iterator[None]:
    with forgotten():
        yield


def replaced(text: str, old: str, new: str) -> str:
    assert text.count(old) == 1, old
    return text.replace(old, new)


@pytest.mark.parametrize("shape", [(6,), (4, 7, 9), (3, 1, 1)])
@pytest.mark.parametrize("text", ["mad", "mad(affine=false)", "mad(momentum=1)"])
def test_the_norm_of_the_guide_is_what_it_says(tmp_path: Path, text: str, shape: tuple[int, ...]) -> None:
    (tmp_path / "mad.py").write_text(MAD)
    load(tmp_path / "mad.py")
    random = torch.get_rng_state()
    norm = build_norm(parse_item(text), shape)
    assert torch.equal(random, torch.get_rng_state())
    x = torch.randn(8, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    dims = [0, *range(2, x.ndim)]
    centered = x - x.mean(dims, keepdim=True)
    expected = centered / (centered.abs().mean(dims, keepdim=True) + 1e-5)
    torch.testing.assert_close(norm.double()(x), expected)
    scale, shift = affine_of_features(norm, shape)
    wide = (-1, *[1] * (len(shape) - 1))
    torch.testing.assert_close(norm.eval()(x), scale.view(wide) * x + shift.view(wide))


FORWARD = "y = (x - wide(mean, x)) / (wide(mad, x) + self.eps)"
LERP = "self.running_mad.lerp_(mad.detach(), self.momentum)"


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (FORWARD, f"{FORWARD}.nothing", "mad on values .*AttributeError: 'Tensor' object has no attribute 'nothing'"),
        ("features = shape[0] ", "features = shape[3] ", r"mad of shape \(4, 5, 5\): IndexError"),
        (FORWARD, f"{FORWARD}\n        return y.flatten(1)", "expected the same shape"),
        (
            FORWARD,
            f"{FORWARD}\n        y = y.double()",
            r"torch\.float64 of torch\.float32; expected the same",
        ),
        (FORWARD, f"{FORWARD} / 0", "makes values that are not finite"),
        (FORWARD, f"x.data.sub_(1)\n        {FORWARD}", "changes its input in place"),
        (FORWARD, f"{FORWARD} + torch.rand(1)", "draws from torch's stream of random numbers"),
        (FORWARD, f"{FORWARD}\n        return [y]", "expected a tensor of forward, found"),
        (FORWARD, f"{FORWARD}\n        y = y.detach()", "no gradient passes through it"),
        ("nn.Parameter(torch.ones(features))", "nn.Parameter(torch.rand(features))", "weight begins at random"),
        ("learned_per_feature=2", "learned_per_feature=1", "it learns 8 numbers .* registration says 4"),
        (LERP, "self.running_mad = mad.detach()", "another tensor in the place of its buffer running_mad"),
        (LERP, f"{LERP}\n            self.momentum *= 0.5", "is not all in buffers"),
        ("features = shape[0] ", "self.f = (n for n in ()); features = shape[0] ", "cannot be copied, .*: TypeError"),
        (FORWARD, f"{FORWARD}\n        y = y[:2].squeeze(0) if len(x) < 2 else y", "another shape of a single example"),
        ("subtracts_mean=True", "subtracts_mean=False", "subtracts_mean=False, but .* has no effect"),
        ("(x - wide(mean, x)) / (wide(mad", "x / (wide(mad", "subtracts_mean=True, but a constant .* changes"),
        ("wide(mad, x) + self.eps", "wide(mad, x).sqrt() + self.eps", "scale_invariant=True, but a factor"),
        ('over="batch"', 'over="example"', "over='example', but in training an example changes with the others"),
        ("over = [0, *range(2, x.ndim)]", "over = [*range(2, x.ndim)]", "mad on values|mad of shape"),
        ("mean, mad = self.running_mean, self.running_mad", "mean, mad = self.batch_statistics(x).values()", "running"),
        (
            "mean, mad = self.running_mean, self.running_mad",
            "mean, mad = self.running_mean, 2 * self.running_mad",
            "inference differs from training on that batch",
        ),
        ("def batch_statistics", "def measured", "nothing tells how|has no attribute 'batch_statistics'"),
        (
            '{"running_mean": mean, "running_mad": (x',
            '{"running_mean": mean, "mad": (x',
            "expected a method `batch_statistics",
        ),
    ],
)
def test_what_does_not_hold_is_refused(tmp_path: Path, old: str, new: str, words: str) -> None:
    path = tmp_path / "mad.py"
    path.write_text(replaced(MAD, old, new))
    load(path)
    with pytest.raises(ConfigError, match=rf"^{re.escape(str(path))}:\d+: .*({words})"):
        build_norm(parse_item("mad"), (4, 8, 8))


LAYERED = """
from torch import nn
from bnexp.plugins import GroupedOptions, register_norm
class Wrapped(nn.Module):
    def __init__(self, shape, options):
        super().__init__()
        self.inner = nn.GroupNorm(GROUPS, shape[0])
    def forward(self, x):
        return self.inner(x)
register_norm("wrapped", Wrapped, summary="s", over=OVER, options=GroupedOptions, subtracts_mean=True,
              scale_invariant=True, learned_per_feature=2)
"""


def test_what_it_holds_is_one_item(tmp_path: Path) -> None:
    from bnexp.models.build import leaves

    (tmp_path / "own.py").write_text(LAYERED.replace("GROUPS", "options.groups").replace("OVER", "'group'"))
    load(tmp_path / "own.py")
    norm = build_norm(parse_item("wrapped(groups=2)"), (4, 3, 3))
    assert list(leaves(torch.nn.Sequential(norm, torch.nn.ReLU()))) == ["0", "1"]


@pytest.mark.parametrize(("over", "groups"), [("channel", "1"), ("position", "1"), ("batch", "1")])
def test_statistics_over_other_values_are_found_out(tmp_path: Path, over: str, groups: str) -> None:
    (tmp_path / "own.py").write_text(LAYERED.replace("GROUPS", groups).replace("OVER", repr(over)))
    load(tmp_path / "own.py")
    with pytest.raises(ConfigError, match=f"over='{over}', but in training"):
        build_norm(parse_item("wrapped"), (4, 3, 3))


def test_an_activation_is_a_function_of_each_value(tmp_path: Path) -> None:
    path = tmp_path / "mish.py"
    path.write_text(MISH)
    load(path)
    x = torch.randn(5, 3)
    assert torch.equal(build_activation(parse_item("mish"), (3,))(x), torch.nn.functional.mish(x))
    path.write_text(MISH.replace("nn.Mish()", "nn.Softmax(dim=0)"))
    load(path)
    with pytest.raises(ConfigError, match="other values of an example beside others"):
        build_activation(parse_item("mish"), (3,))
