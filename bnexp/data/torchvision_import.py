"""Import torchvision also beside a torch that its compiled operators do not fit.

torchvision's wheels are built for one build of torch. Next to a CPU-only torch their operators cannot load, and
`import torchvision` stops with "operator torchvision::nms does not exist", although the datasets need no operator.
Declaring the two schemas that the import asks for lets it pass. Where the import works, nothing is declared.
"""

import importlib
from types import ModuleType
from typing import Any

_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_declared: list[Any] = []
"""Keeps the declaring library alive: torch takes its schemas back when it is collected."""


def torchvision_datasets() -> ModuleType:
    """Return `torchvision.datasets`."""
    try:
        return importlib.import_module("torchvision.datasets")
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise
    _declare_operators()
    return importlib.import_module("torchvision.datasets")


def _declare_operators() -> None:
    from torch.library import Library

    library = Library("torchvision", "FRAGMENT")
    for schema in _SCHEMAS:
        library.define(schema)
    _declared.append(library)
