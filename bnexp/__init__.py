"""bnexp: which normalization, where in the network, and why?

What a notebook or a script needs is here, and explained in docs/api.md: `load_config`, `train`, `load`, `load_runs`,
`compare`, `verdict` and `plot`. Each is loaded when it is first asked for: `import bnexp` alone loads next to nothing.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bnexp.api.functions import compare, load_config, load_runs, plot, train, verdict
    from bnexp.api.trained import Trained, load
    from bnexp.api.values import BnexpWarning, Comparison, Figure, Run, Runs, Verdicts
    from bnexp.config.schema import Config
    from bnexp.errors import BnexpError, ConfigError, Interrupted

__version__ = "0.1.0"
__all__ = [
    "BnexpError",
    "BnexpWarning",
    "Comparison",
    "Config",
    "ConfigError",
    "Figure",
    "Interrupted",
    "Run",
    "Runs",
    "Trained",
    "Verdicts",
    "compare",
    "load",
    "load_config",
    "load_runs",
    "plot",
    "train",
    "verdict",
]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from bnexp import errors
    from bnexp.api import functions, trained, values

    places = (functions, trained, values, errors)
    return next(vars(place)[name] for place in places if name in vars(place))


def __dir__() -> list[str]:
    return [*globals(), *__all__]
