"""What registers a norm is refused with its file and line where it cannot be one."""

import linecache
import pickle
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from bnexp.config.block import BlockError, parse_block, parse_item
from bnexp.config.items import ITEMS
from bnexp.config.json_schema import config_schema
from bnexp.config.patterns import norm_pattern
from bnexp.config.plugins import load
from bnexp.config.reference import config_reference
from bnexp.errors import ConfigError
from own_norms import MAD, MISH, forgotten


@pytest.fixture(autouse=True)
def _nothing_stays() -> Iterator[None]:
    with forgotten():
        yield


def written(folder: Path, text: str, name: str = "own.py") -> Path:
    path = folder / name
    path.write_text(textwrap.dedent(text))
    return path


START = "from bnexp.plugins import *\n"


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("x = 1\ndef f(:\n", 2, "SyntaxError"),
        ("import math\n\nmath.nothing\n", 3, "AttributeError: module 'math' has no attribute 'nothing'"),
        ("def f():\n    return missing\n\nf()\n", 2, "NameError: name 'missing' is not defined"),
        ("import no_such_package\n", 1, "ModuleNotFoundError"),
        ("raise SystemExit(0)\n", 1, "SystemExit: 0"),
        ("from bnexp.plugins import nothing\n", 1, "ImportError"),
        (START + "register_norm('own', print)\n", 2, "TypeError: .*missing .* 'summary' and 'over'"),
        (START + "register_norm('bn', print, summary='s', over='batch')\n", 2, "bn: this name is read as bn"),
        (START + "register_norm('layer_norm', print, summary='s', over='batch')\n", 2, "read as ln"),
        (START + "register_activation('none', print, summary='s')\n", 2, "read as none"),
        (START + "register_activation('Own', print, summary='s')\n", 2, "expected a name of small letters"),
        (START + "register_activation('own', print, summary='')\n", 2, "summary: expected one line"),
        (START + "register_activation('own', 3, summary='s')\n", 2, "module: expected a class, or a function"),
        (START + "register_norm('own', print, summary='s', over='batches')\n", 2, "over: expected batch, .*'batches'"),
        (
            START + "register_norm('own', print, summary='s', over='none', subtracts_mean=True)\n",
            2,
            "of no values, where over is none",
        ),
        (
            START + "register_norm('own', print, summary='s', over='batch', nonlinear=1)\n",
            2,
            "nonlinear: expected True",
        ),
        (START + "register_norm('own', print, summary='s', over='group')\n", 2, "over is group: .*GroupedOptions"),
        (
            START + "register_norm('own', print, summary='s', over='batch', learned_per_feature=-1)\n",
            2,
            "learned_per_feature: expected a whole number, 0 or more, found -1",
        ),
        (
            START + "register_activation('own', print, summary='s', options=dict)\n",
            2,
            "options: expected a class below",
        ),
        (
            START + "class O(Options):\n    p: float\nregister_activation('own', print, summary='s', options=O)\n",
            4,
            "options: p has no default",
        ),
        (
            START
            + "class O(Options):\n    p: Positive = -1.0\nregister_activation('own', print, summary='s', options=O)\n",
            4,
            "options: the default of p is refused",
        ),
        (
            START + "class O(Options):\n    p: tuple[int, ...] = (1, 2)\n"
            "register_activation('own', print, summary='s', options=O)\n",
            4,
            "own: its defaults cannot be written in a block",
        ),
    ],
)
def test_a_mistake_is_told_with_its_line(tmp_path: Path, text: str, line: int, words: str) -> None:
    before = set(ITEMS)
    with pytest.raises(ConfigError, match=f"^{tmp_path}/own.py:{line}: .*{words}"):
        load(written(tmp_path, text))
    assert set(ITEMS) == before


def test_a_file_that_is_none_or_registers_nothing_is_refused(tmp_path: Path) -> None:
    for path, words in (
        (tmp_path / "none.py", "no such file"),
        (tmp_path, "no such file"),
        (written(tmp_path, "x = 1\n"), "it registers nothing"),
    ):
        with pytest.raises(ConfigError, match=words):
            load(path)


def test_a_registered_norm_is_a_name_like_any_other(tmp_path: Path) -> None:
    reference, schema = config_reference(), config_schema()
    load(written(tmp_path, MAD, "mad.py"))
    load(written(tmp_path, MISH, "mish.py"))
    block = parse_block("linear -> norm -> Mish", norm="mad(momentum=0.01, affine=false)")
    assert [str(item) for item in block] == ["linear", "mad(momentum=0.01, affine=false)", "mish"]
    assert block[1].kind.cancels_bias
    for text, words in (
        ("mad(eps=0)", r"expected eps to be a number above 0"),
        ("mad(epz=1)", r'mad has no option "epz"\. Did you mean "eps"'),
        ("madd", r'unknown item "madd"\. Did you mean "mad"'),
    ):
        with pytest.raises(BlockError, match=words):
            parse_item(text)
    assert "| `mad(momentum=0.1, eps=1e-05, affine=true)` | norm |" in config_reference()
    assert re.search(norm_pattern(), "mad(eps=1e-3)")
    assert not re.search(norm_pattern(), "mad(epz=1e-3)")
    with forgotten():
        assert (config_reference(), config_schema()) == (reference, schema)


def test_a_name_belongs_to_the_file_that_registered_it_first(tmp_path: Path) -> None:
    path = written(tmp_path, MAD, "mad.py")
    load(path)
    load(path)
    first = parse_item("mad")
    written(tmp_path, MAD.replace("1e-5", "1e-3"), "mad.py")
    load(path)  # edited meanwhile, as in a notebook
    assert (first.options.eps, parse_item("mad").options.eps) == (1e-5, 1e-3)  # type: ignore[attr-defined]
    with pytest.raises(ConfigError, match=r"other\.py:\d+: mad: it is registered by .*mad\.py:\d+ already"):
        load(written(tmp_path, MAD, "other.py"))


def test_a_cell_of_a_notebook_can_register_and_change_its_norm() -> None:
    for cell, eps in (("cell1", 1e-5), ("cell2", 1e-3)):
        text = MAD.replace("1e-5", str(eps))
        linecache.cache[cell] = (len(text), None, text.splitlines(keepends=True), cell)
        exec(compile(text, cell, "exec"), {"__name__": "__main__"})  # noqa: S102  as a notebook does
        assert parse_item("mad").options.eps == eps  # type: ignore[attr-defined]
    with pytest.raises(ConfigError, match=r"cell2:\d+: mad: another process would run the whole program"):
        pickle.dumps(parse_item("mad"))
    with pytest.raises(ConfigError, match="runs record the file that registers a norm"):
        exec(compile(MAD, "<nowhere>", "exec"), {"__name__": "__main__"})  # noqa: S102


def test_an_item_brings_its_code_to_another_process(tmp_path: Path) -> None:
    path = written(tmp_path, MAD, "mad.py")
    load(path)
    item = parse_item("mad(momentum=0.01)")
    sent = pickle.dumps([item, parse_item("bn(eps=1e-3)")])
    path.unlink()
    with forgotten():
        here, bn = pickle.loads(sent)  # noqa: S301  our own
        assert (str(here), str(bn)) == ("mad(momentum=0.01)", "bn(eps=0.001)")
        assert here.kind.source.mark == item.kind.source.mark  # type: ignore[union-attr]


def test_what_a_plugin_prints_is_none_of_what_programs_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    load(written(tmp_path, "print('hello')\n" + textwrap.dedent(MAD)))
    assert capsys.readouterr() == ("", "hello\n")
