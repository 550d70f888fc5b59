"""The device that a training runs on, its precision, and the switches that make it compute the same bits again."""

import contextlib
import os
import platform
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch

from bnexp.config.schema import Config, TrainingConfig
from bnexp.errors import ConfigError, did_you_mean
from bnexp.measure.machine import keep_memory

DEVICE_WORDS = ("auto", "cpu", "cuda", "mps")
AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}
_AMPERE = (8, 0)
"""The compute capability from which on a CUDA device has TF32."""


def choose_device(word: str) -> torch.device:
    """Return the device that a word names: auto (cuda, else mps, else cpu), cpu, cuda, cuda:N or mps.

    Raises:
        ConfigError: an unknown word, or a device that this machine does not have.
    """
    kind, colon, number = word.partition(":")
    if kind not in DEVICE_WORDS or (colon and (kind != "cuda" or not number.isdecimal())):
        expected = f"Expected one of {', '.join(DEVICE_WORDS)} or cuda:N"
        numbered = re.fullmatch(r"(?:cuda|gpu)?:?(\d+)", word.lower())
        gpu = "cuda" if kind.lower() in ("gpu", "nvidia", "cuda") else f"cuda:{numbered[1]}" if numbered else ""
        hint = f' Did you mean "{gpu}"?' if gpu else did_you_mean(kind, DEVICE_WORDS)
        raise ConfigError(f'--device: unknown device "{word}".{hint} {expected}')
    if kind == "auto":
        kind = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    if kind == "cuda":
        return _cuda(int(number) if colon else None)
    if kind == "mps" and not torch.backends.mps.is_available():
        raise ConfigError("--device mps: this machine has no Apple GPU that torch can use; expected cpu or auto")
    return torch.device(kind)


def _cuda(number: int | None) -> torch.device:
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if count == 0:
        raise ConfigError("--device cuda: torch finds no CUDA device here; expected cpu or auto")
    if number is not None and number >= count:
        known = ", ".join(f"cuda:{index}" for index in range(count))
        raise ConfigError(f"--device cuda:{number}: this machine has {known}")
    return torch.device("cuda", torch.cuda.current_device() if number is None else number)


def device_name(device: torch.device) -> str:
    """Return the hardware's own name."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return next(line.split(":", 1)[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):  # not Linux, or a processor that has no such line
        return platform.processor() or platform.machine()


def check_precision(training: TrainingConfig, device: torch.device) -> None:
    """Check that the device can compute in the config's precision.

    Raises:
        ConfigError: fp16 or tf32 away from CUDA, or bf16 or tf32 on hardware without it.
    """
    if training.precision in ("fp16", "tf32") and device.type != "cuda":
        needed = f"training.precision {training.precision} needs CUDA"
        raise ConfigError(f"{needed}, found {device.type}; expected fp32 or bf16")
    if training.precision == "tf32" and torch.cuda.get_device_capability(device) < _AMPERE:
        raise ConfigError(f"training.precision tf32: {device_name(device)} has none; expected fp32 or fp16")
    if training.precision == "bf16" and device.type == "cuda":
        with torch.cuda.device(device):
            if not torch.cuda.is_bf16_supported(including_emulation=False):
                raise ConfigError(f"training.precision bf16: {device_name(device)} has none; expected fp32 or fp16")


@dataclass
class Graphing:
    """Whether the step of a run is recorded as a CUDA graph, and why not.

    Attributes:
        tried: whether it is, as soon as it can be.
        demanded: whether a run that it fails for ends.
        reason: why not, where it could have been; the steps are taken without then.
        recorded: how many kinds of steps were: full ones, and the last of an epoch.
    """

    tried: bool = False
    demanded: bool = False
    reason: str | None = None
    recorded: int = 0

    @property
    def why_not(self) -> str | None:
        """What to say where it is not recorded although it could have been."""
        return self.reason and f"the step is not recorded as a CUDA graph: {self.reason}"


def graphing(config: Config, device: torch.device) -> Graphing:
    """Return what becomes of `training.graph` on a device.

    Raises:
        ConfigError: it is on, and this is not CUDA.
    """
    asked = config.training.graph
    if asked == "on" and device.type != "cuda":
        raise ConfigError(f"training.graph on needs CUDA, found {device.type}; expected auto or off")
    if asked == "off" or device.type != "cuda":
        return Graphing()
    own = next((item.name for item in config.model.items if item.kind.source is not None), None)
    if asked == "auto" and own is not None:
        # A recorded step repeats what the GPU did, and nothing of what the code decides in Python at each call.
        return Graphing(reason=f"the code of {own} is not bnexp's, and may decide something anew at each step")
    return Graphing(tried=True, demanded=asked == "on")


def refusals_on(device: torch.device, config: Config) -> list[str]:
    """Return why a training of a config is refused on a device, as `build` would refuse it; nothing where it is not."""
    found = []
    for check in (lambda: check_precision(config.training, device), lambda: graphing(config, device)):
        try:
            check()
        except ConfigError as error:
            found.append(str(error))
    return found


def autocast(training: TrainingConfig, device: torch.device) -> contextlib.AbstractContextManager[Any]:
    """Return the context in which the forward pass computes in the config's precision."""
    if training.precision not in AUTOCAST:
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype=AUTOCAST[training.precision])


@contextlib.contextmanager
def computing_as(training: TrainingConfig | None = None) -> Iterator[None]:
    """Set torch's switches as a training asks, until the context ends.

    By default, the same bits come out again on the same machine, and fp32 is computed in fp32. `precision: tf32` lets
    matrix products and convolutions round to TF32; `deterministic: false` lets torch take kernels that add in whatever
    order their threads end, and cuDNN those that it measures as fastest. Memory is kept from step to step from here on.
    """
    keep_memory()
    tf32 = training is not None and training.precision == "tf32"
    deterministic = training is None or training.deterministic
    # cuBLAS is only deterministic with a fixed workspace, and reads this before its first call.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    cudnn = torch.backends.cudnn
    fills: Any = torch.utils.deterministic  # its switch is not in the type stubs
    algorithms = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    before = fills.fill_uninitialized_memory, cudnn.benchmark, cudnn.allow_tf32
    matmul = torch.get_float32_matmul_precision()
    _demand_determinism(deterministic)
    fills.fill_uninitialized_memory, cudnn.benchmark, cudnn.allow_tf32 = False, not deterministic, tf32
    torch.set_float32_matmul_precision("high" if tf32 else "highest")
    try:
        yield
    finally:
        _demand_determinism(algorithms, warn_only=warn_only)
        fills.fill_uninitialized_memory, cudnn.benchmark, cudnn.allow_tf32 = before
        torch.set_float32_matmul_precision(matmul)


def _demand_determinism(demanded: bool, *, warn_only: bool = False) -> None:
    """Refuse operations whose bits vary, or only warn of them, or allow them; torch.compile is told where it is loaded.

    `torch.use_deterministic_algorithms` would load it, in two seconds; building a run that compiles has done so before.
    """
    if "torch._inductor" in sys.modules:
        torch.use_deterministic_algorithms(demanded, warn_only=warn_only)
    else:
        torch.set_deterministic_debug_mode(("warn" if warn_only else "error") if demanded else "default")
