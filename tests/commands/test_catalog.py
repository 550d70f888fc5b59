import json
from typing import get_args

import pytest
from rich.console import Console

from bnexp.commands import catalog as command
from bnexp.commands.data import list_datasets
from bnexp.config.data_section import AUGMENTATIONS, DATASET_NAMES, PREPROCESSINGS
from bnexp.config.items import ITEMS
from bnexp.config.model import ARCHITECTURES
from bnexp.config.packaged import packaged_configs
from bnexp.config.probes_section import ProbesConfig
from bnexp.config.schema import INIT_SCHEMES, Config
from bnexp.document import show
from bnexp.errors import ConfigError


def names_of(field):
    sections = get_args(Config.model_fields[field].annotation)
    return [get_args(section.model_fields["name"].annotation)[0] for section in sections]


def test_every_name_that_a_config_can_say_is_there():
    found = {(entry.key, entry.name.split("(")[0]) for entry in command.catalog_entries()}
    expected = {("norm", "none")} | {(kind.role, name) for name, kind in ITEMS.items()}
    for key, names in (
        ("model.arch", ARCHITECTURES),
        ("data.dataset", DATASET_NAMES),
        ("data.preprocess", PREPROCESSINGS),
        ("data.augment", AUGMENTATIONS),
        ("optimizer", names_of("optimizer")),
        ("schedule", names_of("schedule")),
        ("init.scheme", INIT_SCHEMES),
        ("probes", ProbesConfig.model_fields),
    ):
        expected |= {(key, name) for name in names}
    for name, file in packaged_configs().items():
        expected.add(("sweep" if "\nquestion: " in file.read_text() else "config", name))
    assert found == expected


def test_in_a_pipe_every_line_is_complete_and_aligned(capsys):
    command.catalog()
    lines = capsys.readouterr().out.splitlines()
    entries = list(command.catalog_entries())
    assert len(lines) == len(entries)
    for line, entry in zip(lines, entries, strict=True):
        assert line.split() == [*entry.key.split(), *entry.name.split(), *entry.summary.split()]
        assert line.index(entry.summary) == lines[0].index(entries[0].summary)
        assert "\x1b" not in line


def test_a_word_chooses_a_kind_or_the_lines_that_have_it(capsys, monkeypatch):
    entries = list(command.catalog_entries())
    monkeypatch.setattr(command, "catalog_entries", lambda: entries)

    def listed(word):
        command.catalog(word=word)
        return capsys.readouterr().out.splitlines()

    norms = listed("norm")
    assert len(norms) == 1 + sum(kind.role == "norm" for kind in ITEMS.values())
    assert all(line.startswith("norm ") for line in norms)
    assert listed("Norms") == norms
    having = listed("CIFAR10")
    assert 0 < len(having) < len(entries)
    assert all("cifar10" in line.lower() for line in having)
    for wrong, hint in {"resnt": 'Did you mean "resnet"', "zzz": "Kinds: norm, "}.items():
        with pytest.raises(ConfigError, match=f"^{wrong}: no line of the catalog has this. {hint}"):
            command.catalog(word=wrong)


def test_on_a_terminal_it_is_a_table(capsys, monkeypatch):
    monkeypatch.setattr(show, "terminal", lambda: Console(force_terminal=True, width=200))
    command.catalog()
    shown = capsys.readouterr().out
    assert "what it is" in shown
    for entry in command.catalog_entries():
        assert entry.name in shown


@pytest.mark.parametrize("entry", list(command.catalog_entries()), ids=lambda entry: entry.name)
def test_one_line_says_enough_and_not_too_much(entry):
    assert 5 < len(entry.summary) <= 100
    assert "\n" not in entry.summary
    assert not entry.summary.endswith(".")


def test_programs_get_the_same_entries(capsys):
    command.catalog("json")
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [tuple(row.values()) for row in rows] == [tuple(entry) for entry in command.catalog_entries()]
    list_datasets(output="json")
    assert [row["dataset"] for row in json.loads(capsys.readouterr().out)["rows"]] == list(DATASET_NAMES)
