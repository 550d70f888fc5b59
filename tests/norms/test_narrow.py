"""Gradients in bf16 under autocast, of every norm: within 3% of those in float32, on every device there is."""

import copy

import pytest
import torch

from bnexp.config.block import parse_item
from bnexp.config.items import NORM_NAMES, FreezableBatchNormOptions
from bnexp.norms.registry import build_norm

CUDA = pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA"))
MOST = 0.03
MAPS, VECTORS = (16, 16, 16), (16,)
FROZEN = ["bn(frozen=statistics)", "bn(frozen=affine)"]
TEXTS = [*NORM_NAMES, "ln(affine=channel)", "rms(affine=channel)", *FROZEN]


def gradients(module, x, grad_y, dtype):
    """Return the gradients of the input and of each parameter, and the dtype that comes out, for a float32 output."""
    leaf = x.to(dtype).requires_grad_()
    with torch.autocast(x.device.type, dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
        y = module(leaf)
    y.backward(grad_y.to(y.dtype))
    trained = {name: p.grad for name, p in module.named_parameters() if p.requires_grad}
    return {"input": leaf.grad, **trained}, y.dtype


def case(text, shape, device):
    """Return a norm whose parameters are not where they start, an input that bf16 holds, and a gradient of its output.

    Both rise from example to example and have a mean: sums over the batch grow, and a sum in bf16 stops growing.
    """
    torch.manual_seed(0)
    module = build_norm(parse_item(text), shape)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    if hasattr(module, "noisy"):
        module.noisy = False  # its draws in bf16 are others
    x = (0.5 + 1.5 * torch.randn(256, *shape)).bfloat16().float()
    grad_y = (0.5 + torch.randn_like(x)).bfloat16().float()
    return module.to(device), x.to(device), grad_y.to(device)


@pytest.mark.parametrize("device", ["cpu", CUDA])
@pytest.mark.parametrize("memory_format", ["contiguous_format", "channels_last"])
@pytest.mark.parametrize("text", TEXTS)
def test_the_gradients_on_maps(text, memory_format, device):
    module, *tensors = case(text, MAPS, device)
    check(module, *(tensor.contiguous(memory_format=getattr(torch, memory_format)) for tensor in tensors))


@pytest.mark.parametrize("device", ["cpu", CUDA])
@pytest.mark.parametrize("text", [text for text in TEXTS if text != "in"])
def test_the_gradients_on_vectors(text, device):
    check(*case(text, VECTORS, device))


def check(module, x, grad_y):
    twin = copy.deepcopy(module)
    narrow, dtype = gradients(module, x, grad_y, torch.bfloat16)
    wide, _ = gradients(twin, x, grad_y, torch.float32)
    assert dtype == torch.bfloat16 or x.is_cuda  # group_norm on CUDA gives float32
    assert narrow.keys() == wide.keys()
    errors = {name: ((narrow[name].float() - wide[name]).norm() / wide[name].norm()).item() for name in wide}
    assert max(errors.values()) < MOST, errors


def test_a_sum_in_bf16_would_be_seen():
    """Guard against a test that cannot fail: torch's own layer norm in bf16 is off by more on the same maps."""
    module, x, grad_y = case("ln_c", MAPS, "cpu")
    last = torch.nn.LayerNorm(MAPS[0])
    last.load_state_dict(module.state_dict())
    with pytest.raises(AssertionError):
        check(last, x.movedim(1, -1).contiguous(), grad_y.movedim(1, -1).contiguous())


def test_what_is_frozen_has_no_gradient():
    for frozen in FreezableBatchNormOptions.model_fields["frozen"].annotation.__args__:
        module, x, grad_y = case(f"bn(frozen={frozen})", VECTORS, "cpu")
        names = set(gradients(module, x, grad_y, torch.float32)[0])
        assert names == ({"input"} if frozen in ("affine", "both") else {"input", "weight", "bias"})
