"""What tests of pages need: a browser, started once."""

from collections.abc import Iterator
from typing import Any

import pytest

import in_a_browser


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Start a browser for the tests of a file."""
    yield from in_a_browser.started(tmp_path_factory.mktemp("profile"))
