"""Times a CIFAR ResNet-20 epoch (batch 128, crop and flip) three ways, in one process and in alternation.

    bnexp   the real training path: probes, metrics.jsonl, TensorBoard, evaluation and the checkpoint of an epoch
    bare    a hand-written loop on the same bytes in memory, as lean as bnexp's own path and without any logging
    script  as most scripts are: PIL transforms in a DataLoader, channels first, loss.item() and add_scalar every step

Each epoch trains on the same examples and evaluates the validation part once. Run it with

    BNEXP_DATA=<folder> python benchmarks/resnet_epoch.py --set data.dataset=image_folder --set data.path=<CIFAR-10>
"""

import argparse
import contextlib
import tempfile
import time
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset
from torch.utils.tensorboard import SummaryWriter

from bnexp.blueprint import draw
from bnexp.config.loading import load_config
from bnexp.config.schema import Config
from bnexp.data.augment import crop_flip
from bnexp.data.load import Dataset
from bnexp.data.parts import Part
from bnexp.data.sources.place import data_folder
from bnexp.data.torchvision_import import torchvision_datasets
from bnexp.training.build import build
from bnexp.training.device import autocast
from timing import Epoch, alternate, bnexp_epoch, report, standardized

CONFIG = Path(__file__).parent.parent / "configs" / "resnet_bn.yaml"
BATCH, EVAL_BATCH = 128, 1024


class Block(nn.Module):
    """A residual block as one writes it by hand, with the shortcut of zeros."""

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


def plain_resnet20() -> nn.Sequential:
    """Return the network as one writes it by hand."""
    widths = [16] * 3 + [32] * 3 + [64] * 3
    stem = [nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU()]
    blocks = [Block(before, width) for before, width in zip([16, *widths], widths, strict=False)]
    return nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))


def optimizer_of(model: nn.Module, *, fused: bool) -> torch.optim.SGD:
    """Return the optimizer of the config."""
    return torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4, fused=fused)


def bare_epoch(dataset: Dataset, config: Config) -> Epoch:
    """Return an epoch of a bare loop on the same bytes."""
    images, labels = dataset.train.images, dataset.train.labels
    inputs = standardized(images)
    precision = autocast(config.training, torch.device("cpu"))

    def epoch() -> float:
        model = plain_resnet20().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        optimizer, generator = optimizer_of(model, fused=True), torch.Generator()
        start = time.perf_counter()
        order = torch.randperm(len(labels))
        for first in range(0, len(order), BATCH):
            index = order[first : first + BATCH]
            optimizer.zero_grad()
            with precision:
                logits = model(inputs(crop_flip(images.index_select(0, index), generator)))
            functional.cross_entropy(logits.float(), labels.index_select(0, index)).backward()
            optimizer.step()
        model.eval()
        with torch.no_grad(), precision:
            val = [
                model(inputs(dataset.val.images[first : first + EVAL_BATCH])).argmax(1)
                for first in range(0, len(dataset.val), EVAL_BATCH)
            ]
        (torch.cat(val) == dataset.val.labels).float().mean().item()
        return time.perf_counter() - start

    return epoch


class AsPillow(TorchDataset[tuple[Tensor, int]]):
    """Images in memory, handed out one by one through PIL and transforms, as torchvision's CIFAR10 does."""

    def __init__(self, part: Part, transform: object) -> None:
        self.images = part.images.permute(0, 2, 3, 1).contiguous().numpy()  # (N, H, W, C)
        self.labels = part.labels.tolist()
        self.transform = transform

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(Image.fromarray(self.images[index])), self.labels[index]  # type: ignore[operator]


def script_epoch(dataset: Dataset, config: Config) -> Epoch:
    """Return an epoch as most scripts have it."""
    torchvision_datasets()
    from torchvision import transforms

    to_inputs = [transforms.ToTensor(), transforms.Normalize((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616))]
    changed = [transforms.RandomCrop(32, padding=4), transforms.RandomHorizontalFlip()]
    loader = DataLoader(AsPillow(dataset.train, transforms.Compose([*changed, *to_inputs])), BATCH, shuffle=True)
    val_loader = DataLoader(AsPillow(dataset.val, transforms.Compose(to_inputs)), EVAL_BATCH)
    precision = autocast(config.training, torch.device("cpu"))

    def epoch() -> float:
        model = plain_resnet20()
        optimizer = optimizer_of(model, fused=False)
        start = time.perf_counter()
        with contextlib.ExitStack() as stack:
            writer = stack.enter_context(SummaryWriter(stack.enter_context(tempfile.TemporaryDirectory())))
            for step, (x, y) in enumerate(loader):
                optimizer.zero_grad()
                with precision:
                    logits = model(x)
                loss = functional.cross_entropy(logits.float(), y)
                loss.backward()
                optimizer.step()
                writer.add_scalar("loss/train", loss.item(), step)
            model.eval()
            with torch.no_grad(), precision:
                correct = sum((model(x).argmax(1) == y).sum().item() for x, y in val_loader)
            writer.add_scalar("accuracy/val", correct / len(dataset.val), step)
        return time.perf_counter() - start

    return epoch


def main() -> None:
    """Print medians and ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="epochs of each way, in alternation")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="over configs/resnet_bn.yaml")
    arguments = parser.parse_args()
    data_dir = data_folder(None)
    config = load_config(CONFIG, ["training.epochs=1", "schedule.warmup_epochs=0", *arguments.set])
    dataset = build(draw(config, data_dir), data_dir=data_dir, device="cpu").dataset
    ways = {
        "bnexp": bnexp_epoch(config, data_dir),
        "bare": bare_epoch(dataset, config),
        "script": script_epoch(dataset, config),
    }
    report(alternate(ways, dict.fromkeys(ways, arguments.rounds)), "script")


if __name__ == "__main__":
    main()
