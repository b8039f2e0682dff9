"""Every run's JSON report fits the schema that is published with it."""

from __future__ import annotations

import json
from importlib.resources import files

import jsonschema
import pytest

from tests.reports import ledgers

SCHEMA = json.loads(
    files("carbon_trainer.reports").joinpath("schemas/run-report.schema.json").read_text("utf-8")
)


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("name", sorted(ledgers.ALL))
def test_a_report_fits_it(name, rendered) -> None:
    document = json.loads(rendered(name, "json"))
    jsonschema.Draft202012Validator(SCHEMA).validate(document)


def test_a_figure_without_value_must_say_why(rendered) -> None:
    document = json.loads(rendered("empty", "json"))
    document["figures"]["energy"]["method"] = "measured"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(SCHEMA).validate(document)
