"""The generated documents are fresh, well formed, and agree with what the code really sends."""

import json

import jsonschema
import msgspec
import pytest

from gateway.contract import schema
from tests.contract.samples import samples


class TestCommittedDocuments:
    def test_json_schema_is_fresh(self) -> None:
        committed = schema.SCHEMA_PATH.read_text(encoding="utf-8")

        assert committed == schema.render(schema.json_schema()), "run: python -m gateway.contract.schema"

    def test_asyncapi_is_fresh(self) -> None:
        committed = schema.ASYNCAPI_PATH.read_text(encoding="utf-8")

        assert committed == schema.render(schema.asyncapi()), "run: python -m gateway.contract.schema"


class TestJsonSchema:
    @pytest.mark.parametrize("name", sorted(samples()))
    def test_accepts_what_the_code_sends(self, name: str) -> None:
        message = samples()[name]
        document = schema.json_schema() | {"$ref": f"#/components/schemas/{type(message).__name__}"}

        jsonschema.Draft202012Validator(document).validate(json.loads(msgspec.json.encode(message)))

    def test_refuses_a_volume_that_is_not_an_integer(self) -> None:
        message = json.loads(msgspec.json.encode(samples()["command_OpenValve"]))
        message["body"]["volume_limit_ml"] = 1.5
        document = schema.json_schema() | {"$ref": "#/components/schemas/Command"}

        assert list(jsonschema.Draft202012Validator(document).iter_errors(message))


class TestAsyncapi:
    def test_every_reference_points_somewhere(self) -> None:
        document = schema.asyncapi()
        pending: list[object] = [document]
        references: list[str] = []
        while pending:
            item = pending.pop()
            if isinstance(item, dict):
                references += [value for key, value in item.items() if key == "$ref"]
                pending += item.values()
            elif isinstance(item, list):
                pending += item

        for reference in references:
            target: object = document
            for part in reference.removeprefix("#/").split("/"):
                assert isinstance(target, dict)
                assert part in target, reference
                target = target[part]
        assert references

    def test_nothing_on_down_is_retained_or_unbounded(self) -> None:
        for name, operation in schema.asyncapi()["operations"].items():
            binding = operation["bindings"]["mqtt"]
            assert binding["retain"] is False
            if name.startswith("down_"):
                assert binding["messageExpiryInterval"] <= 30
