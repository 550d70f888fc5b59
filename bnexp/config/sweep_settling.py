"""Settle a sweep file: dotted keys, our names, and every mistake in it at once."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from bnexp.config.claims import problems_of
from bnexp.config.keys import is_known, takes_only
from bnexp.config.loading import beside
from bnexp.config.messages import MAX_SHOWN, unknown_key
from bnexp.config.naming import run_name_of
from bnexp.config.nested import Place, dotted
from bnexp.config.overrides import read_override, refuse_contradictions
from bnexp.config.schema import Config
from bnexp.config.sweep_file import FIRST_TUNING_SEED, TUNING, SweepFile, largest, seeds_of
from bnexp.config.sweep_values import leaves_of, places_in, settled_value, value_key
from bnexp.config.wording import brief, expectation, number_meant, one_of, shown
from bnexp.errors import ConfigError, did_you_mean

_LISTS = ("axes", "tune")
_NOT_TUNED = (
    *("data.dataset", "data.path", "data.val_path", "data.val_fraction", "data.limit", "data.synthetic"),
    *("data.class_level", "data.background", "data.skip_broken", "training.epochs", "training.steps"),
)
"""Keys, or how they begin, in which candidates that are to be compared are alike."""
_ABSENT = object()


class Settled(NamedTuple):
    """A sweep file in our names, and where each of its values stands."""

    file: SweepFile
    origins: dict[Place, str]


def settle(values: Mapping[str, Any], origins: Mapping[Place, str], folder: Path, overrides: Sequence[str]) -> Settled:
    """Check the values of a sweep file that lies in a folder, with `--set` as a part of what is fixed.

    Raises:
        ConfigError: every mistake at once.
    """
    reading = _Reading(values, origins, folder)
    file = reading.sweep(overrides)
    return Settled(file, reading.origins)


def origin(origins: Mapping[Place, str], place: Place) -> str:
    """Return where a place of a sweep stands, or the nearest above it."""
    return next(origins[place[:end]] for end in range(len(place), -1, -1) if place[:end] in origins)


class _Reading:
    """Turns the values of a sweep file into a `SweepFile`, and gathers what is wrong with them."""

    def __init__(self, values: Mapping[str, Any], origins: Mapping[Place, str], folder: Path) -> None:
        self.values, self.origins, self.folder = dict(values), dict(origins), folder
        self.problems: list[str] = []

    def sweep(self, overrides: Sequence[str]) -> SweepFile:
        self._refuse_unknown_sections()
        for section in ("fixed", *_LISTS):
            self._settle(self.values, section, (section,))
        self._settle_arms()
        self._settle_rules()
        self._fix(overrides)
        for section in _LISTS:
            for key in list(_dict(self.values.get(section))):
                self._check_list(section, key)
        self._check_clashes()
        self._check_seeds()
        self._check_claims()
        if self.problems:
            self._refuse()
        try:
            return SweepFile.model_validate(self.values)
        except ValidationError as error:
            self.problems += [self._explained(detail) for detail in error.errors()]
        return self._refuse()

    def _refuse(self) -> NoReturn:
        lines = list(dict.fromkeys(self.problems))
        more = [f"(and {len(lines) - MAX_SHOWN} more)"] if len(lines) > MAX_SHOWN else []
        raise ConfigError("\n".join([*lines[:MAX_SHOWN], *more]))

    def at(self, place: Place) -> str:
        return origin(self.origins, place)

    def problem(self, place: Place, sentence: str) -> None:
        self.problems.append(f"{self.at(place)}: {sentence}")

    def _refuse_unknown_sections(self) -> None:
        for key in [key for key in self.values if key not in SweepFile.model_fields]:
            value = self.values.pop(key)
            if key == "name":
                self.problem((key,), "name: a sweep is named after its file; --name gives another name")
            elif key == "seed":
                self.problem((key,), "seed: expected seeds, how many or a list, such as seeds: 5")
            elif key in Config.model_fields or is_known(tuple(key.split("."))):
                inner = key if "." in key or not isinstance(value, dict) else next(iter(dotted({key: value})))[0]
                both = f"fixed: {{{inner}: A}} for every arm alike, or axes: {{{inner}: [A, B]}}"
                self.problem((key,), f"{key} is a key of a config, and this is a sweep file; expected {both}")
            else:
                known = f" Known: {', '.join(SweepFile.model_fields)}"
                hint = did_you_mean(key, SweepFile.model_fields) or known
                self.problem((key,), f"unknown key {brief(key)}.{hint}")

    def _settle(self, holder: dict[Any, Any], name: Any, place: Place) -> None:
        """Write the keys of a section in dots, their values in our names, and check that a config has them."""
        if name not in holder:
            return
        section, settled = holder[name], {}
        if not isinstance(section, dict) or not section:
            holder.pop(name)
            where = ".".join(str(part) for part in place if isinstance(part, str))
            example = "[A, B]" if place[0] in _LISTS else "VALUE"
            expected = f"keys of a config and values, such as {{model.norm: {example}}}"
            self.problem(place, f"{where}: expected {expected}, found {shown(section) if section else 'nothing'}")
            return
        for key, value, written in leaves_of(section, place):
            at = self.at(written)
            if key in settled:
                self.problem(written, f"{'.'.join(map(str, place))}: {brief(key)} stands twice")
            elif self._is_key(key, at, place):
                settled[key] = self._settled(key, value, many=place[0] in (*_LISTS, "exclude"))
                self._move_origins((*place, key), written, value)
        holder[name] = settled

    def _is_key(self, key: str, at: str, place: Place) -> bool:
        parts = tuple(key.split("."))
        if key == "seed":
            self.problems.append(f"{at}: seed: expected seeds: 5 (--seeds 5), which gives every arm five of them")
        elif key == "name":
            self.problems.append(f"{at}: name: an arm is named after what varies in it; --name is the sweep's")
        elif key == "base":
            self.problems.append(f"{at}: base: a sweep has one, at the top of its file; expected the keys that differ")
        elif not is_known(parts):
            self.problems.append(unknown_key(parts, {parts[:1]: at}, at, with_dots=True))
        else:
            return True
        return False

    def _settled(self, key: str, value: Any, *, many: bool) -> Any:
        if many and isinstance(value, list):
            return [self._settled(key, entry, many=False) for entry in value]
        if key == "data.path" and isinstance(value, str):
            return beside(value, self.folder)
        return settled_value(key, value)

    def _move_origins(self, place: Place, written: Place, value: object) -> None:
        for below in ((), *places_in(value)):
            if (*written, *below) in self.origins:
                self.origins[(*place, *below)] = self.origins[(*written, *below)]

    def _settle_arms(self) -> None:
        if "arms" not in self.values:
            return
        arms = self.values["arms"]
        if not isinstance(arms, dict) or not arms:
            expected = "expected named bundles of keys, such as {small: {model.hidden: [64]}}"
            self.problem(("arms",), f"arms: {expected}, found {shown(arms) if arms else 'nothing'}")
            self.values.pop("arms")
            return
        for name in list(arms):
            if name.lower() == TUNING:
                self.problem(
                    ("arms", name), f"arms: {name}: expected another name; {TUNING} holds the runs that choose"
                )
            elif run_name_of(name) != name:
                expected = f"expected a name of a folder everywhere, such as {run_name_of(name)}"
                self.problem(("arms", name), f"arms: {shown(name)}: {expected}")
            self._settle(arms, name, ("arms", name))

    def _settle_rules(self) -> None:
        rules, varied = self.values.get("exclude"), self._varied_keys()
        if not isinstance(rules, list) or not rules:
            if "exclude" in self.values:
                self.values.pop("exclude")
                expected = "expected a list of rules, such as [{model.norm: none, optimizer.lr: 0.1}]"
                self.problem(("exclude",), f"exclude: {expected}, found {shown(rules)}")
            return
        numbered: dict[Any, Any] = dict(enumerate(rules))
        for index in range(len(rules)):
            place = ("exclude", index)
            self._settle(numbered, index, place)
            for key in _dict(numbered.get(index)):
                if key in _dict(self.values.get("tune")):
                    self.problem((*place, key), f"exclude: {key} is tuned, and every arm has the same candidates")
                elif key not in varied:
                    known = f"; expected a key that varies: {one_of(sorted(varied), 6)}" if varied else ""
                    self.problem((*place, key), f"exclude: {key} is the same in every arm{known}")
        self.values["exclude"] = list(numbered.values())

    def _varied_keys(self) -> set[str]:
        """Return the keys that differ between arms; of a section that varies as a whole, those within it."""
        given = [(key, values) for place, key, values in self._given() if place[0] in ("axes", "arms")]
        return {leaf for key, values in given for value in values for leaf, _ in dotted({key: value})}

    def _fix(self, overrides: Sequence[str]) -> None:
        """Lay the `--set` of the command line over what is fixed in every arm."""
        fixed = dict(_dict(self.values.get("fixed")))
        settings = [read_override(text) for text in overrides]
        refuse_contradictions(settings, {})
        for at, parts, value, _ in settings:
            for key, leaf in dotted({".".join(parts): value}):
                if self._is_key(key, at, ("--set",)):
                    fixed[key] = settled_value(key, leaf)
                    self.origins = {
                        place: where for place, where in self.origins.items() if place[:2] != ("fixed", key)
                    }
                    self.origins[("fixed", key)] = at
        if fixed:
            self.values["fixed"] = fixed

    def _check_list(self, section: str, key: str) -> None:
        values, place = self.values[section][key], (section, key)
        if not isinstance(values, list):
            parts = values.split(",") if isinstance(values, str) else [shown(values)]
            example = f"{key}: [{', '.join(part.strip() for part in parts)}]"
            self.problem(
                place, f"{section}: {key}: expected a list of values, such as {example}, found {shown(values)}"
            )
            self.values[section].pop(key)
            return
        first: dict[str, int] = {}
        twice = next((v for place, v in enumerate(values) if first.setdefault(value_key(v), place) < place), _ABSENT)
        if not values:
            self.problem(place, f"{section}: {key} has no values; expected a list, such as {key}: [A, B]")
        elif takes_only(key, tuple) and not all(isinstance(value, list | None) for value in values):
            expected = "expected brackets around each value, such as [[64], [64, 64]]"
            self.problem(place, f"{section}: {key} takes a list; {expected}, found {shown(values)}")
        elif section == "tune" and key.startswith(_NOT_TUNED):
            self.problem(
                place,
                f"tune: {key} decides what a candidate is scored on, or for how long it learns: its scores would not "
                f"compare; expected such as optimizer.lr, or axes: {{{key}: ...}}",
            )
        elif section == "tune" and len(values) == 1:
            kept = f"fixed: {{{key}: {shown(values[0])}}}"
            self.problem(
                place, f"tune: {key} has one value, and nothing is to be chosen; expected two or more, or {kept}"
            )
        elif twice is not _ABSENT:
            self.problem(place, f"{section}: {key} has {shown(twice)} twice; expected each value once")

    def _check_clashes(self) -> None:
        """Refuse a key that two parts of the sweep give a value."""
        holders: dict[str, Place] = {}
        for place, key, values in self._given():
            for leaf in {leaf: None for value in values for leaf, _ in dotted({key: value})}:
                first = holders.setdefault(leaf, place)
                if first[0] != place[0]:
                    both = f"{leaf} stands in {first[0]} and in {place[0]}"
                    self.problem(place, f"{both}; expected it in one of them (first at {self.at(first)})")

    def _given(self) -> Iterator[tuple[Place, str, Sequence[Any]]]:
        """Yield the place, the key and the values of all that is given to a key of the config."""
        for section in _LISTS:
            for key, values in _dict(self.values.get(section)).items():
                yield (section, key), key, values if isinstance(values, list) else [values]
        for name, bundle in _dict(self.values.get("arms")).items():
            for key, value in _dict(bundle).items():
                yield ("arms", name, key), key, [value]
        for key, value in _dict(self.values.get("fixed")).items():
            yield ("fixed", key), key, [value]

    def _check_seeds(self) -> None:
        if "tune_seeds" in self.values and "tune" not in self.values:
            self.problem(
                ("tune_seeds",),
                "tune_seeds without tune; expected candidates, such as tune: {optimizer.lr: [0.01, 0.1]}",
            )
        if "seeds" not in self.values:
            return
        seeds = self.values["seeds"]
        is_count = (isinstance(seeds, float) and seeds.is_integer()) or (isinstance(seeds, str) and seeds.isdecimal())
        seeds = self.values["seeds"] = int(seeds) if is_count else seeds
        try:
            if isinstance(seeds, list) and not all(type(seed) is int for seed in seeds):
                raise ValueError("whole numbers, such as [0, 1, 2]")
            if type(seeds) not in (int, str, list):
                raise ValueError("how many, such as 5, or a list, such as [0, 1, 2]")
            asked = seeds_of(seeds)
            if "tune" in self.values and largest(asked) >= FIRST_TUNING_SEED:
                raise ValueError(f"seeds below {FIRST_TUNING_SEED:,}, where those of tune begin")
        except ValueError as error:
            self.values.pop("seeds")
            self.problem(("seeds",), f"seeds: expected {error}, found {shown(seeds)}")

    def _check_claims(self) -> None:
        for place, sentence in problems_of(self.values["claims"]) if "claims" in self.values else ():
            self.problem(("claims", *place), sentence)
        if isinstance(claims := self.values.get("claims"), list):
            self.values["claims"] = [_with_our_names(claim) for claim in claims]

    def _explained(self, detail: ErrorDetails) -> str:
        place, found = detail["loc"], detail["input"]
        keys = ".".join(map(str, place))
        at, field = self.at(place), SweepFile.model_fields[str(place[0])]
        if detail["type"] == "missing":
            return f"{at}: {keys} is missing: {field.description}, such as {keys}: mnist_mlp_bn"
        if detail["type"] == "extra_forbidden":
            known = list(getattr(field.annotation, "model_fields", {}))
            hint = did_you_mean(str(place[-1]), known) or f" Known: {', '.join(known)}"
            return f"{at}: unknown key {keys}.{hint}"
        return f"{at}: {keys}: expected {expectation(detail)}, found {shown(found)}{number_meant(found, place)}"


def _with_our_names(claim: Any) -> Any:
    """Return a claim with dotted keys and our names in its `where`."""
    where = _dict(_dict(claim).get("where"))
    named = {key: settled_value(key, value) for key, value, _ in leaves_of(where, ())}
    return {**claim, "where": named} if where else claim


def _dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
