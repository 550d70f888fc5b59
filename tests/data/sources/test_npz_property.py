"""Random npz files of mixed kinds: a reader written here agrees bit for bit, or the file is refused by name."""

import numpy as np
import pytest

from bnexp.config.data_section import NpzData
from bnexp.data.sources.npz_file import read_npz
from bnexp.errors import BnexpError

PARTS = ("train", "val", "test")
NAMINGS = ("x_{}/y_{}", "{}_images/{}_labels", "X_{}/Y_{}", "{}X/{}y", "images_{}/labels_{}", "data_{}/target_{}")

STORES = {
    "uint8": lambda x: x,
    "int64": lambda x: x.astype(np.int64),
    "float32 0 .. 255": lambda x: x.astype(np.float32),
    "float64 0 .. 1": lambda x: x / 255,
    "float32 0 .. 1": lambda x: (x / 255).astype(np.float32),
    "float64 -1 .. 1": lambda x: x / 127.5 - 1,
    "uint16": lambda x: x.astype(np.uint16) * 257,
    "standardized": lambda x: (x - 127.5) / 73.9,
    "0 .. 100": lambda x: x / 2.55,
    "int8": lambda x: (x.astype(int) - 128).astype(np.int8),
    "complex": lambda x: x.astype(np.complex64),
    "text": lambda x: x.astype(str),
}
REFUSED_STORES = {"standardized", "0 .. 100", "int8", "complex", "text"}

LAYOUTS = {
    "(N, H, W)": (1, lambda x: x[:, 0]),
    "(N, H, W, 1)": (1, lambda x: x.transpose(0, 2, 3, 1)),
    "(N, 1, H, W)": (1, lambda x: x),
    "(N, pixels)": (1, lambda x: x.reshape(len(x), -1)),
    "(H, W, N)": (1, lambda x: x[:, 0].transpose(1, 2, 0)),
    "(N, H, W, 3)": (3, lambda x: x.transpose(0, 2, 3, 1)),
    "(N, 3, H, W)": (3, lambda x: x),
    "(H, W, 3, N)": (3, lambda x: x.transpose(2, 3, 1, 0)),
    "(N, 3 * pixels)": (3, lambda x: x.reshape(len(x), -1)),
    "(N, H, W, 5)": (5, lambda x: x.transpose(0, 2, 3, 1)),
    "(N, H, W, 4)": (4, lambda x: x.transpose(0, 2, 3, 1)),
}
REFUSED_LAYOUTS = {"(N, 3 * pixels)", "(N, H, W, 5)", "(N, H, W, 4)"}

LABELS = {
    "from 0": lambda y: y,
    "column": lambda y: y[:, None].astype(np.uint8),
    "from 1": lambda y: y + 1,
    "with gaps": lambda y: y * 7 + 3,
    "floats": lambda y: y.astype(np.float32),
    "one-hot": lambda y: np.eye(4)[y],
    "text": lambda y: np.array(["ant", "bee", "cat", "dog"])[y],
    "bytes": lambda y: np.array([b"ant", b"bee", b"cat", b"dog"])[y],
    "numbers in text": lambda y: np.array(["8", "9", "10", "11"])[y],
    "a marker": lambda y: y - 1,
    "fractions": lambda y: y + 0.5,
    "objects": lambda y: y.astype(object),
}
REFUSED_LABELS = {"a marker", "fractions", "objects"}


@pytest.mark.parametrize("seed", range(150))
def test_a_random_file_is_read_as_it_was_made_or_refused(tmp_path, seed):
    random = np.random.default_rng(seed)
    store, layout, label, naming = (random.choice(list(kinds)) for kinds in (STORES, LAYOUTS, LABELS, NAMINGS))
    channels, arrange = LAYOUTS[layout]
    sizes = dict(zip(PARTS, random.integers(20, 40, 3).tolist(), strict=True))
    if random.random() < 0.5:
        del sizes["val"]
    made, stored = {}, {}
    for part, count in sizes.items():
        pixels = random.integers(0, 256, (count, channels, 9, 9)).astype(np.uint8)
        pixels[:, 0, 0, :2] = (0, 255)
        numbers = random.permutation(np.arange(count) % 4)
        made[part] = pixels, numbers
        x_name, y_name = naming.format(part, part).split("/")
        stored[x_name], stored[y_name] = STORES[store](arrange(pixels)), LABELS[label](numbers)
    order = random.permutation(list(stored)).tolist()
    (np.savez if seed % 2 else np.savez_compressed)(tmp_path / "set.npz", **{name: stored[name] for name in order})
    data = NpzData(dataset="npz", path=str(tmp_path / "set.npz"))
    if store in REFUSED_STORES or layout in REFUSED_LAYOUTS or label in REFUSED_LABELS:
        with pytest.raises(BnexpError, match=r"set\.npz: ") as refused:
            read_npz(data, tmp_path)
        assert any(name in str(refused.value) for name in stored)
        return
    found = read_npz(data, tmp_path)
    assert set(found.images) == set(made)
    for part, (pixels, numbers) in made.items():
        np.testing.assert_array_equal(found.images[part], pixels)
        np.testing.assert_array_equal(found.labels[part], numbers)
    assert (found.account.used, found.account.seen) == (len(stored), len(stored))
    assert sum(change.count for change in found.account.changed if "images of" in change.what) == (
        0 if store == "uint8" else sum(sizes.values())
    )
