"""Translate the names that other tools give to norms, activations, layers, datasets and the rest into ours.

Every name is compared without case, spaces, hyphens and underscores. Only our own name is stored and shown, so that two
spellings are one arm. A name stands here where it means one thing; options keep our defaults and our conventions.
"""

import re
from collections.abc import Mapping, Sequence
from functools import cache, lru_cache

from bnexp.config.items import ITEMS
from bnexp.errors import did_you_mean

ARROWS = r"(?:[-\u2010-\u2015\u2212=]*>|[\u2192\u21d2\u27f6\u27f9\u2794\u279c\u279e\u21a6])"
"""`->` and what keyboards and editors make of it."""
ARROW = re.compile(ARROWS)

KEYS: Mapping[str, Sequence[str]] = {
    "optimizer.lr": ("learning_rate", "base_lr", "max_lr", "lr0"),
    "training.epochs": ("num_epochs", "n_epochs", "nb_epochs", "max_epochs", "num_train_epochs", "epoch", "n_epoch"),
    "training.steps": ("max_steps", "num_steps", "n_steps", "iterations", "iters", "max_iters", "train_steps"),
    "data.batch_size": ("bs", "batch", "batchsize", "train_batch_size", "per_device_train_batch_size", "mini_batch"),
    "data.val_fraction": ("val_split", "validation_split", "val_ratio", "valid_split"),
    "data.dataset": ("dataset_name",),
    "data.path": ("root", "train_path", "train_dir", "data_path", "data_root"),
    "data.val_path": ("valid_path", "validation_path", "val_dir"),
    "model.arch": ("model", "architecture", "network", "net", "model_name"),
    "model.norm": ("normalization", "norm_layer", "norm_type", "normalizer"),
    "model.activation": ("act", "activation_fn", "nonlinearity"),
    "model.hidden": ("hidden_size", "hidden_sizes", "hidden_dim", "hidden_dims", "hidden_units"),
    "optimizer.name": ("optimizer", "optim", "opt", "optimiser"),
    "optimizer.weight_decay": ("wd", "l2"),
    "schedule.name": ("schedule", "scheduler", "lr_scheduler", "lr_schedule", "sched", "lr_scheduler_type"),
    "schedule.warmup_epochs": ("warmup",),
    "training.grad_clip": ("clip", "clip_grad", "max_grad_norm", "gradient_clip", "gradient_clip_val", "clip_norm"),
    "training.precision": ("dtype", "mixed_precision"),
    "training.deterministic": ("cudnn_deterministic", "use_deterministic_algorithms"),
    "training.memory_format": ("channels_last",),
    "training.accumulate": (
        "grad_accum",
        "gradient_accumulation_steps",
        "accumulation_steps",
        "accum_iter",
        "accumulate_grad_batches",
    ),
    "training.label_smoothing": ("smoothing", "label_smoothing_factor", "label_smooth", "label_smoothing_eps"),
    "training.ema": ("model_ema", "ema_decay", "model_ema_decay", "use_ema"),
    "training.eval_every_epochs": ("check_val_every_n_epoch", "eval_every", "eval_interval", "val_interval"),
    "data.eval_batch_size": ("test_batch_size", "val_batch_size", "per_device_eval_batch_size"),
    "training.log_every": ("log_interval", "log_freq", "logging_steps", "print_freq", "log_every_n_steps"),
    "init.scheme": ("init", "initialization", "initializer"),
}
"""Keys of the config, and what other tools call them; messages suggest ours, and no config is read by theirs."""

