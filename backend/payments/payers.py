"""Who pays an external provider: a standing agreement that is kept, or a one-time code that never is."""

from datetime import datetime

from sqlalchemy import Connection

from backend.errors import BackendError
from backend.payments import refund_repository
from backend.payments.capabilities import EXTERNAL_METHODS, MATRIX
from backend.payments.port import Payer
from backend.payments.rules import is_payer_code

AGREEMENT_LENGTH_MAX = 128


class PayerCodeMalformed(BackendError):
    """This is no payment code of that brand."""

    code = "payer_code_malformed"


class PayerAgreementRefused(BackendError):
    """Nobody pays by standing agreement with this method, or the agreement is malformed."""

    code = "payer_agreement_refused"


def check_code(method: str, code: str) -> None:
    """
    Return nothing if a code can be a payer's for a method; no code at all is fine.

    The code never appears in the refusal: it is worth money to whoever reads it.

    :raises PayerCodeMalformed: if it cannot be one, or the method takes none.
    """
    if code and not is_payer_code(method, code):
        raise PayerCodeMalformed(method=method)


def bind_payer(
    conn: Connection, *, tenant_id: str, cardholder_id: str, method: str, agreement: str, now: datetime
) -> None:
    """
    Store a cardholder's standing agreement with a provider, in place of the one before.

    :raises PayerAgreementRefused: if the method has none or the text cannot be one.
    """
    is_kept = method in EXTERNAL_METHODS and not MATRIX[method].needs_code
    if not is_kept or not 0 < len(agreement) <= AGREEMENT_LENGTH_MAX or not agreement.isascii():
        raise PayerAgreementRefused(method=method)
    refund_repository.bind_payer(conn, tenant_id, cardholder_id, method, agreement, now)


def payer_agreement(conn: Connection, tenant_id: str, cardholder_id: str, method: str) -> str:
    """Return a cardholder's standing agreement for a method; nothing if there is none."""
    return refund_repository.payer_agreement(conn, tenant_id, cardholder_id, method)


def payer_of(conn: Connection, tenant_id: str, cardholder_id: str, method: str, code: str) -> Payer | None:
    """Return who pays: by the code shown, else by the standing agreement; None if the method gets neither."""
    if code:
        return Payer(code=code)
    agreement = payer_agreement(conn, tenant_id, cardholder_id, method)
    return None if MATRIX[method].needs_code or not agreement else Payer(agreement=agreement)
