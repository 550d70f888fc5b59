"""Old names, until the tests of lessons import the new ones."""

from bnexp.document.terminal import command_lines as command_lines
from bnexp.document.terminal import print_document as print_lesson
from bnexp.document.terminal import to_text as to_text

__all__ = ["command_lines", "print_lesson", "to_text"]
