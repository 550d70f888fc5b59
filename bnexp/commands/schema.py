"""`bnexp schema`: the schema of a config or of a sweep file, for editors and for people."""

import json

from bnexp.config.json_schema import config_schema
from bnexp.config.reference import config_reference
from bnexp.config.sweep_reference import sweep_reference, sweep_schema
from bnexp.document.show import write_out


def schema(*, markdown: bool = False, sweep: bool = False) -> None:
    """Print the JSON Schema of a config or a sweep file, or with `markdown` the reference of every key."""
    reference, json_schema = (sweep_reference, sweep_schema) if sweep else (config_reference, config_schema)
    write_out(reference() if markdown else json.dumps(json_schema(), indent=2) + "\n")
