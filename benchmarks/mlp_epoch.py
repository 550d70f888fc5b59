"""Times an MNIST MLP epoch (3 x 256, bn, batch 128) three ways, in one process and in alternation.

    bnexp     the real training path: probes, metrics.jsonl, TensorBoard, evaluation and the checkpoint of an epoch
    bare      a hand-written loop on the same bytes in memory, as lean as bnexp's own path and without any logging
    tutorial  torchvision dataset with ToTensor and Normalize, DataLoader, SummaryWriter.add_scalar every step

Each epoch trains on as many examples and evaluates a validation part of the same size once. Run it with

    BNEXP_DATA=<folder with MNIST> python benchmarks/mlp_epoch.py
"""

import argparse
import tempfile
import time
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, Subset
from torch.utils.tensorboard import SummaryWriter

from bnexp.blueprint import draw
from bnexp.config.loading import load_config
from bnexp.data.load import Dataset
from bnexp.data.sources.place import data_folder
from bnexp.data.torchvision_import import torchvision_datasets
from bnexp.training.build import build
from timing import Epoch, alternate, bnexp_epoch, report, standardized

CONFIG = Path(__file__).parent.parent / "configs" / "mnist_mlp_bn.yaml"
BATCH = 128


def plain_mlp() -> nn.Sequential:
    """Return the network as one writes it by hand."""
    layers: list[nn.Module] = [nn.Flatten()]
    for width_in in (784, 256, 256):
        layers += [nn.Linear(width_in, 256, bias=False), nn.BatchNorm1d(256), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(256, 10))


def bare_epoch(dataset: Dataset) -> Epoch:
    """Return one epoch of a bare loop on the same bytes."""
    images, labels = dataset.train.images, dataset.train.labels
    inputs = standardized(images)

    def epoch() -> float:
        model = plain_mlp()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, fused=True)
        start = time.perf_counter()
        order = torch.randperm(len(labels))
        for first in range(0, len(order), BATCH):
            index = order[first : first + BATCH]
            optimizer.zero_grad()
            x, y = inputs(images.index_select(0, index)), labels.index_select(0, index)
            loss = functional.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            val = [
                model(inputs(dataset.val.images[first : first + 1024])).argmax(1)
                for first in range(0, len(dataset.val), 1024)
            ]
        (torch.cat(val) == dataset.val.labels).float().mean().item()
        return time.perf_counter() - start

    return epoch


def tutorial_epoch(data_dir: Path, examples: int) -> Epoch:
    """Return one epoch as the tutorials write it."""
    datasets = torchvision_datasets()
    from torchvision import transforms

    transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.1307,), (0.3081,))])
    whole = datasets.MNIST(data_dir, train=True, transform=transform)
    loader = DataLoader(Subset(whole, range(examples)), batch_size=BATCH, shuffle=True)
    val_loader = DataLoader(Subset(whole, range(examples, len(whole))), batch_size=1024)

    def epoch() -> float:
        model = plain_mlp()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        start = time.perf_counter()
        with tempfile.TemporaryDirectory() as name, SummaryWriter(name) as writer:
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
        return time.perf_counter() - start

    return epoch


def main() -> None:
    """Print medians and ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15, help="epochs of bnexp and of the bare loop, in alternation")
    parser.add_argument("--tutorial-rounds", type=int, default=3, help="epochs of the tutorial's way")
    arguments = parser.parse_args()
    data_dir = data_folder(None)
    config = load_config(CONFIG, ["training.epochs=1"])
    dataset = build(draw(config, data_dir), data_dir=data_dir, device="cpu").dataset
    ways = {
        "bnexp": bnexp_epoch(config, data_dir),
        "bare": bare_epoch(dataset),
        "tutorial": tutorial_epoch(data_dir, len(dataset.train)),
    }
    rounds = {"bnexp": arguments.rounds, "bare": arguments.rounds, "tutorial": arguments.tutorial_rounds}
    report(alternate(ways, rounds), "tutorial")


if __name__ == "__main__":
    main()
