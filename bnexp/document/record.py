"""Old names, until the tests of lessons import the new ones."""

from bnexp.document.exports import to_json as to_json
from bnexp.document.exports import to_strict_json as to_strict_json
