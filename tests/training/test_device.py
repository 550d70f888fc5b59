"""Device words, precision and determinism."""

import pytest
import torch

from bnexp.config.schema import TrainingConfig
from bnexp.errors import ConfigError
from bnexp.training.device import autocast, check_precision, choose_device, computing_as

CPU = torch.device("cpu")


def test_auto_takes_the_best_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert choose_device("auto") == CPU
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert choose_device("auto").type == "mps"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    assert choose_device("auto") == torch.device("cuda", 1)
    assert choose_device("cuda:0") == torch.device("cuda", 0)
    with pytest.raises(ConfigError, match=r"cuda:2: this machine has cuda:0, cuda:1"):
        choose_device("cuda:2")


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("gpu", "unknown device"),
        ("cdua", 'Did you mean "cuda"'),
        ("cpu:0", "unknown device"),
        ("cuda:x", "unknown device"),
        ("", "unknown device"),
    ],
)
def test_unknown_devices_are_answered(word: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        choose_device(word)


def test_a_device_that_is_not_there_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(ConfigError, match="no CUDA device"):
        choose_device("cuda")
    with pytest.raises(ConfigError, match="no Apple GPU"):
        choose_device("mps")


def test_fp16_needs_cuda() -> None:
    with pytest.raises(ConfigError, match="fp16 needs CUDA, found cpu"):
        check_precision(TrainingConfig(epochs=1, precision="fp16"), CPU)
    check_precision(TrainingConfig(epochs=1, precision="bf16"), CPU)


def test_tf32_needs_a_cuda_device_that_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    tf32, cuda = TrainingConfig(epochs=1, precision="tf32"), torch.device("cuda:0")
    with pytest.raises(ConfigError, match="tf32 needs CUDA, found cpu; expected fp32 or bf16"):
        check_precision(tf32, CPU)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "a V100")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 0))
    with pytest.raises(ConfigError, match="a V100 has none; expected fp32 or fp16"):
        check_precision(tf32, cuda)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (8, 0))
    check_precision(tf32, cuda)


def test_bf16_computes_matrix_products_in_bf16_and_fp32_does_not() -> None:
    a = torch.ones(2, 2)
    with autocast(TrainingConfig(epochs=1, precision="bf16"), CPU):
        assert (a @ a).dtype == torch.bfloat16
    with autocast(TrainingConfig(epochs=1), CPU):
        assert (a @ a).dtype == torch.float32


def test_a_training_may_ask_for_tf32_and_for_faster_kernels() -> None:
    cudnn = torch.backends.cudnn
    with computing_as(TrainingConfig(epochs=1, precision="tf32")):
        assert (cudnn.allow_tf32, torch.get_float32_matmul_precision()) == (True, "high")
        assert torch.are_deterministic_algorithms_enabled()
    with computing_as(TrainingConfig(epochs=1, deterministic=False)):
        assert (cudnn.allow_tf32, torch.get_float32_matmul_precision()) == (False, "highest")
        assert not torch.are_deterministic_algorithms_enabled()
        assert cudnn.benchmark
    assert not cudnn.benchmark


def test_determinism_is_on_inside_and_put_back_after() -> None:
    def now() -> tuple[object, ...]:
        return (
            torch.are_deterministic_algorithms_enabled(),
            torch.is_deterministic_algorithms_warn_only_enabled(),
            torch.backends.cudnn.allow_tf32,
            torch.get_float32_matmul_precision(),
        )

    torch.set_float32_matmul_precision("high")
    torch.use_deterministic_algorithms(True, warn_only=True)
    before = now()

    def fail() -> None:
        with computing_as():
            assert torch.are_deterministic_algorithms_enabled()
            assert now() == (True, False, False, "highest")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    after = now()
    torch.set_float32_matmul_precision("highest")
    torch.use_deterministic_algorithms(False)
    assert after == before
