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
        "device": _on(device).get_rng_state(device) if device.type != "cpu" else None,
        "python": [version, list(words), gauss],
        "numpy": {**numpy, "state": {**numpy["state"], "key": keys}},
    }


def put_random_states(states: dict[str, Any], device: torch.device) -> None:
    """Let the generators go on where `random_states` found them."""
    torch.set_rng_state(states["torch"])
    if device.type != "cpu" and states["device"] is not None:
        _on(device).set_rng_state(states["device"], device)
    version, words, gauss = states["python"]
    random.setstate((version, tuple(words), gauss))
    numpy = states["numpy"]
    keys = numpy["state"]["key"].numpy().astype(np.uint32)
    np.random.set_state({**numpy, "state": {**numpy["state"], "key": keys}})


def _on(device: torch.device) -> Any:
    return torch.get_device_module(device)
