"""The arms of a sweep: every combination of its axes and bundles that no rule leaves out, a checked config each."""

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import chain, product
from math import prod
from typing import Any, NamedTuple

from bnexp.analysis.claims import Claim, find_claims
from bnexp.config.data_section import DATASETS, DataConfig, SyntheticData
from bnexp.config.layout import layout_of
from bnexp.config.loading import complete
from bnexp.config.model import ModelConfig
from bnexp.config.naming import run_name_of
from bnexp.config.nested import Place, dotted
from bnexp.config.overrides import Setting
from bnexp.config.schema import Config
from bnexp.config.sweep_file import MOST_RUNS, TUNING
from bnexp.config.sweep_loading import Sweep
from bnexp.config.sweep_values import value_key
from bnexp.config.wording import one_of, shown
from bnexp.config.yaml_text import dump_yaml
from bnexp.document.writing import counted
from bnexp.errors import ConfigError
from bnexp.runs.identity import network_of
from bnexp.sweep.naming import label_of, schema_order, unique_names

_MAX_SHOWN = 6
_BUNDLE = (
    "Keys that only go together stand in bundles, such as arms: {plain: {init.scheme: torch}, normal: {init.scheme: "
    "normal, init.std: 0.01}}, or are one axis over a section, such as axes: {init: [{scheme: torch}, {scheme: normal, "
    "std: 0.01}]}"
)
_MOST_COMBINED = 100_000
"""Combinations that are looked at where rules may leave out most of them."""


@dataclass(frozen=True)
class Arm:
    """One arm of a sweep.

    Attributes:
        name: of its folder, and of its config.
        values: the dotted keys that vary, with their values here.
        config: checked, with the seed of the base; each run has a seed of the sweep's.
        notes: how the config was read, a sentence each.
        candidates: with `tune`, an arm for each combination of candidates, one of which this arm becomes.
        chosen: of an arm that was tuned, the values that it got, and of how many candidates on how many seeds.
        origins: where the sweep says a key that is not the base's, such as `study.yaml:5`.
    """

    name: str
    values: Mapping[str, Any]
    config: Config
    notes: tuple[str, ...] = ()
    candidates: tuple["Arm", ...] = ()
    chosen: Mapping[str, Any] | None = None
    origins: Mapping[str, str] = field(default_factory=dict, compare=False)

    def told(self, message: str) -> str:
        """Return a message about the config with the place where the sweep says what it is about, and how to mend it.

        What the file says of an arm is mended there: `--set` would say it of all arms, and is refused.
        """
        about = re.findall(r"\b[a-z_]+(?:\.[a-z_]+)+", message)
        for key, at in self.origins.items():
            if any(f"{one}.".startswith(f"{key}.") or key.startswith(f"{one}.") for one in about):
                in_file = re.sub(rf"--set ({re.escape(key)}(?:\.\w+)*)=", r"\1: ", message)
                return f"{at}: {message if at.startswith('--set') else in_file}"
        return message


class _Choice(NamedTuple):
    """Values that are laid over the base together: one of an axis, a bundle, or several of them combined."""

    label: str
    values: Mapping[str, Any]
    keyed: Mapping[str, str]
    settings: tuple[Setting, ...]


def expand(sweep: Sweep) -> list[Arm]:
    """Return the arms of a sweep, each with a checked config, by the order of keys in the schema.

    Raises:
        ConfigError: more runs than allowed; a rule that leaves out nothing, or everything; arms whose config is
            refused, all of them at once; two arms that are one; claims about arms or metrics that are not there.
    """
    _refuse_too_many(sweep)
    choices = _kept(sweep, [_together(choices) for choices in product(*_axes(sweep))])
    if sweep.file.exclude:
        _refuse_too_many(sweep, len(choices))
    candidates = [_together(tried) for tried in product(*_choices(sweep, "tune"))] if sweep.file.tune else []
    fixed = tuple(sweep.setting(("fixed", key), key, value) for key, value in sweep.file.fixed.items())
    names = unique_names([choice.label or _config_name(sweep) for choice in choices], [c.keyed for c in choices])
    arms, mistakes = list[Arm](), dict[str, str]()
    for name, choice in zip(names, choices, strict=True):
        tried = [_together((choice, candidate))._replace(label=f"{name},{candidate.label}") for candidate in candidates]
        tried_names = unique_names([each.label for each in tried], [each.keyed for each in tried])
        made = list[Arm]()
        for arm_name, each in [(name, choice), *zip(tried_names, tried, strict=True)]:
            try:
                made.append(_arm(sweep, arm_name, each, fixed))
            except ConfigError as error:
                mistakes[arm_name] = str(error)
        arms += [replace(made[0], candidates=tuple(made[1:]))] if made else []
    if mistakes:
        raise ConfigError(told_together(mistakes, len(choices) * (1 + len(candidates))))
    _refuse_equal(sweep, arms)
    claims_of(sweep, arms)
    return arms


