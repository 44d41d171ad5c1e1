"""What a session is, said to the device that serves it and to whoever watches it. Pure."""

import zlib

import msgspec

from gateway.contract.events import StopReason
from gateway.contract.messages import MeterSampled
from gateway.devices.ports import Glimpse, Opening, OutletStatus
from gateway.sessions.machine import Happening, State, step
from gateway.uplink.state import SessionMemory


def opening_of(session: SessionMemory, *, not_after_s: int) -> Opening:
    """Return what an outlet is told of a session, when it is opened and when its lease is renewed."""
    return Opening(
        session_u32=session.session_u32,
        volume_limit_ml=session.volume_limit_ml,
        duration_limit_s=session.duration_limit_s,
        lease_s=session.lease_s,
        idle_limit_s=session.idle_limit_s,
        temperature_limit_decidegc=session.temperature_limit_decidegc,
        token_tag=zlib.crc32(session.cmd_id.encode()),
        not_after_s=not_after_s,
    )


def sample_of(session: SessionMemory, status: OutletStatus | Glimpse, *, at_ms: int, is_paused: bool) -> MeterSampled:
    """Return one look at an open outlet, for telemetry."""
    return MeterSampled(
        device=session.device_id,
        water_session_id=session.water_session_id,
        at_ms=at_ms,
        pulses=status.session_pulses,
        k_factor_pulses_per_m3=session.k_factor_pulses_per_m3,
        flow_ml_per_min=status.flow_ml_per_min,
        temperature_decidegc=status.temperature_decidegc,
        elapsed_s=status.session_elapsed_s,
        state="paused" if is_paused else "flowing",
    )


def asked_to_close(session: SessionMemory, reason: StopReason) -> SessionMemory:
    """Return a session that is asked to close; the first reason stays."""
    state = step(State(session.state), Happening.CLOSE_ASKED)
    return msgspec.structs.replace(session, state=state, asked_stop=session.asked_stop or reason.value)
