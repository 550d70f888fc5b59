"""Old names of what lessons are made of, until they import the new ones."""

from typing import Any

from bnexp.document import table as tables
from bnexp.document.figure import Histogram as Histogram
from bnexp.document.figure import Lines as Lines
from bnexp.document.figure import Regions as Regions
from bnexp.document.figure import Scatter as Scatter
from bnexp.document.figure import histogram as histogram
from bnexp.document.values import Heading as Heading
from bnexp.document.values import Lesson as Lesson
from bnexp.document.values import Numbers as Numbers
from bnexp.document.values import Part as Part
from bnexp.document.values import Text as Text
from bnexp.document.values import TryIt as Experiment
from bnexp.document.values import text as text


class Table(tables.Table):
    """A table of numbers."""

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(**vars(tables.number_table(*args, **named)))


__all__ = ["Experiment", "Heading", "Histogram", "Lesson", "Lines", "Numbers", "Part", "Regions", "Scatter", "Table"]
__all__ += ["Text", "histogram", "text"]
