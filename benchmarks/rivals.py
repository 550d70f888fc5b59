"""Others who train the same network on the same bytes, an epoch and an evaluation of the validation part each.

bare       a hand-written loop on bytes in memory, as lean as bnexp's own path and without any logging
graph      on a GPU, the bare loop with the whole step as one CUDA graph: gathering, passes and optimizer
compiled   graph, with the network through torch.compile
tutorial   PIL transforms in a DataLoader, channels first, loss.item() and add_scalar every step, as most scripts
lightning  the tutorial's loader under Lightning's Trainer and its usual logger, where lightning is installed
"""

import contextlib
import importlib.util
import logging
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from benchmarks.report import Round
from benchmarks.workloads import EVAL_BATCH, Workload
from bnexp.config.schema import Config, SgdConfig
from bnexp.data.augment import moved
from bnexp.data.load import Dataset
from bnexp.data.parts import Part
from bnexp.data.preprocess import channel_statistics
from bnexp.data.torchvision_import import torchvision_datasets
from bnexp.training.device import autocast

PADDING = 4
STATISTICS = {1: ((0.1307,), (0.3081,)), 3: ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616))}
"""Mean and deviation that scripts normalize MNIST and CIFAR-10 with."""


@dataclass(frozen=True)
class Rival:
    """What all others are given."""

    workload: Workload
    config: Config
    dataset: Dataset
    device: torch.device

    @property
    def batch(self) -> int:
        """Examples of a step."""
        return self.config.data.batch_size

    def network(self, *, channels_last: bool = True) -> nn.Module:
        """Return the network as one writes it by hand."""
        plain = self.workload.plain().to(self.device)
        if self.workload.on_images and channels_last:
            plain.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return plain

    def optimizer(self, network: nn.Module, **options: Any) -> torch.optim.SGD:
        """Return the optimizer of the config."""
        ours = self.config.optimizer
        assert isinstance(ours, SgdConfig)  # noqa: S101  as in all workloads
        decay, momentum = ours.weight_decay, ours.momentum
        return torch.optim.SGD(network.parameters(), lr=ours.lr, momentum=momentum, weight_decay=decay, **options)

    def precision(self) -> contextlib.AbstractContextManager[Any]:
        """Return what is around the forward pass."""
        return autocast(self.config.training, self.device)

    def inputs(self) -> Callable[[Tensor], Tensor]:
        """Return what makes float32 inputs of bytes (B, C, H, W)."""
        mean, std = channel_statistics(self.dataset.train.images)
        factor, offset = 1 / (255 * std), -mean / std
        return lambda part: part.float().mul_(factor).add_(offset)

    def augmented(self, images: Tensor) -> Tensor:
        """Return bytes (B, C, H, W), cropped and flipped where the config says so."""
        if self.config.data.augment == "none":
            return images
        tops, lefts = torch.randint(0, 2 * PADDING + 1, (2, len(images)), device=images.device)
        return moved(images, tops, lefts, torch.rand(len(images), device=images.device) < 0.5, PADDING)

    def accuracy(self, network: nn.Module, inputs: Callable[[Tensor], Tensor]) -> float:
        """Return the accuracy on the validation part, which also waits for the device."""
        images, labels = self.dataset.val.images, self.dataset.val.labels
        network.eval()
        with torch.no_grad(), self.precision():
            starts = range(0, len(labels), EVAL_BATCH)
            found = [network(inputs(images[first : first + EVAL_BATCH])).argmax(1) for first in starts]
        network.train()
        return float((torch.cat(found) == labels).float().mean())

    def step(self, network: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor) -> Tensor:
        """Take a step on inputs (B, C, H, W) and labels (B,), and return the loss ()."""
        optimizer.zero_grad()
        with self.precision():
            logits = network(x)
        loss = functional.cross_entropy(logits.float(), y)
        loss.backward()
        optimizer.step()
        return loss


def bare(rival: Rival) -> Round:
    """Return an epoch of a bare loop."""
    images, labels = rival.dataset.train.images, rival.dataset.train.labels
    inputs = rival.inputs()

    def epoch() -> float:
        network = rival.network()
        optimizer = rival.optimizer(network, fused=True)
        start = time.perf_counter()
        order = torch.randperm(len(labels), device=labels.device)
        for first in range(0, len(order), rival.batch):
            index = order[first : first + rival.batch]
            x = inputs(rival.augmented(images.index_select(0, index)))
            rival.step(network, optimizer, x, labels.index_select(0, index))
        rival.accuracy(network, inputs)
        return time.perf_counter() - start

    return epoch


def graph(rival: Rival, *, compiled: bool = False) -> Round:
    """Return an epoch whose full batches are replays of one CUDA graph; it is recorded once, before the first."""
    images, labels = rival.dataset.train.images, rival.dataset.train.labels
    inputs, network, batch = rival.inputs(), rival.network(), rival.batch
    optimizer = rival.optimizer(network, fused=True)
    forward: nn.Module = torch.compile(network, dynamic=False) if compiled else network  # type: ignore[assignment]
    index = torch.arange(batch, device=rival.device) % len(labels)

    def step() -> None:
        x = inputs(rival.augmented(images.index_select(0, index)))
        rival.step(forward, optimizer, x, labels.index_select(0, index))

    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):  # warm-up, which allocates and compiles
        for _ in range(3):
            step()
    torch.cuda.synchronize()
    recorded = torch.cuda.CUDAGraph()
    with torch.cuda.graph(recorded):
        step()

    def epoch() -> float:
        start = time.perf_counter()
        order = torch.randperm(len(labels), device=labels.device)
        for first in range(0, len(order) - batch + 1, batch):
            index.copy_(order[first : first + batch])
            recorded.replay()
        if rest := len(order) % batch:
            last = order[-rest:]
            x = inputs(rival.augmented(images.index_select(0, last)))
            rival.step(network, optimizer, x, labels.index_select(0, last))
        rival.accuracy(network, inputs)
        return time.perf_counter() - start

    return epoch


