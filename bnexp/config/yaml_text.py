"""Read and write YAML by the rules of 1.2, and `<<` of 1.1: safe, without duplicate keys, every key with its line.

PyYAML reads YAML 1.1, where `1e-4` is a string, `no` is false, `1:30` is 90 and `010` is 8. Here `1e-4` is a number and
only `true` and `false` are booleans; the others stay the words they look like.
"""

import codecs
import errno
import json
import os
import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path, PurePath
from typing import Any

import yaml

from bnexp.config.nested import MAX_BYTES, Place
from bnexp.config.packaged import ENDINGS, file_name, packaged_configs
from bnexp.config.wording import blanked, brief
from bnexp.errors import ConfigError, nearest, nearest_path
from bnexp.files import read_file

MAX_NODES = 10_000
MAX_DEPTH = 20
MAX_LETTERS = 10_000
"""Letters of one value or key. An alias repeats it, and the whole stays within MAX_NODES times as much work."""
_UNREADABLE = {
    errno.EINVAL: "a pipe or a device; expected a YAML file",
    errno.EISDIR: "a folder; expected a YAML file, such as folder/*.yaml for all in it",
    errno.EFBIG: f"larger than {MAX_BYTES:,} bytes; expected a config",
}
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
"""How a file of UTF-16 begins, as some editors of Windows write it."""
_SURROGATE = re.compile("[\ud800-\udfff]")
_PRODUCT = re.compile(r"[\]\d]\s*\*.?$")
_OTHER_FORMAT = re.compile(
    r"(?:[ \t]*(?:[#;].*)?\r?\n)*(?:\[+[\w.-]+\]+[ \t]*(?:[#;].*)?$|[\w.-]+[ \t]*=)", re.MULTILINE
)
"""A first line such as `[section]` or `key = value`, which no config has."""
_GROUPED = re.compile(r"[-+]?[1-9][0-9]{0,2}\.000")
"""A number that may be whole, or thousands as they are grouped in many countries; no config that we write has one."""
_STRING, _MERGE = "tag:yaml.org,2002:str", "<<"
_DIGITS = r"(?:0|[1-9][0-9]{0,2}(?:_[0-9]{3})+|[1-9][0-9]*)"
"""Whole numbers as people write them: 60000 and 60_000, but 010 and 2024_01 are words."""

