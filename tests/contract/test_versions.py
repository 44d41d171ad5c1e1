"""What an older gateway or backend sent must still parse, and mean the same."""

import json
from pathlib import Path

import msgspec
import pytest

from tests.contract.samples import samples

_GOLDEN = Path(__file__).parent.parent / "golden" / "contract"


def _recordings() -> list[tuple[str, str]]:
    return [(path.parent.name, path.stem) for path in sorted(_GOLDEN.glob("v*/*.json"))]


class TestRecordedMessages:
    @pytest.mark.parametrize(("version", "name"), _recordings())
    def test_still_parse_to_the_same_values(self, version: str, name: str) -> None:
        raw = (_GOLDEN / version / f"{name}.json").read_bytes()

        message = msgspec.json.decode(raw, type=type(samples()[name]))

        assert message == samples()[name]

    @pytest.mark.parametrize(("version", "name"), _recordings())
    def test_parse_with_fields_a_newer_version_may_add(self, version: str, name: str) -> None:
        document = json.loads((_GOLDEN / version / f"{name}.json").read_text())
        document["added_by_a_later_version"] = {"deep": [1]}

        message = msgspec.json.decode(json.dumps(document).encode(), type=type(samples()[name]))

        assert message == samples()[name]

    def test_cover_every_message(self) -> None:
        assert {name for _, name in _recordings()} == set(samples())

    @pytest.mark.parametrize("name", sorted(samples()))
    def test_need_every_field_they_were_recorded_with_or_have_a_default_for_it(self, name: str) -> None:
        kind = type(samples()[name])
        recorded = json.loads((_GOLDEN / "v1.0" / f"{name}.json").read_text())
        required = {field.encode_name for field in msgspec.structs.fields(kind) if field.required}

        assert required <= set(recorded), "a field added after 1.0 needs a default: the edge is upgraded last"
