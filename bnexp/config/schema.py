"""The config: every key with its type, default, unit and meaning. `docs/config.md` is generated from here."""

from html import escape
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import BeforeValidator, Field, field_validator, model_validator

from bnexp.config.aliases import kind_name
from bnexp.config.data_section import DataConfig
from bnexp.config.model import MlpConfig, ModelConfig
from bnexp.config.naming import LONGEST, PATTERN, is_device
from bnexp.config.probes_section import ProbesConfig
from bnexp.config.section import Bool, Float, Int, Section, listed
from bnexp.config.yaml_text import dump_yaml

INIT_SCHEMES = {
    "torch": "uniform with bound 1/sqrt(fan_in), biases too",
    "kaiming": "normal with std sqrt(2/fan_in), for relu (He et al. 2015)",
    "xavier": "uniform with bound sqrt(6/(fan_in + fan_out)) (Glorot & Bengio 2010)",
    "normal": "normal with std `init.std`",
    "orthogonal": "a random orthogonal matrix (Saxe et al. 2013)",
    "zeros": "every weight 0: the loss starts at ln(classes), and hidden layers start without a gradient",
}

_MAX_FACTOR = 1e30
"""Largest factor on gradients or initial weights: float32 ends at 3e38, and schedules and probes multiply further."""
_MAX_EPOCHS = 1_000_000_000
"""As many as the steps of the longest training: a number of steps beyond float could not be counted."""


class _Init(Section):
    scheme: str
    """how the weights are drawn"""
    gain: Float = Field(1.0, gt=0, le=_MAX_FACTOR)
    """factor on the initial weights of every scheme, and on the first gain of `weight_std`"""


class PlainInit(_Init):
    """Initial weights whose spread follows from the shape of the layer; gamma starts at 1, beta at 0."""

    scheme: Literal["torch", "kaiming", "xavier", "orthogonal", "zeros"] = Field(
        "torch", description=f"{listed(INIT_SCHEMES)}. Biases start at 0 but for `torch`"
    )


class NormalInit(_Init):
    """Initial weights of one spread in all layers."""

    scheme: Literal["normal"]
    std: Float | None = Field(None, gt=0)
    """standard deviation of `scheme: normal` (default 0.01)"""


def _scheme_by_default(values: object) -> object:
    return {"scheme": "torch", **values} if isinstance(values, dict) else values


InitConfig = PlainInit | NormalInit


class _Optimizer(Section):
    name: str
    """which optimizer"""
    weight_decay: Float = Field(0.0, ge=0)
    """decay of the weights: added to the gradient (sgd, adam) or to the step (adamw)"""
    decay_norm_and_bias: Bool = False
    """decay gamma, beta and biases as well"""


class SgdConfig(_Optimizer):
    """Stochastic gradient descent."""

    name: Literal["sgd"]
    lr: Float = Field(0.1, gt=0, le=_MAX_FACTOR)
    """learning rate, the peak of the schedule"""
    momentum: Float = Field(0.9, ge=0, lt=1)
    """part of the last step that is kept"""
    nesterov: Bool = False
    """Nesterov's momentum"""

    @model_validator(mode="after")
    def _nesterov_needs_momentum(self) -> Self:
        if self.nesterov and self.momentum == 0:
            raise ValueError("optimizer.nesterov needs a momentum above 0, found optimizer.momentum: 0")
        return self


class _Adam(_Optimizer):
    lr: Float = Field(1e-3, gt=0, le=_MAX_FACTOR)
    """learning rate, the peak of the schedule"""
    betas: tuple[Annotated[Float, Field(ge=0, lt=1)], Annotated[Float, Field(ge=0, lt=1)]] = (0.9, 0.999)
    """memory of the mean and of the square of the gradient"""
    eps: Float = Field(1e-8, gt=0)
    """added to the denominator"""


class AdamConfig(_Adam):
    """Adam; weight decay is added to the gradient."""

    name: Literal["adam"]


class AdamWConfig(_Adam):
    """Adam with decoupled weight decay."""

    name: Literal["adamw"]


OptimizerConfig = SgdConfig | AdamConfig | AdamWConfig


class _Schedule(Section):
    """Keys of the schedules with a warm-up."""

    name: str
    """which schedule"""
    warmup_epochs: Float = Field(0.0, ge=0, le=_MAX_EPOCHS)
    """epochs in which the learning rate rises linearly from 0 to where the schedule then is"""