_NORMS: Mapping[str, Sequence[str]] = {
    "bn": ("batchnorm", "batchnorm1d", "batchnorm2d", "bn1d", "bn2d"),
    "ghost_bn": ("ghostbatchnorm", "ghostnorm"),
    "batch_renorm": ("brn",),
    "sync_bn": ("syncbatchnorm", "synchronizedbatchnorm"),
    "noisy_bn": ("noisybatchnorm",),
    "ln": ("layernorm",),
    "ln_c": ("layernorm2d", "channellayernorm", "channelnorm"),
    "gn": ("groupnorm",),
    "in": ("instancenorm", "instancenorm1d", "instancenorm2d"),
    "rms": ("rmsnorm", "rootmeansquarenorm", "rmslayernorm"),
    "frn": ("filterresponsenorm",),
    "vn": ("variancenorm",),
    "evonorm_b0": ("evonorm2db0",),
    "evonorm_s0": ("evonorm2ds0",),
    "dyt": ("dynamictanh",),
    "derf": ("dynamicerf",),
}
_OTHERS: Mapping[str, Sequence[str]] = {
    "leaky_relu": ("lrelu",),
    "silu": ("swish",),
    "sigmoid": ("logistic",),
    "linear": ("dense", "fc", "fullyconnected"),
    "conv": ("conv2d", "convolution", "convolution2d"),
    "add": ("+", "shortcut", "skip"),
    "norm": ("normalization", "normlayer"),
    "act": ("activation", "nonlinearity"),
}
NOTHING = ("none", "no", "off", "false", "null", "identity", "nonorm", "without", "nothing")
_DATASETS: Mapping[str, Sequence[str]] = {"cifar10": ("cifar",), "image_folder": ("imagefolder", "folder", "images")}
_KINDS: Mapping[tuple[str, str], Mapping[str, Sequence[str]]] = {
    ("data", "dataset"): _DATASETS,
    ("schedule", "name"): {
        "constant": ("none", "const", "constantlr"),
        "step": ("multistep", "multisteplr"),
        "cosine": ("cosineannealing", "cosineannealinglr", "cosinelr", "cos"),
        "onecycle": ("onecyclelr", "1cycle"),
    },
    ("init", "scheme"): {
        "torch": ("default", "pytorch"),
        "kaiming": ("he", "henormal", "kaimingnormal"),
        "xavier": ("glorot", "glorotuniform", "xavieruniform"),
        "normal": ("gaussian",),
        "zeros": ("zero",),
    },
    ("optimizer", "name"): {},
    ("model", "arch"): {"cnn": ("convnet",)},
}
_ABSENT = {
    **dict.fromkeys(("elu", "selu", "celu", "prelu", "mish", "softplus", "relu6", "hardswish", "hardtanh"), ""),
    **dict.fromkeys(("localresponsenorm", "lrn", "spectralnorm", "powernorm", "batchnorm3d", "instancenorm3d"), ""),
    "weightnorm": "It is an option of the layer: linear(weight_norm=true).",
    "weightstandardization": "It is an option of the layer: conv(weight_std=true).",
    "frozenbatchnorm2d": "It is an option of the norm: bn(frozen=both).",
    "dropout2d": "dropout is of single units.",
    "flatten": "The head follows by itself.",
    "softmax": "The loss has it, behind the head.",
    **dict.fromkeys(
        ("maxpool2d", "maxpool", "avgpool2d", "avgpool", "pool"), "Pooling is model.pool of a cnn or resnet."
    ),
}
"""Well-known names without a counterpart here, and a hint; no name that merely looks alike is suggested."""

_OPTIONS = {
    "epsilon": "eps",
    "negative_slope": "slope",
    "num_groups": "groups",
    "kernel_size": "kernel",
    "elementwise_affine": "affine",
    "rate": "p",
    "True": "true",
    "False": "false",
}
_OPTION_WORD = re.compile(rf"(?<![\w.])(?:{'|'.join(_OPTIONS)})(?![\w.])")
_PIECE = re.compile(r"(\s*)([^(]*?)(\s*(?:\(.*)?)", re.DOTALL)


