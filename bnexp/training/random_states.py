"""Where the generators of the process stand. A run draws from streams of its own; this is for what else may draw."""

import random
from typing import Any

import numpy as np
import torch


def random_states(device: torch.device) -> dict[str, Any]:
    """Return the states of torch's generators (CPU and device), Python's and NumPy's, as tensors and plain values."""
    version, words, gauss = random.getstate()
    numpy: Any = np.random.get_state(legacy=False)
    keys = torch.from_numpy(numpy["state"]["key"].astype(np.int64))
    return {
        "torch": torch.get_rng_state(),
        "device": _state_on(device),
        "python": [version, list(words), gauss],
        "numpy": {**numpy, "state": {**numpy["state"], "key": keys}},
    }


def put_random_states(states: dict[str, Any], device: torch.device) -> None:
    """Let the generators go on where `random_states` found them."""
    torch.set_rng_state(states["torch"])
    if states["device"] is not None and device.type == "cuda":
        torch.cuda.set_rng_state(states["device"], device)
    elif states["device"] is not None and device.type == "mps":
        torch.mps.set_rng_state(states["device"])
    version, words, gauss = states["python"]
    random.setstate((version, tuple(words), gauss))
    numpy = states["numpy"]
    keys = numpy["state"]["key"].numpy().astype(np.uint32)
    np.random.set_state({**numpy, "state": {**numpy["state"], "key": keys}})


def _state_on(device: torch.device) -> torch.Tensor | None:
    if device.type == "cuda":
        return torch.cuda.get_rng_state(device)
    return torch.mps.get_rng_state() if device.type == "mps" else None
