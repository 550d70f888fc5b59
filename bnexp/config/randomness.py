"""Derive seeds: every random stream has its own, from the run's seed and the stream's name.

Two arms that differ only in normalization therefore start from the same weights and see the same batches: what one
stream draws never moves another.
"""

import hashlib

SPLIT_SEED = 0
"""Seed of what belongs to a dataset, not to a run: the validation split and the synthetic images."""


def derive_seed(seed: int, *place: str | int) -> int:
    """Return the 63-bit seed of the stream `place` under the run's `seed`, the same on every machine."""
    text = "/".join(str(part) for part in (seed, *place))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1