class ConstantSchedule(_Schedule):
    """The same learning rate throughout."""

    name: Literal["constant"]


class StepSchedule(_Schedule):
    """Multiply by gamma at each milestone."""

    name: Literal["step"]
    milestones: tuple[Annotated[Float, Field(gt=0, le=_MAX_EPOCHS)], ...] = Field(min_length=1, max_length=100)
    """epochs after which the learning rate is multiplied by gamma"""
    gamma: Float = Field(0.1, gt=0, le=1000)
    """factor at each milestone"""


class CosineSchedule(_Schedule):
    """Half a cosine from the full learning rate to its final fraction."""

    name: Literal["cosine"]
    final_fraction: Float = Field(0.0, ge=0, le=1)
    """learning rate at the end, as a fraction of the peak"""


class OneCycleSchedule(Section):
    """Cosine up from peak/25, then down to peak/250,000: torch's OneCycleLR, after Smith & Topin 2018."""

    name: Literal["onecycle"]
    """which schedule"""
    rise_fraction: Float = Field(0.3, gt=0, lt=1)
    """part of the training in which the learning rate rises"""


ScheduleConfig = ConstantSchedule | StepSchedule | CosineSchedule | OneCycleSchedule


class TrainingConfig(Section):
    """How long, and how the steps are taken."""

    epochs: Int | None = Field(None, ge=1, le=1_000_000)
    """passes over the training set; give epochs or steps"""
    steps: Int | None = Field(None, ge=1, le=1_000_000_000)
    """steps of the optimizer; give epochs or steps"""
    accumulate: Int = Field(1, ge=1, le=1_000_000)
    """batches whose gradients are averaged, over all their examples, for a step of the optimizer; the last step of an
    epoch takes those that are left. Batch statistics stay those of one batch, and probes look at the last of a step.
    Everything that counts steps (schedule, rows, probes, checkpoints) counts the optimizer's"""
    grad_clip: Float | None = Field(None, gt=0)
    """largest norm of the whole gradient; larger ones are scaled down to it"""
    label_smoothing: Float = Field(0.0, ge=0, lt=1)
    """part of each label that is spread evenly over all classes (Szegedy et al. 2015), in the loss that is optimized:
    in loss/train, and in every gradient that a probe takes. Scores such as loss/val are of the plain labels"""
    ema: Float | None = Field(None, gt=0, lt=1)
    """decay of an exponential moving average of the weights, such as 0.999. It is evaluated beside them, with running
    and with recomputed statistics; at the t-th step it is `min(ema, (1 + t)/(10 + t))`, which forgets the start"""
    precision: Literal["fp32", "tf32", "bf16", "fp16"] = "fp32"
    """bf16 and fp16 run matrix products under autocast; fp16 needs CUDA and scales the loss; tf32 is fp32 whose matrix
    products and convolutions round their factors to 10 bits of mantissa, on CUDA devices from Ampere on"""
    deterministic: Bool = True
    """the same bits again on the same machine; false lets CUDA take faster kernels, whose sums come in another order
    each time. `bnexp check --speed` measures what that is worth"""
    memory_format: Literal["auto", "channels_last", "contiguous"] = "auto"
    """order of a feature map's numbers in memory; auto is what was faster where it was measured, by device, precision
    and norm. It moves no figure by more than rounding"""
    compile: Bool = False
    """training steps through torch.compile: a minute of waiting first, then faster; needs a C++ compiler"""
    graph: Literal["auto", "on", "off"] = "auto"
    """the whole step recorded once as a CUDA graph, with the looks of most probes, and repeated by a single launch: the
    same bits in less time. `auto`: on CUDA, in one process, where it can be; `on`: refused where it cannot"""
    log_every: Int = Field(50, ge=1, le=1_000_000_000)
    """steps between two logged rows of training loss and accuracy, each the average over the steps since the last"""
    eval_every_epochs: Float = Field(1.0, gt=0)
    """epochs between two evaluations on the validation part; the last step always has one"""
    on_divergence: Literal["stop", "skip_step", "continue"] = "stop"
    """response to a step whose loss or running statistic (for skip_step: or gradient) is not finite: end the run, leave
    out the step and restore the running statistics, or take it all the same"""

    @model_validator(mode="after")
    def _one_length(self) -> Self:
        if (self.epochs is None) == (self.steps is None):
            both = "both; take one back with null, such as --set training.epochs=null"
            raise ValueError(f"training needs epochs or steps, found {'neither' if self.epochs is None else both}")
        return self

    def total_steps(self, steps_per_epoch: int) -> int:
        """Return the steps of the whole training."""
        return self.steps or steps_per_epoch * (self.epochs or 0)


