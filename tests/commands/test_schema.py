import json

from bnexp.commands.schema import schema
from bnexp.config.json_schema import config_schema
from bnexp.config.reference import config_reference


def test_it_prints_the_json_schema(capsys):
    schema()
    assert json.loads(capsys.readouterr().out) == config_schema()


def test_or_the_reference(capsys):
    schema(markdown=True)
    assert capsys.readouterr().out == config_reference()
