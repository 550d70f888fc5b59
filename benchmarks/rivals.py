"""Others who train the same network on the same bytes, in turns of a few steps, with bnexp's evaluations.

bare       a hand-written loop on bytes in memory, as lean as bnexp's own path and without any logging
graph      on a GPU, the bare loop with the whole step as one CUDA graph: gathering, passes and optimizer
compiled   graph, with the network through torch.compile
tutorial   PIL transforms in a DataLoader, channels first, loss.item() and add_scalar every step, as most scripts
lightning  the tutorial's loader under Lightning's Trainer and its usual logger, where lightning is installed

They need not compute the same bits twice: see `as_fast`. Their learning rate is that of the config throughout.
"""

import contextlib
import importlib.util
import logging
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from benchmarks.workloads import EVAL_BATCH, Workload
from bnexp.config.plan import Plan
from bnexp.config.schema import Config, SgdConfig, TrainingConfig
from bnexp.data.augment import moved
from bnexp.data.load import Dataset
from bnexp.data.parts import Part
from bnexp.data.preprocess import channel_statistics
from bnexp.data.torchvision_import import torchvision_datasets
from bnexp.measure.machine import synchronize
from bnexp.training.device import autocast, computing_as

PADDING = 4
STATISTICS = {1: ((0.1307,), (0.3081,)), 3: ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616))}
"""Mean and deviation that scripts normalize MNIST and CIFAR-10 with."""
WARM_UP = 3
"""Times that a GPU does work before it is recorded or timed: libraries choose their kernels and workspaces."""
LEAST_OF_SLOW = 8
"""Steps of a turn of a slow rival, where a tenth of an epoch has fewer."""

Turn = Callable[[range], tuple[int, float]]
"""Takes the steps of these numbers, counted from 1, and returns how many it took and their seconds.

A slow rival takes a short epoch in their place. Getting ready is not in the seconds; evaluations are.
"""
Work = Callable[[], None]


def as_fast(training: TrainingConfig) -> contextlib.AbstractContextManager[None]:
    """Set torch's switches as a rival would: any order of adding, the kernels that cuDNN measures as fastest.

    Numbers are rounded as bnexp rounds them in this precision: in fp32, no product is computed in TF32.
    """
    return computing_as(training.model_copy(update={"deterministic": False}))


@dataclass(frozen=True)
class Rival:
    """What all others are given."""

    workload: Workload
    config: Config
    plan: Plan
    dataset: Dataset
    device: torch.device

    @property
    def batch(self) -> int:
        """Examples of a step."""
        return self.config.data.batch_size

    @property
    def batches(self) -> list[int]:
        """The sizes that batches have: full ones first, then the last of an epoch where that is shorter."""
        steps = range(1, min(self.plan.steps_per_epoch, self.plan.total_steps) + 1)
        return sorted({self.plan.examples_of(step) for step in steps}, reverse=True)

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
        mean, std = channel_statistics(self.dataset.train.images.cpu())
        factor, offset = (1 / (255 * std)).to(self.device), (-mean / std).to(self.device)
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

    def turns(self, take: Callable[[Tensor], object], evaluate: Callable[[], object]) -> Turn:
        """Return the turns of a loop whose step takes the examples at an index (B,), after it has warmed up."""
        examples, device, per_epoch = len(self.dataset.train), self.device, self.plan.steps_per_epoch
        due = {step for step in range(1, self.plan.total_steps + 1) if self.plan.evaluates_at(step)}
        order = torch.randperm(examples, device=device)
        for size in self.batches:
            for _ in range(WARM_UP if device.type == "cuda" else 1):
                take(order[:size])
        evaluate()
        synchronize(device)

        def turn(steps: range) -> tuple[int, float]:
            nonlocal order
            synchronize(device)
            start = time.perf_counter()
            for step in steps:
                first = (step - 1) % per_epoch * self.batch
                if first == 0:
                    order = torch.randperm(examples, device=device)
                take(order[first : first + self.batch])
                if step in due:
                    evaluate()
            synchronize(device)
            return len(steps), time.perf_counter() - start

        return turn


def bare(rival: Rival) -> Turn:
    """Return the turns of a bare loop."""
    images, labels = rival.dataset.train.images, rival.dataset.train.labels
    inputs, network = rival.inputs(), rival.network()
    optimizer = rival.optimizer(network, fused=True)

    def take(index: Tensor) -> None:
        x = inputs(rival.augmented(images.index_select(0, index)))
        rival.step(network, optimizer, x, labels.index_select(0, index))

    return rival.turns(take, lambda: rival.accuracy(network, inputs))


def recorded(work: Work, device: torch.device) -> Work:
    """Return what repeats work as a CUDA graph; it is done a few times before, on a stream of its own.

    A graph reads and writes the memory of all tensors that the work holds, and does not keep them: this does.
    """
    with torch.cuda.device(device):
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(WARM_UP):
                work()
        torch.cuda.current_stream().wait_stream(aside)
        torch.cuda.synchronize()
        repeated = torch.cuda.CUDAGraph()
        with torch.cuda.graph(repeated, stream=aside):
            work()

    def repeat(of: Work = work) -> None:
        repeated.replay()

    return repeat


