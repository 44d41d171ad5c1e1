"""Every message survives the wire unchanged, and what is not a message is refused."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.contract.commands import Command
from gateway.contract.events import JournalRecord
from gateway.contract.messages import (
    Acknowledged,
    CommandMessage,
    CredentialPresented,
    Decision,
    DeviceHealth,
    EventBatch,
    Gone,
    HealthReport,
    Hello,
    TelemetryBatch,
)
from tests.contract.samples import samples

_TEXT = st.text(st.characters(codec="utf-8"))
st.register_type_strategy(int, st.integers(min_value=-(2**63), max_value=2**64 - 1))
st.register_type_strategy(str, _TEXT)
st.register_type_strategy(
    DeviceHealth, st.builds(DeviceHealth, faults=st.lists(_TEXT), register_pulses=st.none() | st.integers(0, 2**64 - 1))
)

_KINDS = (
    Command, JournalRecord, Hello, Gone, TelemetryBatch, HealthReport, CredentialPresented, Decision, CommandMessage,
    EventBatch, Acknowledged,
)  # fmt: skip


class TestRoundTrip:
    @pytest.mark.parametrize("kind", _KINDS)
    @given(data=st.data())
    def test_keeps_every_value(self, kind: type[msgspec.Struct], data: st.DataObject) -> None:
        message = data.draw(st.from_type(kind))

        assert msgspec.json.decode(msgspec.json.encode(message), type=kind) == message


class TestMalformed:
    @pytest.mark.parametrize("name", sorted(samples()))
    def test_refuses_a_message_without_one_of_its_required_fields(self, name: str) -> None:
        kind = type(samples()[name])
        whole = json.loads(msgspec.json.encode(samples()[name]))
        for field in msgspec.structs.fields(kind):
            if field.required:
                broken = {key: value for key, value in whole.items() if key != field.encode_name}
                with pytest.raises(msgspec.ValidationError):
                    msgspec.json.decode(json.dumps(broken).encode(), type=kind)

    @pytest.mark.parametrize("raw", [b"", b"null", b"[]", b"\xff", b"{", b'{"body": 1}', b"1e999"])
    def test_refuses_what_is_no_message(self, raw: bytes) -> None:
        with pytest.raises(msgspec.MsgspecError):
            msgspec.json.decode(raw, type=Command)
