"""Times an MNIST MLP epoch (3 x 256, bn, batch 128) three ways, in one process and in alternation.

    bnexp     the real training path: probes, metrics.jsonl, TensorBoard and evaluation as a plain config has them
    bare      a hand-written loop on the same bytes in memory, without any logging
    tutorial  torchvision dataset with ToTensor and Normalize, DataLoader, SummaryWriter.add_scalar every step

Each epoch trains on the same examples and evaluates the validation part once. Run it with

    BNEXP_DATA=<folder with MNIST> python benchmarks/epoch_time.py
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Subset
from torch.utils.tensorboard import SummaryWriter

from bnexp.config.loading import load_config
from bnexp.data.load import Dataset
from bnexp.data.preprocess.affine import channel_statistics
from bnexp.data.torchvision_import import torchvision_datasets
from bnexp.sources.place import data_folder
from bnexp.store.metrics import MetricsWriter
from bnexp.store.tensorboard import TensorBoardWriter
from bnexp.store.writers import Writers
from bnexp.training.build import build
from bnexp.training.device import reproducible
from bnexp.training.display import SilentDisplay
from bnexp.training.loop import train

CONFIG = Path(__file__).parent.parent / "configs" / "mnist_mlp_bn.yaml"
BATCH = 128


def plain_mlp() -> nn.Sequential:
    """Return the network as one writes it by hand."""
    layers: list[nn.Module] = [nn.Flatten()]
    for width_in in (784, 256, 256):
        layers += [nn.Linear(width_in, 256, bias=False), nn.BatchNorm1d(256), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(256, 10))


def bnexp_epoch(folder: Path, data_dir: Path) -> Callable[[], None]:
    """Return one epoch of bnexp's own training."""
    config = load_config(CONFIG, ["training.epochs=1"])

    def epoch() -> None:
        run = build(config, data_dir=data_dir, device="cpu")
        with tempfile.TemporaryDirectory(dir=folder) as name:
            writer = Writers([MetricsWriter(Path(name) / "metrics.jsonl"), TensorBoardWriter(Path(name))])
            start = time.perf_counter()
            with reproducible():
                train(run, writer, SilentDisplay())
            writer.close()
            epoch.seconds = time.perf_counter() - start  # type: ignore[attr-defined]

    return epoch


def bare_epoch(dataset: Dataset) -> Callable[[], None]:
    """Return one epoch of a bare loop on the same bytes."""
    images, labels = dataset.train.images, dataset.train.labels
    mean, std = channel_statistics(images)

    def inputs(part: Tensor) -> Tensor:
        return (part.float() / 255 - mean) / std

    def epoch() -> None:
        model = plain_mlp()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        start = time.perf_counter()
        order = torch.randperm(len(labels))
        for first in range(0, len(order), BATCH):
            index = order[first : first + BATCH]
            optimizer.zero_grad()
            loss = functional.cross_entropy(model(inputs(images[index])), labels[index])
            loss.backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            val = [
                model(inputs(dataset.val.images[first : first + 1024])).argmax(1)
                for first in range(0, len(dataset.val), 1024)
            ]
        (torch.cat(val) == dataset.val.labels).float().mean().item()
        epoch.seconds = time.perf_counter() - start  # type: ignore[attr-defined]

    return epoch


def tutorial_epoch(folder: Path, data_dir: Path, examples: int) -> Callable[[], None]:
    """Return one epoch as the tutorials write it."""
    datasets = torchvision_datasets()
    from torchvision import transforms

    transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.1307,), (0.3081,))])
    whole = datasets.MNIST(data_dir, train=True, transform=transform)
    loader = DataLoader(Subset(whole, range(examples)), batch_size=BATCH, shuffle=True)
    val_loader = DataLoader(Subset(whole, range(examples, len(whole))), batch_size=1024)

    def epoch() -> None:
        model = plain_mlp()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        start = time.perf_counter()
        with tempfile.TemporaryDirectory(dir=folder) as name, SummaryWriter(name) as writer:
            for step, (x, y) in enumerate(loader):
                optimizer.zero_grad()
                loss = functional.cross_entropy(model(x), y)
                loss.backward()
                optimizer.step()
                writer.add_scalar("loss/train", loss.item(), step)
            model.eval()
            with torch.no_grad():
                correct = sum((model(x).argmax(1) == y).sum().item() for x, y in val_loader)
            writer.add_scalar("accuracy/val", correct / len(val_loader.dataset), step)  # type: ignore[arg-type]
        epoch.seconds = time.perf_counter() - start  # type: ignore[attr-defined]

    return epoch


def main() -> None:
    """Print medians and ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15, help="epochs of bnexp and of the bare loop, in alternation")
    parser.add_argument("--tutorial-rounds", type=int, default=3, help="epochs of the tutorial's way")
    arguments = parser.parse_args()
    data_dir = data_folder(None)
    dataset = build(load_config(CONFIG), data_dir=data_dir, device="cpu").dataset
    seconds: dict[str, list[float]] = {"bnexp": [], "bare": [], "tutorial": []}
    with tempfile.TemporaryDirectory() as name:
        ways = {
            "bnexp": bnexp_epoch(Path(name), data_dir),
            "bare": bare_epoch(dataset),
            "tutorial": tutorial_epoch(Path(name), data_dir, len(dataset.train)),
        }
        for number in range(-1, arguments.rounds):  # the first round warms up and does not count
            for way, epoch in ways.items():
                if way == "tutorial" and number >= arguments.tutorial_rounds:
                    continue
                epoch()
                if number >= 0:
                    seconds[way].append(epoch.seconds)  # type: ignore[attr-defined]
    medians = {way: statistics.median(values) for way, values in seconds.items()}
    for way, values in seconds.items():
        print(f"{way:<9} median {medians[way]:.3f} s, fastest {min(values):.3f} s, of {len(values)} epochs")
    ratio, at_best = (fold(seconds["bnexp"]) / fold(seconds["bare"]) for fold in (statistics.median, min))
    print(f"bnexp / bare      {ratio:.3f}  (fastest {at_best:.3f})")
    print(f"tutorial / bnexp  {medians['tutorial'] / medians['bnexp']:.2f}")


if __name__ == "__main__":
    main()
