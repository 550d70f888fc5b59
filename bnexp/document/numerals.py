"""Old names, until lessons import the new ones."""

from bnexp.document.writing import Value as Cell
from bnexp.document.writing import decimal as decimal

__all__ = ["Cell", "decimal"]
