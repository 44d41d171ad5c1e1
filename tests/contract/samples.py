"""One fixed example of every message, as first recorded for each version of the contract."""

import msgspec

from gateway.contract import commands, events, messages
from gateway.contract.faults import FaultCode
from gateway.contract.signing import Signed

_SIGNED = Signed(kid="gxu-1", payload="{}", signature="AA==")

_EVENTS: list[events.Event] = [
    events.ValveOpened(
        event_id="ev_1", at_ms=1, device="dev_1", water_session_id="ws_1", cmd_id="cmd_1", opening_pulses=10,
        k_factor_pulses_per_m3=450_000,
    ),
    events.WaterSessionEnded(
        event_id="ev_2", at_ms=2, device="dev_1", water_session_id="ws_1", stop_reason=events.StopReason.USER,
        opening_pulses=10, closing_pulses=20, k_factor_pulses_per_m3=450_000,
    ),
    events.CommandRefused(event_id="ev_3", at_ms=3, code=events.RefusalCode.EXPIRED, cmd_id="cmd_1"),
    events.FaultRaised(event_id="ev_4", at_ms=4, fault=FaultCode.TAMPER, device="dev_1"),
    events.FaultCleared(event_id="ev_5", at_ms=5, fault=FaultCode.TAMPER, device="dev_1"),
    events.MeterRead(
        event_id="ev_6", at_ms=6, device="dev_1", register_pulses=20, k_factor_pulses_per_m3=450_000, device_boot_id=1
    ),
    events.PassageCounted(event_id="ev_7", at_ms=7, device="dev_2", passage_id="pg_1", direction="in"),
]  # fmt: skip

_BODIES: list[commands.Body] = [
    commands.OpenValve(water_session_id="ws_1", volume_limit_ml=60_000, duration_limit_s=900),
    commands.CloseValve(water_session_id="ws_1"),
    commands.GrantPassage(passage_id="pg_1"),
]


def samples() -> dict[str, msgspec.Struct]:
    """Return the examples by the name of their golden file."""
    found: dict[str, msgspec.Struct] = {
        "hello": messages.Hello(
            gateway="gw_1", at_ms=1, software="0.1.0", contract="1.0", journal_epoch="e1", journal_sequence=0,
            maps={"chw.hwo1": "1.0"}, devices=["dev_1"],
        ),
        "gone": messages.Gone(gateway="gw_1"),
        "telemetry": messages.TelemetryBatch(
            samples=[
                messages.MeterSampled(
                    device="dev_1", water_session_id="ws_1", at_ms=1, pulses=5, k_factor_pulses_per_m3=450_000,
                    flow_ml_per_min=8_500, temperature_decidegc=401, elapsed_s=3,
                )
            ]
        ),
        "health": messages.HealthReport(
            gateway="gw_1", at_ms=1,
            devices=[messages.DeviceHealth(device="dev_1", state="online", last_answer_at_ms=1, evidence="identity")],
        ),
        "present": messages.CredentialPresented(
            request_id="ev_9", at_ms=1, device="dev_1", kind=messages.CredentialKind.UID, value="04A1B2C3"
        ),
        "decision": messages.Decision(request_id="ev_9", device="dev_1", granted=True, reason="ok", command=_SIGNED),
        "command": messages.CommandMessage(signed=_SIGNED),
        "event_batch": messages.EventBatch(records=[_SIGNED]),
        "acknowledged": messages.Acknowledged(epoch="e1", acked_through=7),
    }  # fmt: skip
    for event in _EVENTS:
        found[f"record_{type(event).__name__}"] = events.JournalRecord(
            tenant="gxu", gateway="gw_1", epoch="e1", sequence=1, previous_sha256="0" * 64, event=event
        )
    for body in _BODIES:
        found[f"command_{type(body).__name__}"] = commands.Command(
            cmd_id="cmd_1", tenant="gxu", gateway="gw_1", device="dev_1", sequence=1, issued_at_ms=1, not_after_ms=2,
            body=body,
        )  # fmt: skip
    return found