def claims_of(sweep: Sweep, arms: Sequence[Arm]) -> list[Claim]:
    """Return the claims of a sweep, with the arms that each is about.

    Raises:
        ConfigError: an arm that the sweep does not have, or a metric that cannot be.
    """
    values, probes = {arm.name: arm.values for arm in arms}, {arm.name: arm.config.probes for arm in arms}
    return find_claims(sweep.file.claims, values, probes, lambda index: sweep.at(("claims", index)))


def told_together(mistakes: Mapping[str, str], arms: int) -> str:
    """Return the messages about arms, by their names, as one: each sentence once, and which of the arms it is about."""
    about: dict[str, list[str]] = defaultdict(list)
    for name, message in mistakes.items():
        for sentence in dict.fromkeys(re.split(r"\n(?! )", message)):  # an indented line belongs to the one before
            about[sentence].append(name)
    lines = []
    for sentence, names in list(about.items())[:_MAX_SHOWN]:
        some = f"all {arms:,} arms" if len(names) == arms else f"{len(names):,} of {arms:,} arms, such as {names[0]}"
        which = f"arm {names[0]}" if len(names) == 1 else some
        lines += [sentence] if arms == 1 else [sentence, f"    ({which})"]
    more = len(about) - _MAX_SHOWN
    lines += [f"(and {counted(more, 'more mistake')})"] if more > 0 else []
    if arms > 1 and any(re.search(r" is missing\b| It belongs to ", sentence) for sentence in about):
        lines.append(_BUNDLE)
    return "\n".join(lines)


def _config_name(sweep: Sweep) -> str:
    """Return the name of the one arm of a sweep without axes: that of the config."""
    name = sweep.draft.values.get("name")
    name = name if isinstance(name, str) and run_name_of(name) == name else run_name_of(sweep.base_path.stem)
    return f"{name}-arm" if name.lower() == TUNING else name


def _arm(sweep: Sweep, name: str, choice: _Choice, fixed: Sequence[Setting]) -> Arm:
    settings = sorted((*fixed, *choice.settings), key=lambda setting: len(setting.parts))  # a section, then its keys
    config, notes = complete(sweep.draft, settings, name=name)
    return Arm(name, choice.values, config, notes, origins={".".join(one.parts): one.at for one in settings})


def _axes(sweep: Sweep) -> list[list[_Choice]]:
    """Return what an arm chooses from: first the bundles, then the values of each axis."""
    bundles = [
        _together([_choice(sweep, ("arms", name, key), key, value, "") for key, value in bundle.items()], label=name)
        for name, bundle in sweep.file.arms.items()
    ]
    return [*([bundles] if bundles else []), *_choices(sweep, "axes")]


def _choices(sweep: Sweep, section: str) -> list[list[_Choice]]:
    axes: Mapping[str, Sequence[Any]] = getattr(sweep.file, section)
    return [
        [
            _choice(sweep, (section, key, index), key, value, label_of(key, value))
            for index, value in enumerate(axes[key])
        ]
        for key in sorted(axes, key=schema_order)
    ]


def _choice(sweep: Sweep, place: Place, key: str, value: Any, label: str) -> _Choice:
    keyed = {leaf: value_key(part) for leaf, part in dotted({key: value})}
    return _Choice(label, {key: value}, keyed, (sweep.setting(place, key, value),))


def _together(choices: Sequence[_Choice], label: str | None = None) -> _Choice:
    """Combine choices; the name says them in turn."""
    return _Choice(
        ",".join(choice.label for choice in choices if choice.label) if label is None else label,
        {key: value for choice in choices for key, value in choice.values.items()},
        {key: value for choice in choices for key, value in choice.keyed.items()},
        tuple(chain.from_iterable(choice.settings for choice in choices)),
    )


def _kept(sweep: Sweep, choices: list[_Choice]) -> list[_Choice]:
    """Return what no rule of `exclude` leaves out.

    Raises:
        ConfigError: a rule that matches nothing, or rules that leave nothing.
    """
    left_out: set[int] = set()
    problems = []
    for index, rule in enumerate(sweep.file.exclude):
        wanted = {key: _meant(value) for key, value in rule.items()}
        matching = {
            number
            for number, choice in enumerate(choices)
            if all(choice.keyed.get(key) in keys for key, keys in wanted.items())
        }
        if not matching:
            problems.append(f"{sweep.at(('exclude', index))}: exclude: {_why_nothing(rule, wanted, choices)}")
        left_out |= matching
    if problems:
        raise ConfigError("\n".join(problems[:_MAX_SHOWN]))
    kept = [choice for number, choice in enumerate(choices) if number not in left_out]
    if not kept:
        raise ConfigError(f"{sweep.at(('exclude',))}: exclude: the rules leave out all {counted(len(choices), 'arm')}")
    return kept


