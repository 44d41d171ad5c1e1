"""
Who may open a valve. Pure: the caller passes the time and what it remembers.

Order matters. Nothing of a payload is believed before its signature fits; a command for somebody else is not reported
under its own ids, so that replaying one gateway's command at another cannot void a running session; a repeat of what
was already dealt with is recognized before it could be called late.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from gateway.contract.commands import Command, GrantPassage
from gateway.contract.events import RefusalCode
from gateway.contract.signing import SignatureRefused, Signed, verify

TTL_MS_MAX = 30_000
SKEW_MS_MAX = 5_000


class Remembered(StrEnum):
    """What the gateway knows about a command id."""

    NEW = "new"
    SAME = "same"  # the very same bytes were dealt with before
    DIFFERENT = "different"  # the id was used for other bytes


class Verdict(StrEnum):
    """What to do with a command."""

    OBEY = "obey"
    IGNORE = "ignore"


@dataclass(frozen=True, slots=True, kw_only=True)
class Audience:
    """Whose commands are obeyed here."""

    tenant: str
    gateway: str
    devices: frozenset[str]


@dataclass(frozen=True, slots=True)
class Order:
    """A verified command and the digest of its bytes."""

    command: Command
    sha256: str


class CommandRejected(Exception):
    """A command must not be obeyed. `command` is None when its ids must not be repeated in the refusal."""

    def __init__(self, code: RefusalCode, detail: str, command: Command | None = None) -> None:
        super().__init__(f"{code}: {detail}")
        self.code, self.detail, self.command = code, detail, command


def subject_of(command: Command) -> str:
    """Return the id of the session or passage a command is about."""
    return command.body.passage_id if isinstance(command.body, GrantPassage) else command.body.water_session_id


def signed_command(signed: Signed, *, keys: Mapping[str, Ed25519PublicKey]) -> Command:
    """
    Return the command that one of the backend's keys signed.

    :raises CommandRejected: `unsigned`, `unknown_key`, `bad_signature` or `malformed`.
    """
    try:
        return verify(signed, keys=dict(keys), as_type=Command)
    except SignatureRefused as error:
        raise CommandRejected(RefusalCode(error.code), str(error)) from error


def verdict(
    command: Command,
    *,
    audience: Audience,
    last_sequence: int,
    remembered: Remembered,
    retained: bool,
    now_ms: int,
    not_before_ms: int = 0,
) -> Verdict:
    """
    Return whether to obey a signed command or to ignore it as a repeat.

    `not_before_ms` is the time from which memory reaches back without a gap; older commands could be replays.

    :raises CommandRejected: if it must not be obeyed.
    """
    if (command.tenant, command.gateway) != (audience.tenant, audience.gateway):
        raise CommandRejected(
            RefusalCode.WRONG_AUDIENCE, f"{command.cmd_id} is for {command.tenant}/{command.gateway}, not for here"
        )
    if remembered is Remembered.SAME:
        if retained:
            raise CommandRejected(RefusalCode.RETAINED, f"{command.cmd_id} again, retained")
        if now_ms >= command.not_after_ms:
            raise CommandRejected(RefusalCode.STALE_SEQUENCE, f"replay of {command.cmd_id}, dealt with before")
        return Verdict.IGNORE
    if remembered is Remembered.DIFFERENT:
        raise CommandRejected(RefusalCode.STALE_SEQUENCE, f"{command.cmd_id} was used for another command")
    if command.device not in audience.devices:
        raise CommandRejected(RefusalCode.UNKNOWN_DEVICE, f"no device here is called {command.device}", command)
    if retained:
        raise CommandRejected(RefusalCode.RETAINED, "commands are never retained", command)
    if command.issued_at_ms > now_ms + SKEW_MS_MAX:
        ahead = command.issued_at_ms - now_ms
        raise CommandRejected(RefusalCode.CLOCK_SKEW, f"issued {ahead} ms in the future", command)
    if now_ms >= command.not_after_ms:
        raise CommandRejected(RefusalCode.EXPIRED, f"{now_ms - command.not_after_ms} ms too late", command)
    if command.not_after_ms - command.issued_at_ms > TTL_MS_MAX:
        raise CommandRejected(RefusalCode.EXPIRED, "lives longer than 30 s", command)
    if command.sequence <= last_sequence or command.issued_at_ms < not_before_ms:
        detail = f"sequence {command.sequence} after {last_sequence}"
        raise CommandRejected(RefusalCode.STALE_SEQUENCE, detail, command)
    return Verdict.OBEY