def graph(rival: Rival, *, compiled: bool = False, record: Callable[[Work, torch.device], Work] = recorded) -> Turn:
    """Return the turns of a loop whose steps are replays of CUDA graphs: one of full batches, one of the last.

    Compiled, the last batch of an epoch, one step of hundreds, is not.
    """
    images, labels = rival.dataset.train.images, rival.dataset.train.labels
    inputs, network = rival.inputs(), rival.network()
    optimizer = rival.optimizer(network, fused=True)
    faster: nn.Module = torch.compile(network, dynamic=False) if compiled else network  # type: ignore[assignment]
    places = {size: torch.arange(size, device=rival.device) for size in rival.batches}

    def step(size: int) -> None:
        x = inputs(rival.augmented(images.index_select(0, places[size])))
        forward = faster if size == rival.batch else network
        rival.step(forward, optimizer, x, labels.index_select(0, places[size]))

    repeats = {size: record(partial(step, size), rival.device) for size in rival.batches}

    def take(index: Tensor) -> None:
        places[len(index)].copy_(index)
        repeats[len(index)]()

    return rival.turns(take, lambda: rival.accuracy(network, inputs))


class _AsPillow(TorchDataset[tuple[Tensor, int]]):
    """The first images of a part, in memory, handed out one by one through PIL, as torchvision's datasets do."""

    def __init__(self, part: Part, most: int, transform: Callable[[Any], Tensor]) -> None:
        pixels = part.images[:most].cpu().permute(0, 2, 3, 1).contiguous().numpy()  # (N, H, W, C)
        self.images = pixels[..., 0] if pixels.shape[-1] == 1 else pixels
        self.labels, self.transform = part.labels[:most].tolist(), transform

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(Image.fromarray(self.images[index])), self.labels[index]


def steps_of_slow(rival: Rival) -> int:
    """Return how many steps a turn of a slow rival has: a tenth of an epoch, unless that is hardly any."""
    per_epoch = rival.plan.steps_per_epoch
    return min(per_epoch, max(LEAST_OF_SLOW, per_epoch // 10))


def _loaders(rival: Rival, steps: int) -> tuple[DataLoader[Any], DataLoader[Any]]:
    """Return the loaders of a tutorial: training, shuffled, of so many steps, and its share of validation."""
    torchvision_datasets()
    from torchvision import transforms

    channels, height = rival.dataset.train.images.shape[1:3]
    to_inputs = [transforms.ToTensor(), transforms.Normalize(*STATISTICS[channels])]
    moves = [transforms.RandomCrop(height, padding=PADDING), transforms.RandomHorizontalFlip()]
    changed = [] if rival.config.data.augment == "none" else moves
    validated = max(1, len(rival.dataset.val) * steps // rival.plan.steps_per_epoch)
    train = _AsPillow(rival.dataset.train, steps * rival.batch, transforms.Compose([*changed, *to_inputs]))
    val = _AsPillow(rival.dataset.val, validated, transforms.Compose(to_inputs))
    return DataLoader(train, rival.batch, shuffle=True), DataLoader(val, EVAL_BATCH)


def tutorial(rival: Rival) -> Turn:
    """Return the turns of a loop as most scripts have it."""
    from torch.utils.tensorboard import SummaryWriter

    def epoch(steps: int) -> tuple[int, float]:
        loader, val_loader = _loaders(rival, steps)
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
                counts = [((found == y).sum().item(), len(y)) for found, y in pairs]
            correct, validated = map(sum, zip(*counts, strict=True))
            writer.add_scalar("accuracy/val", correct / validated, number)
        return len(loader), time.perf_counter() - start

    epoch(1)
    return lambda steps: epoch(steps_of_slow(rival))


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


def lightning(rival: Rival) -> Turn:
    """Return short epochs under Lightning's Trainer, with TensorBoard's logger and a checkpoint, its defaults."""
    with _quiet():
        from lightning import pytorch as pl
        from lightning.pytorch.loggers import TensorBoardLogger

    class Module(pl.LightningModule):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.network = rival.network(channels_last=False)

        def on_train_start(self) -> None:
            self.began = time.perf_counter()  # what `fit` does before is getting ready

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

    precision: Any = "bf16-mixed" if rival.config.training.precision == "bf16" else "32-true"
    kind = "gpu" if rival.device.type == "cuda" else "cpu"

    def epoch(steps: int) -> tuple[int, float]:
        loader, val_loader = _loaders(rival, steps)
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
            trainer.fit(module, loader, val_loader)
            return len(loader), time.perf_counter() - module.began

    epoch(1)
    return lambda steps: epoch(steps_of_slow(rival))


RIVALS: dict[str, Callable[[Rival], Turn]] = {
    "bare": bare,
    "graph": graph,
    "compiled": partial(graph, compiled=True),
    "tutorial": tutorial,
    "lightning": lightning,
}
SLOW = ("tutorial", "lightning")
"""What is many times slower than the others takes few and short turns."""
ON_CUDA = ("graph", "compiled")


def why_not_here(way: str, device: str) -> str | None:
    """Say why a rival cannot be timed on a device; None where it can."""
    if way in ON_CUDA and not device.startswith("cuda"):
        return f"{way} needs --device cuda"
    if way == "lightning" and not has_lightning():
        return "lightning is not installed; pip install -e '.[bench]' brings it"
    return None
