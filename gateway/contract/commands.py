"""
Commands go down. Each is imperative, bound to one device, expires, and carries the device's next sequence number.

A command never knows a price: the gateway gets litres and seconds. Limits are absolute from the opening of the session,
never increments, so that repeating a command changes nothing.
"""

import msgspec


class OpenValve(msgspec.Struct, frozen=True, tag="open_valve", kw_only=True):
    """Give a water session up to these limits; the outlet closes by itself at whichever comes first."""

    water_session_id: str
    volume_limit_ml: int
    duration_limit_s: int
    #: the device closes when the gateway has not renewed for this long
    lease_s: int = 60
    #: the device closes after this long without flow
    idle_limit_s: int = 60
    temperature_limit_decidegc: int = 480


class CloseValve(msgspec.Struct, frozen=True, tag="close_valve", kw_only=True):
    """End a water session now. Closing what is already closed is not an error."""

    water_session_id: str
    #: what the record will say: `remote` (owner or staff), `handover` (the next student), `revoked` (grant withdrawn)
    stop_reason: str = "remote"


class GrantPassage(msgspec.Struct, frozen=True, tag="grant_passage", kw_only=True):
    """Unlock an access reader for one passage. The passage, not this grant, counts as entry."""

    passage_id: str
    #: `in` or `out`
    direction: str = "in"
    open_ms: int = 5_000


Body = OpenValve | CloseValve | GrantPassage


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """What is signed. Times are milliseconds since 1970, UTC."""

    cmd_id: str
    tenant: str
    gateway: str
    device: str
    #: strictly greater than every sequence this device has seen; persisted by the gateway before it acts
    sequence: int
    issued_at_ms: int
    #: refused from this instant on
    not_after_ms: int
    body: Body