@lru_cache(maxsize=10_000)  # a sweep reads the same words a thousand times
def _plain(word: str) -> str:
    """Return a name without its module, case, spaces, hyphens and underscores: `nn.BatchNorm1d` as `batchnorm1d`."""
    bare = re.sub(r"^(?:torch\.|tf\.|keras\.|nn\.|layers\.|optim\.)+", "", word.strip(), flags=re.IGNORECASE)
    return re.sub(r"normali[sz]ation", "norm", re.sub(r"[\s_-]", "", bare).lower())


def _by_plain_name(known: Sequence[str], others: Mapping[str, Sequence[str]]) -> dict[str, str]:
    names = {_plain(name): ours for ours, theirs in others.items() for name in theirs}
    return names | {_plain(name): name for name in known}


_ITEMS = _by_plain_name(list(ITEMS), {**_NORMS, **_OTHERS}) | {"norm": "norm", "act": "act"}


def is_taken(name: str) -> str | None:
    """Return what a name of an item is read as already, or None where it is free."""
    return "none" if _plain(name) in NOTHING else _ITEMS.get(_plain(name))


def know(name: str) -> None:
    """Read the name of a registered item in every spelling."""
    _ITEMS[_plain(name)] = name


def spellings(name: str) -> list[str]:
    """Return the plain names that are read as an item, such as `batchnorm1d` for bn."""
    return [plain for plain, ours in _ITEMS.items() if ours == name]


def kind_spellings(section: str, key: str, name: str, known: Sequence[str]) -> list[str]:
    """Return the plain names that are read as a kind, such as `he` for kaiming in `init.scheme`."""
    by_plain_name = _kinds_by_plain_name(section, key, tuple(known))
    return [plain for plain, ours in by_plain_name.items() if ours == name]


def option_words(known: Sequence[str]) -> list[str]:
    """Return the names of some options of an item, and what other tools call them."""
    return [*known, *(theirs for theirs, ours in _OPTIONS.items() if ours in known)]


def item_name(word: str) -> str:
    """Return our name of an item, or the word itself where none is known."""
    return _ITEMS.get(_plain(word), word)


def kind_name(section: str, key: str, word: object, known: Sequence[str]) -> object:
    """Return our name for the value of a key that chooses a kind, such as `optimizer.name`, or the value itself."""
    if not isinstance(word, str):
        return word
    return _kinds_by_plain_name(section, key, tuple(known)).get(_plain(word), word)


@cache
def _kinds_by_plain_name(section: str, key: str, known: tuple[str, ...]) -> dict[str, str]:
    return _by_plain_name(known, _KINDS.get((section, key), {}))


def key_name(word: str) -> str | None:
    """Return the whole key that other tools call by a word, such as `optimizer.lr` for learning_rate."""
    spelled = word.lower().replace("-", "_")
    return next((key for key, names in KEYS.items() if spelled in names), None)


def filling(key: str, value: object) -> object:
    """Return `model.norm` or `model.activation` in our names and options."""
    if value is False or (isinstance(value, str) and _plain(value) in NOTHING):
        return "none" if key == "norm" else "identity"
    if not isinstance(value, str):
        return value
    return "identity" if key == "activation" and _plain(value) == "linear" else _piece(value)


def block_line(value: object) -> object:
    """Return a block in our names, options and arrows."""
    if not isinstance(value, str):
        return value
    return "->".join(_piece(piece) for piece in ARROW.split(value))


def _piece(text: str) -> str:
    """Return one item of a block in our names and options."""
    space, name, rest = match.groups() if (match := _PIECE.fullmatch(text)) else ("", text, "")
    return f"{space}{item_name(name)}{_OPTION_WORD.sub(lambda word: _OPTIONS[word[0]], rest)}"


def instead_of(word: str, known: Sequence[str]) -> str:
    """Return the hint for a name that is not known here: where it is found, or what is near."""
    plain = _plain(word)
    return f" {_ABSENT[plain]}".rstrip() if plain in _ABSENT else did_you_mean(word, known)
