"""`bnexp schema`: the schema of a config, for editors and for people."""

import json

from bnexp.config.reference import config_reference, config_schema
from bnexp.document.show import write_out


def schema(*, markdown: bool = False) -> None:
    """Print the JSON Schema of a config file, or with `markdown` the reference of every key."""
    write_out(config_reference() if markdown else json.dumps(config_schema(), indent=2) + "\n")
