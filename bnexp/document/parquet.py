"""Write rows as Parquet, a part at a time, so that memory stays flat; pyarrow, an extra, does the writing."""

import importlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from bnexp.errors import ConfigError


def arrow(module: str = "pyarrow") -> Any:
    """Return a module of pyarrow.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError:
        how = "to install it: pip install pyarrow; without it: --format csv"
        raise ConfigError(f"--format parquet needs pyarrow, which is not installed; {how}") from None


class _Sink:
    """A file that hands on what is written to it."""

    closed = False

    def __init__(self) -> None:
        self._blocks, self._written = list[bytes](), 0

    def write(self, block: Any) -> int:
        self._blocks.append(bytes(block))
        self._written += len(self._blocks[-1])
        return len(self._blocks[-1])

    def tell(self) -> int:
        return self._written

    def flush(self) -> None: ...

    def close(self) -> None: ...

    def writable(self) -> bool:
        return True

    def readable(self) -> bool:
        return False

    def seekable(self) -> bool:
        return False

    def take(self) -> bytes:
        content = b"".join(self._blocks)
        self._blocks.clear()
        return content


def parquet_parts(types: Mapping[str, str], groups: Iterable[Sequence[Sequence[object]]]) -> Iterator[bytes]:
    """Write groups of rows as one file, and yield its bytes as they come.

    Args:
        types: the names of the columns, each with the name of its type in pyarrow; `category` is a text that repeats.
        groups: rows of values in the order of the columns; each group becomes a row group.
    """
    pa, parquet, sink = arrow(), arrow("pyarrow.parquet"), _Sink()
    made = {name: pa.dictionary(pa.int32(), pa.string()) for name, kind in types.items() if kind == "category"}
    schema = pa.schema([(name, made.get(name) or pa.type_for_alias(kind)) for name, kind in types.items()])
    with parquet.ParquetWriter(sink, schema) as writer:
        for rows in groups:
            columns = zip(*rows, strict=True) if rows else [()] * len(schema)
            arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))
            yield sink.take()
    yield sink.take()


def types_of(names: Sequence[str], rows: Sequence[Mapping[str, object]]) -> dict[str, str]:
    """Return the types of columns by their values; what is of several kinds, or a list, becomes JSON text."""
    return {name: _type_of({type(row.get(name)) for row in rows} - {type(None)}) for name in names}


def _type_of(kinds: set[type]) -> str:
    for kind, name in ((bool, "bool"), (int, "int64"), (str, "string")):
        if kinds == {kind}:
            return name
    return "double" if kinds and kinds <= {int, float} else "string"


def as_typed(value: object, kind: str) -> object:
    """Return a value as a column of a type takes it."""
    if kind == "string" and value is not None and not isinstance(value, str):
        return json.dumps(value)
    return float(value) if kind == "double" and isinstance(value, int) else value
