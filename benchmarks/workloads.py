"""The networks that are timed: the config that bnexp trains, and the same network as one writes it by hand.

Images are made on the spot, as bytes of the shape of MNIST or CIFAR: what they show moves no figure.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn
from torch.nn import functional

from benchmarks.report import Terms
from bnexp.config.loading import load_config
from bnexp.config.schema import Config

CONFIGS = Path(__file__).parent.parent / "configs"
BATCH, EVAL_BATCH = 128, 1024
SMALLEST, SMALL_BATCH, SMALL_EPOCHS = 20, 8, (2, 5)
"""Examples, batch, and epochs on a CPU and a GPU to see that it runs: full batches, a short one, a validation part."""


def mlp() -> nn.Sequential:
    """Return three hidden layers of 256 units, with bn before ReLU."""
    layers: list[nn.Module] = [nn.Flatten()]
    for width_in in (784, 256, 256):
        layers += [nn.Linear(width_in, 256, bias=False), nn.BatchNorm1d(256), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(256, 10))


def _conv(width_in: int, width: int) -> list[nn.Module]:
    return [nn.Conv2d(width_in, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]


def cnn() -> nn.Sequential:
    """Return three stages of two convolutions, with bn before ReLU and pooling between."""
    layers: list[nn.Module] = []
    for width_in, width in ((3, 32), (32, 64), (64, 128)):
        layers += [*([nn.MaxPool2d(2)] if layers else []), *_conv(width_in, width), *_conv(width, width)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, 10))


class Block(nn.Module):
    """A residual block, with the shortcut of zeros."""

    def __init__(self, width_in: int, width: int) -> None:
        super().__init__()
        self.stride = 1 if width_in == width else 2
        self.conv1 = nn.Conv2d(width_in, width, 3, self.stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output."""
        y = self.bn2(self.conv2(functional.relu(self.bn1(self.conv1(x)))))
        if self.stride == 2:
            x = functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 0, y.shape[1] - x.shape[1]))
        return functional.relu(y + x)


def resnet(first: int, blocks: Sequence[int]) -> nn.Sequential:
    """Return a ResNet for small images: `first` channels in the first stage, twice as many in each further one."""
    widths = [first * 2**stage for stage, count in enumerate(blocks) for _ in range(count)]
    body = [Block(before, width) for before, width in zip([first, *widths], widths, strict=False)]
    return nn.Sequential(*_conv(3, first), *body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(widths[-1], 10))


@dataclass(frozen=True)
class Workload:
    """A network, and how many examples an epoch of it has.

    Attributes:
        title: for people.
        config: file in configs/ that bnexp trains.
        overrides: what is changed in it.
        plain: makes the same network by hand.
        shape: of an image, (C, H, W).
        examples: for training and validation, on a CPU and on a GPU.
        epochs: on a CPU and on a GPU, where the first three go into recording the last step of an epoch.
    """

    title: str
    config: str
    plain: Callable[[], nn.Module]
    shape: tuple[int, int, int]
    examples: tuple[int, int]
    epochs: tuple[int, int]
    overrides: tuple[str, ...] = ()

    @property
    def on_images(self) -> bool:
        """Whether the network has feature maps."""
        return self.shape[0] > 1

    def config_on(self, terms: Terms) -> Config:
        """Return the config of an epoch on generated images; ResNets on a GPU compute in bf16."""
        on_gpu = terms.device.startswith("cuda")
        size = terms.examples or (SMALLEST if terms.small else self.examples[on_gpu])
        shape = [3, 8, 8] if terms.small and self.on_images else list(self.shape)
        made = ["data.dataset=synthetic", f"data.synthetic.shape={shape}", f"data.synthetic.size={size}"]
        passes = (SMALL_EPOCHS if terms.small else self.epochs)[on_gpu]
        steps = ["training.epochs=null", f"training.steps={terms.steps}"]
        length = steps if terms.steps else [f"training.epochs={passes}"]
        epoch = [f"data.batch_size={SMALL_BATCH if terms.small else BATCH}", *length, "schedule.warmup_epochs=0"]
        narrow = on_gpu and self.on_images
        precision = ["training.precision=bf16"] if narrow else []
        asked = {change.partition("=")[0] for change in terms.overrides}
        ours = [*made, *epoch, *precision, *self.overrides]
        changes = [change for change in ours if change.partition("=")[0] not in asked]
        return load_config(CONFIGS / self.config, [*changes, *terms.overrides])


_MNIST, _CIFAR = (60_000, 60_000), (50_000, 50_000)
WORKLOADS = {
    "mlp": Workload("MLP 3 x 256", "mnist_mlp_bn.yaml", mlp, (1, 28, 28), _MNIST, (4, 13)),
    "cnn": Workload("CNN of 6 convolutions", "cnn_bn.yaml", cnn, (3, 32, 32), _CIFAR, (1, 8)),
    "resnet20": Workload("ResNet-20", "resnet_bn.yaml", lambda: resnet(16, (3, 3, 3)), (3, 32, 32), _CIFAR, (1, 8)),
    "resnet18": Workload(
        "ResNet-18",
        "resnet_bn.yaml",
        lambda: resnet(64, (2, 2, 2, 2)),
        (3, 32, 32),
        (640, 50_000),
        (4, 8),
        ("model.depth=18",),
    ),
}