_PLAIN = {
    "tag:yaml.org,2002:null": (r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    "tag:yaml.org,2002:bool": (r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    "tag:yaml.org,2002:int": (rf"[-+]?{_DIGITS}", list("-+0123456789")),
    "tag:yaml.org,2002:float": (
        rf"[-+]?(?:\.[0-9]+|{_DIGITS}(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
}


class _TooLargeError(Exception):
    """More values or levels than a config has, at a place in the text."""

    def __init__(self, mark: yaml.Mark | None) -> None:
        super().__init__(f"more than {MAX_NODES:,} values or {MAX_DEPTH} levels; expected a config")
        self.mark = mark


class _Loader(yaml.SafeLoader):
    """SafeLoader with the plain words of YAML 1.2, which stops reading where no config can follow."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.composed, self.level = 0, -1

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Compose a node, unless there were too many before it, or too many are around it."""
        self.composed += 1
        self.level += 1
        if self.composed > 2 * MAX_NODES or self.level > MAX_DEPTH:  # a value comes with a key at most
            raise _TooLargeError(self.peek_event().start_mark)  # type: ignore[no-untyped-call]
        node = super().compose_node(parent, index)
        self.level -= 1
        return node

    def fetch_flow_collection_start(self, TokenClass: Any) -> None:
        """Open a bracket, but not the thousandth: PyYAML would look for the others for seconds."""
        if self.flow_level > 2 * MAX_DEPTH:
            raise _TooLargeError(self.get_mark())
        super().fetch_flow_collection_start(TokenClass)


class _Dumper(yaml.SafeDumper):
    """SafeDumper that quotes what `_Loader` would read as something else, and keeps lists of numbers on one line."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


for _class in (_Loader, _Dumper):
    _class.yaml_implicit_resolvers = {}
    for _tag, (_pattern, _first) in _PLAIN.items():
        _class.add_implicit_resolver(_tag, re.compile(f"(?:{_pattern})$"), _first)


def _represent_list(dumper: _Dumper, values: list[Any] | tuple[Any, ...]) -> yaml.Node:
    return dumper.represent_sequence("tag:yaml.org,2002:seq", values, flow_style=True)


def _represent_text(dumper: _Dumper, text: str) -> yaml.Node:
    # Only in double quotes are all line breaks escaped; elsewhere YAML 1.1 folds U+0085 and its like to a space.
    plain = text.isprintable() and text != _MERGE
    return dumper.represent_scalar(_STRING, text, style=None if plain else '"')


_Dumper.add_representer(str, _represent_text)
_Dumper.add_representer(list, _represent_list)
_Dumper.add_representer(tuple, _represent_list)


def dump_yaml(values: dict[str, Any]) -> str:
    """Write a mapping so that `read_yaml` gives the same values back."""
    return yaml.dump(values, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)


def read_yaml_file(path: Path, *, links: bool = True) -> tuple[Any, dict[Place, str]]:
    """Read a file, without `links` no link to one.

    Returns its value and, for each place in it, where that stands (`file:line`).

    Raises:
        ConfigError: missing, unreadable, too large, not YAML, a duplicate key, or a tag that would run code.
    """
    source = file_name(path)
    try:
        content = read_file(path, MAX_BYTES, links=links)
        _refuse_wide_letters(content, source)
        text = content.decode("utf-16" if content.startswith(_UTF_16) else "utf-8")
    except FileNotFoundError:
        raise ConfigError(no_such_file(path)) from None
    except OSError as error:
        problem = _UNREADABLE.get(error.errno or 0, f"cannot be read: {error.strerror}")
        raise ConfigError(f"{source}: {problem}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(_not_utf_8(error, source)) from None
    except ValueError:  # a name with a NUL, or one that the system's encoding lacks
        raise ConfigError(f"{source}: no name that a file can have") from None
    if match := _OTHER_FORMAT.match(text):
        line, form = text[: match.end()].count("\n") + 1, "seed = 0 is seed: 0, and a section its name with a colon"
        raise ConfigError(f"{source}:{line}: not YAML, but TOML, INI or Python; in YAML {form} above indented keys")
    return read_yaml(text, source)


def _refuse_wide_letters(content: bytes, source: str) -> None:
    """Refuse UTF-32, and UTF-16 that does not begin with its mark, by the zeros in letters of a plain keyboard."""
    wide = None
    match [letter == 0 for letter in content[:4]]:
        case _ if content.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
            wide = "UTF-32"
        case [False, True, True, True]:
            wide = "UTF-32LE"
        case [False, True, *_]:
            wide = "UTF-16LE"
        case [True, False, *_]:
            wide = "UTF-16BE"
    if wide:
        into = f"iconv -f {wide} -t UTF-8 {shlex.quote(source)} > utf8.yaml"
        raise ConfigError(f"{source}: {wide}, by its zeros; save it as UTF-8, or type {into}")


def _not_utf_8(error: UnicodeDecodeError, source: str) -> str:
    """Say where a file is not UTF-8, and how to make it so where it is the text of an older encoding."""
    content, start = error.object, error.start
    problem = f"{source}: not a text file (byte {start} is not UTF-8)"
    if b"\0" in content or not content[start : start + 1].decode("cp1252", "replace").isalpha():
        return problem
    line, into = content[:start].count(b"\n") + 1, f"iconv -f CP1252 -t UTF-8 {shlex.quote(source)} > utf8.yaml"
    letter = content[start : start + 1].decode("cp1252")
    return f'{problem}; "{letter}" in line {line}, if it is of an older Windows: save it as UTF-8, or type {into}'


def no_such_file(path: Path) -> str:
    """Say that a file is missing, and name the one beside it, or the config of bnexp, with nearly this name."""
    # Unlike Path.is_dir, os.path.isdir is False also for a name that is too long.
    files = path.parent.glob("*.y*ml") if os.path.isdir(path.parent) else ()
    beside = {other.name: file_name(other) for other in files if other.name != path.name}
    near = next((name for name in beside if Path(name).stem == path.name), None) or nearest_path(path.name, beside)
    meant = beside[near] if near else _packaged_near(path)
    if meant is None and path == Path(path.name) and path.suffix not in ENDINGS:
        return f"{file_name(path)}: no such file, and no config that comes with bnexp; bnexp catalog lists those"
    return f"{file_name(path)}: no such file" + (f'. Did you mean "{meant}"?' if meant else "")


def _packaged_near(path: Path) -> str | None:
    """Return the name of a config of bnexp that nearly is a typed one, whole or in its last part."""
    if path.is_absolute():
        return None
    last = path.stem if path.suffix in ENDINGS else path.name
    by_last = {PurePath(name).name: name for name in reversed(list(packaged_configs()))}
    near = nearest_path(path.with_name(last).as_posix() if last else "", packaged_configs())
    return near or by_last.get(nearest(last, by_last) or "")


def read_yaml(text: str, source: str, *, numbered: bool = True) -> tuple[Any, dict[Place, str]]:
    """Read YAML text; `source` is what messages call it, `numbered` adds the line. See `read_yaml_file`."""

    def at(mark: yaml.Mark | None) -> str:
        return f"{source}:{mark.line + 1}" if mark and numbered else source

    if len(text) > MAX_BYTES:
        raise ConfigError(f"{source}: {len(text):,} letters; expected a config, with at most {MAX_BYTES:,}")
    if "\t" in text and _is_json(text):
        text = text.replace("\t", " ")  # within its texts JSON has none, and columns stay
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            return None, {}
        builder = _Builder(loader, at)
        return builder.value(node, ()), builder.origins
    except yaml.MarkedYAMLError as error:
        raise ConfigError(_not_yaml(error, at)) from None
    except _TooLargeError as error:
        raise ConfigError(f"{at(error.mark)}: {error}") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{source}: not YAML: {str(error).splitlines()[0]}") from None


def _is_json(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False


_BEGUN = {
    "scanning a simple key": "a key, a colon and a space are expected, such as norm: bn",
    "a flow sequence": "this list in [ ] is not closed, or a comma is missing",
    "a flow mapping": "these keys in { } are not closed, or a comma is missing",
    "a quoted scalar": "this quotation mark is not closed",
}
_SAID = {
    "<block mapping start>": "the indentation: keys of one section begin in one column",
    "mapping values are not allowed": "a key where a value goes on: keys of one section begin in one column, and a text"
    " with a colon stands in quotes",
}
"""What YAML's reader says, in a person's words; those of `_BEGUN` are meant for the line where it began to read."""


def _not_yaml(error: yaml.MarkedYAMLError, at: Callable[[yaml.Mark | None], str]) -> str:
    """Say what YAML's reader stumbled over, and show the line with a mark under the place."""
    begun, mark = error.context_mark, error.problem_mark or error.context_mark
    what = " ".join(filter(None, (error.context, error.problem)))
    if begun and mark and begun.line < mark.line and (told := next((by for by in _BEGUN if by in what), None)):
        mark, what = begun, _BEGUN[told]  # the reader goes on to a later line, the mistake is where it began
    elif told := next((by for by in _SAID if by in what), None):
        what = _SAID[told]
    elif "'\\t'" in what:
        what = "a tab in the indentation; YAML indents with spaces"
    elif "alias" in what and mark and mark.buffer and _PRODUCT.search(mark.buffer[: mark.pointer + 1]):
        what = "a product; YAML computes nothing, a list is written out, such as [32, 32, 32]"
    snippet = (mark.get_snippet() if mark else None) or ""
    return "\n".join([f"{at(mark)}: not YAML: {brief(what, 200)}", *map(blanked, snippet.splitlines())])


class _Builder:
    """Turns YAML nodes into plain values, with limits, and notes where each key stands."""

    def __init__(self, loader: _Loader, at: Callable[[yaml.Mark | None], str]) -> None:
        self.loader, self.at = loader, at
        self.origins: dict[Place, str] = {}
        self.nodes = 0

    def value(self, node: yaml.Node, place: Place) -> Any:
        at = self.at(node.start_mark)
        self.nodes += 1
        if self.nodes > MAX_NODES or len(place) > MAX_DEPTH:
            raise _TooLargeError(node.start_mark)
        self.origins.setdefault(place, at)
        if isinstance(node, yaml.ScalarNode):
            _check_text(node.value, at)
        plain = self.loader.resolve(type(node), node.value, (True, False))  # type: ignore[no-untyped-call]
        if node.tag not in (_STRING, plain):
            tag = brief(node.tag.replace("tag:yaml.org,2002:", "!!"))
            raise ConfigError(f"{at}: the tag {tag} is not allowed; a config holds plain values only")
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, place)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(child, (*place, index)) for index, child in enumerate(node.value)]
        if isinstance(node, yaml.ScalarNode) and node.style is None and _GROUPED.fullmatch(node.value):
            one, thousands = node.value.partition(".")[0], node.value.replace(".", "")
            raise ConfigError(f"{at}: {node.value} may be {one} or {thousands}; write one of these, without the point")
        try:
            return self.loader.construct_object(node)
        except ValueError:  # Python's limit, since the time to read a whole number grows with its square
            raise ConfigError(f"{at}: a number of {len(node.value):,} digits; expected a config") from None

    def _mapping(self, node: yaml.MappingNode, place: Place) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for key_node, value_node, is_merged in self._pairs(node, len(place)):
            key, at = key_node.value, self.at(key_node.start_mark)
            if not isinstance(key, str):
                raise ConfigError(f"{at}: a key must be a word, found a list or mapping")
            _check_text(key, at)
            if key in values:
                if is_merged:
                    continue
                first = f", first at {origin}" if (origin := self.origins[(*place, key)]) != at else ""
                raise ConfigError(f"{at}: the key {brief(key)} stands twice{first}")
            self.origins[(*place, key)] = at
            values[key] = self.value(value_node, (*place, key))
        return values

    def _pairs(self, node: yaml.MappingNode, depth: int) -> Iterator[tuple[yaml.Node, yaml.Node, bool]]:
        """Yield the keys and values of a mapping, then, marked, those of the mappings that `<<` merges into it."""
        merged: yaml.Node | None = None
        for key, value in node.value:
            if key.value != _MERGE or key.style is not None:
                yield key, value, False
            elif merged is not None:
                raise ConfigError(f"{self.at(key.start_mark)}: the key << stands twice; several are <<: [*a, *b]")
            else:
                merged = value
        if merged is None:
            return
        for source in merged.value if isinstance(merged, yaml.SequenceNode) else [merged]:
            self.nodes += 1
            if self.nodes > MAX_NODES or depth > MAX_DEPTH:
                raise _TooLargeError(source.start_mark)
            if not isinstance(source, yaml.MappingNode):
                found = "expected keys and values such as *name, where &name marks them"
                raise ConfigError(f"{self.at(source.start_mark)}: << merges no such value; {found}")
            for key, value, _ in self._pairs(source, depth + 1):
                self.nodes += 1
                yield key, value, True


def _check_text(text: str, at: str) -> None:
    """Refuse what no key and no value of a config is."""
    if len(text) > MAX_LETTERS:
        raise ConfigError(f"{at}: a text of {len(text):,} letters; expected a config, with at most {MAX_LETTERS:,}")
    if _SURROGATE.search(text):
        raise ConfigError(f"{at}: {brief(text)} holds half a letter (a surrogate), which no file can hold")
