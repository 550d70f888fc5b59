"""Norms of others for tests: the one of docs/own_norm.md, and a registry that forgets them."""

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bnexp.config import aliases, plugin_code
from bnexp.config.block import parse_block
from bnexp.config.items import ITEMS

GUIDE = Path(__file__).parent.parent / "docs" / "own_norm.md"


def blocks(language: str) -> list[str]:
    """Return the blocks of the guide in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", GUIDE.read_text(), re.DOTALL | re.MULTILINE)


MAD, MISH = blocks("python")


@contextmanager
def forgotten() -> Iterator[None]:
    """Forget what is registered until the context ends, as another process would not know it."""
    kept = [dict(ITEMS), dict(aliases._ITEMS), dict(plugin_code._EXECUTED)]
    modules = set(sys.modules)
    own = {name: kind for name, kind in ITEMS.items() if kind.source is not None}
    for name in own:
        del ITEMS[name]
        aliases._ITEMS.pop(name.replace("_", ""), None)
    plugin_code._EXECUTED.clear()
    parse_block.cache_clear()
    try:
        yield
    finally:
        for registry, before in zip((ITEMS, aliases._ITEMS, plugin_code._EXECUTED), kept, strict=True):
            registry.clear()
            registry.update(before)  # type: ignore[arg-type]
        for name in set(sys.modules) - modules:
            if name.startswith(("bnexp_plugin_", "my_norms")):
                del sys.modules[name]
        parse_block.cache_clear()