class _AsPillow(TorchDataset[tuple[Tensor, int]]):
    """Images in memory, handed out one by one through PIL and transforms, as torchvision's datasets do."""

    def __init__(self, part: Part, transform: Callable[[Any], Tensor]) -> None:
        pixels = part.images.cpu().permute(0, 2, 3, 1).contiguous().numpy()  # (N, H, W, C)
        self.images = pixels[..., 0] if pixels.shape[-1] == 1 else pixels
        self.labels, self.transform = part.labels.tolist(), transform

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(Image.fromarray(self.images[index])), self.labels[index]


def _loaders(rival: Rival) -> tuple[DataLoader[Any], DataLoader[Any]]:
    """Return the loaders of a tutorial: training, shuffled, and validation."""
    torchvision_datasets()
    from torchvision import transforms

    channels, height = rival.dataset.train.images.shape[1:3]
    to_inputs = [transforms.ToTensor(), transforms.Normalize(*STATISTICS[channels])]
    moves = [transforms.RandomCrop(height, padding=PADDING), transforms.RandomHorizontalFlip()]
    changed = [] if rival.config.data.augment == "none" else moves
    train = _AsPillow(rival.dataset.train, transforms.Compose([*changed, *to_inputs]))
    val = _AsPillow(rival.dataset.val, transforms.Compose(to_inputs))
    return DataLoader(train, rival.batch, shuffle=True), DataLoader(val, EVAL_BATCH)


def tutorial(rival: Rival) -> Round:
    """Return an epoch as most scripts have it."""
    from torch.utils.tensorboard import SummaryWriter

    loader, val_loader = _loaders(rival)

    def epoch() -> float:
        network = rival.network(channels_last=False)
        optimizer = rival.optimizer(network)
        start = time.perf_counter()
        with tempfile.TemporaryDirectory() as name, SummaryWriter(name) as writer:
            for number, (x, y) in enumerate(loader):
                loss = rival.step(network, optimizer, x.to(rival.device), y.to(rival.device))
                writer.add_scalar("loss/train", loss.item(), number)
            network.eval()
            with torch.no_grad(), rival.precision():
                pairs = ((network(x.to(rival.device)).argmax(1), y.to(rival.device)) for x, y in val_loader)
                correct = sum((found == y).sum().item() for found, y in pairs)
            writer.add_scalar("accuracy/val", correct / len(rival.dataset.val), number)
        return time.perf_counter() - start

    return epoch


def has_lightning() -> bool:
    """Tell whether Lightning is installed, which the extra `bench` brings."""
    return importlib.util.find_spec("lightning") is not None


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Leave out what Lightning says of its settings at every run."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def lightning(rival: Rival) -> Round:
    """Return an epoch under Lightning's Trainer, with TensorBoard's logger and a checkpoint, its defaults."""
    with _quiet():
        from lightning import pytorch as pl
        from lightning.pytorch.loggers import TensorBoardLogger

    class Module(pl.LightningModule):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.network = rival.network(channels_last=False)

        def training_step(self, batch: tuple[Tensor, Tensor], number: int) -> Tensor:
            x, y = batch
            loss = functional.cross_entropy(self.network(x).float(), y)
            self.log("loss/train", loss)
            return loss

        def validation_step(self, batch: tuple[Tensor, Tensor], number: int) -> None:
            x, y = batch
            self.log("accuracy/val", (self.network(x).argmax(1) == y).float().mean())

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return rival.optimizer(self)

    loader, val_loader = _loaders(rival)
    precision: Any = "bf16-mixed" if rival.config.training.precision == "bf16" else "32-true"
    kind = "gpu" if rival.device.type == "cuda" else "cpu"

    def epoch() -> float:
        with _quiet(), tempfile.TemporaryDirectory() as name:
            trainer = pl.Trainer(
                max_epochs=1,
                accelerator=kind,
                devices=1,
                precision=precision,
                logger=TensorBoardLogger(name),
                num_sanity_val_steps=0,
                enable_progress_bar=False,
                enable_model_summary=False,
            )
            module = Module()
            start = time.perf_counter()
            trainer.fit(module, loader, val_loader)
            return time.perf_counter() - start

    return epoch


def rivals_on(rival: Rival) -> dict[str, Round]:
    """Return the rivals that there are on a device, ready to be timed."""
    ways = {"bare": bare(rival)}
    if rival.device.type == "cuda":
        ways |= {"graph": graph(rival), "compiled": graph(rival, compiled=True)}
    ways["tutorial"] = tutorial(rival)
    if has_lightning():
        ways["lightning"] = lightning(rival)
    return ways