def _meant(value: object) -> set[str]:
    """Return the keys of the values that an entry of a rule means: itself, and what it lists."""
    return {value_key(value), *(map(value_key, value) if isinstance(value, list) else ())}


def _why_nothing(rule: Mapping[str, Any], wanted: Mapping[str, set[str]], choices: Sequence[_Choice]) -> str:
    """Say why a rule matches no arm: a value that its key never has, or a combination that no arm has."""
    for key, keys in wanted.items():
        known = dict.fromkeys(choice.keyed[key] for choice in choices if key in choice.keyed)
        if keys.isdisjoint(known):
            words = [text.strip('"') for text in known]
            return f"no arm has {key}: {shown(rule[key])}; expected {one_of(words, 6)}"
    return f"no arm has {' and '.join(f'{key}: {shown(value)}' for key, value in rule.items())} together"


def _refuse_too_many(sweep: Sweep, arms: int | None = None) -> None:
    """Refuse more runs than allowed; before anything is combined, unless rules may leave most of it out."""
    file = sweep.file
    axes = {"arms": len(file.arms)} if file.arms else {}
    axes |= {key: len(values) for key, values in file.axes.items()}
    if arms is None and file.exclude and prod(axes.values()) <= _MOST_COMBINED:
        return
    if arms is not None:
        axes = {"arms": arms}
    finals, candidates = len(sweep.seeds), prod(len(values) for values in file.tune.values())
    tuning = candidates * len(sweep.tuning_seeds)
    runs, allowed = prod(axes.values()) * (finals + tuning), file.budget.runs or MOST_RUNS
    if runs <= allowed:
        return
    each = f"({finals:,} + {candidates:,} x {len(sweep.tuning_seeds):,})" if tuning else f"{finals:,}"
    per_arm = "(seeds + candidates x tune_seeds)" if tuning else "seeds"
    factors = " x ".join([*(f"{size:,}" for size in axes.values()), each])
    what = " x ".join([*axes, per_arm])
    limit = f"budget.runs allows {allowed:,}" if file.budget.runs else f"{MOST_RUNS:,} are the most that start unasked"
    meant = f"if they are meant, say so in the sweep file: budget: {{runs: {runs}}}"
    found = f"{factors} = {runs:,} runs" if axes or tuning else f"{runs:,} runs"
    raise ConfigError(f"{sweep.source}: {found} ({what}); {limit}; {meant}")


def _refuse_equal(sweep: Sweep, arms: Sequence[Arm]) -> None:
    """Refuse two arms that would be trained alike: of equal identity, or with equal layouts beside it."""
    first: dict[tuple[Any, ...], Arm] = {}
    pairs: list[tuple[Arm, Arm]] = []
    rough = Counter(_rough(arm.config) for arm in arms)
    built = cache(_built)
    for arm in arms:
        if rough[key := _rough(arm.config)] > 1:
            other = first.setdefault((*key, built(arm.config.model, arm.config.data)), arm)
            pairs += [(other, arm)] if other is not arm else []
    if pairs:
        more = f", and {len(pairs) - 1:,} more" if len(pairs) > 1 else ""
        why = "trained alike; the way to write a network, checkpoints and probes make no other arm"
        rule = _rule_for([second for _, second in pairs], arms)
        named = f"{pairs[0][0].name} and {pairs[0][1].name}{more}"
        raise ConfigError(f"{sweep.source}: two arms are one: {named} ({why}).\n{rule}")


def _rule_for(superfluous: Sequence[Arm], arms: Sequence[Arm]) -> str:
    """Say how the superfluous arms are left out: by a rule that matches no other, or else by hand."""
    keyed = {arm.name: {key: value_key(value) for key, value in arm.values.items()} for arm in arms}
    shared = dict(superfluous[0].values)
    for arm in superfluous:
        shared = {key: value for key, value in shared.items() if keyed[arm.name].get(key) == value_key(value)}
    for rule, expected in ((shared, superfluous), (superfluous[0].values, superfluous[:1])):
        wanted = {key: value_key(value) for key, value in rule.items()}
        if [arm for arm in arms if wanted.items() <= keyed[arm.name].items()] == list(expected):
            return f"Leave out in the sweep file: {dump_yaml({'exclude': [dict(rule)]}).strip()}"
    return "Take one of them out"


def _rough(config: Config) -> tuple[Any, ...]:
    """Return what differs wherever two arms do, but for a network that items alone do not tell; quick to compute."""
    return config.data, config.init, config.optimizer, config.schedule, config.training, config.model.items


def _built(model: ModelConfig, data: DataConfig) -> str:
    """Return a text that two arms with the same items share where their networks are the same."""
    info = data.synthetic if isinstance(data, SyntheticData) else DATASETS.get(data.dataset)
    try:
        if info is not None:
            return network_of(layout_of(model, info.shape, info.classes), data.batch_size)["layout"]
    except ConfigError:
        pass  # it cannot be built, which its blueprint will say
    return value_key(model.model_dump(mode="json"))
