"""What a reader saw, as a question for the backend."""

from gateway.contract.messages import CredentialKind, CredentialPresented
from gateway.devices.ports import Mail
from gateway.kit import new_id

MAIL_AGE_S_MAX = 10

_KINDS = {
    "UID": CredentialKind.UID,
    "NFC": CredentialKind.SUN,
    "CODE": CredentialKind.CODE,
    "BUTTON": CredentialKind.BUTTON,
}


def question_of(mail: Mail, device_id: str, now_ms: int) -> CredentialPresented | None:
    """Return what to ask about a mail; None when it is too old, or of a kind we do not know."""
    kind = _KINDS.get(mail.source)
    if kind is None or mail.stale or age_s(mail, now_ms) > MAIL_AGE_S_MAX:
        return None
    return CredentialPresented(
        request_id=new_id("rq"),
        at_ms=now_ms,
        device=device_id,
        kind=kind,
        value=mail.value,
        direction=mail.direction,
    )


def age_s(mail: Mail, now_ms: int) -> int:
    """Return how old a mail is; a clock that was never set says nothing."""
    return now_ms // 1000 - mail.time_s if mail.time_s else 0