def _our_kind(section: str, key: str, kinds: Any) -> BeforeValidator:
    """Return what reads the names of others in the key that chooses a kind, such as `Adam` in `optimizer.name`."""
    known = [name for kind in get_args(kinds) for name in get_args(kind.model_fields[key].annotation)]

    def read(values: object) -> object:
        if not isinstance(values, dict) or key not in values:
            return values
        return {**values, key: kind_name(section, key, values[key], known)}

    return BeforeValidator(read)


class CheckpointsConfig(Section):
    """When a checkpoint is written, from which the run can be resumed; the first and the last step always have one."""

    every_epochs: Float = Field(1.0, gt=0)
    """epochs between two checkpoints; on a GPU they take a twentieth of the time at most, and some are left out"""
    every_minutes: Float = Field(10.0, gt=0)
    """minutes after which another is written, where epochs are long"""


class Config(Section):
    """One strategy and its training recipe."""

    name: str = Field(pattern=PATTERN, max_length=LONGEST)
    """name of the run's folder (default: that of the file, made safe); letters, digits, `.`, `_`, `-`, `=` and `,`"""
    seed: Int = Field(0, ge=0, lt=2**31)
    """seed of initial weights, data order and dropout, each with a stream of its own"""
    data: Annotated[DataConfig, Field(discriminator="dataset"), _our_kind("data", "dataset", DataConfig)]
    """what is learned from"""
    model: Annotated[ModelConfig, Field(discriminator="arch"), _our_kind("model", "arch", ModelConfig)]
    """the network"""
    init: Annotated[
        InitConfig,
        Field(discriminator="scheme"),
        BeforeValidator(_scheme_by_default),
        _our_kind("init", "scheme", InitConfig),
    ] = PlainInit()
    """initial weights"""
    optimizer: Annotated[OptimizerConfig, Field(discriminator="name"), _our_kind("optimizer", "name", OptimizerConfig)]
    """how the weights are changed"""
    schedule: Annotated[ScheduleConfig, Field(discriminator="name"), _our_kind("schedule", "name", ScheduleConfig)] = (
        ConstantSchedule(name="constant")
    )
    """how the learning rate changes over the training"""
    training: TrainingConfig
    """how long, and how the steps are taken"""
    probes: ProbesConfig = ProbesConfig()
    """what is measured on the way"""
    checkpoints: CheckpointsConfig = CheckpointsConfig()
    """when a checkpoint is written; no figure depends on it"""

    def __str__(self) -> str:
        return dump_yaml(self.model_dump(mode="json", exclude_none=True))

    def _repr_html_(self) -> str:
        """Show it in a notebook, as YAML."""
        return f"<pre>{escape(str(self))}</pre>"

    @model_validator(mode="after")
    def _compiles_no_random_stream(self) -> Self:
        drawing = [item.name for item in self.model.items if item.kind.draws]
        if self.training.compile and drawing:
            reason = "whose random numbers come from a stream of its own, which no compiled graph can hold"
            raise ValueError(f"training.compile with {drawing[0]}, {reason}; take {drawing[0]} out, or compile: false")
        return self

    @model_validator(mode="after")
    def _formats_feature_maps(self) -> Self:
        if self.training.memory_format != "auto" and isinstance(self.model, MlpConfig):
            raise ValueError("training.memory_format with an mlp, which has no feature maps; expected auto")
        return self

    @model_validator(mode="after")
    def _directions_are_drawn(self) -> "Config":
        directed = [item.name for item in self.model.items if getattr(item.options, "weight_norm", False)]
        if self.init.scheme == "zeros" and directed:
            reason = "which divides the weights by their length, 0"
            raise ValueError(
                f"init.scheme zeros with {directed[0]}(weight_norm=true), {reason}; expected another scheme"
            )
        return self

    @field_validator("name")
    @classmethod
    def _names_a_folder_everywhere(cls, name: str) -> str:
        if is_device(name):
            raise ValueError(f'"{name}" is a device name on some systems')
        if name.endswith("."):
            raise ValueError(f'"{name}" ends with a dot, which some systems leave out of the name of a folder')
        return name
