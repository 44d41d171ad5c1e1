"""The one-time payment code on a form: asked of those whose provider knows no agreement with them, and never echoed."""

from sqlalchemy import Connection

from backend.cardholders.types import SignIn
from backend.errors import BackendError
from backend.payments import service as payments
from backend.payments.capabilities import MATRIX
from backend.web.signed_in import Form

_LENGTH_MAX = 64


class PayerCodeMissing(BackendError):
    """This person pays with this method by showing a code, and the form has none."""

    code = "payer_code_missing"
    status = 422


def asks_code(conn: Connection, found: SignIn, method: str) -> bool:
    """Return whether a person must show a code to pay with a method."""
    can = MATRIX.get(method)
    if can is None or not can.external:
        return False
    return can.needs_code or not payments.payer_agreement(conn, found.tenant_id, found.cardholder.cardholder_id, method)


def code_of(form: Form, *, is_asked: bool) -> str:
    """
    Return the code a form has, without the spaces that apps print in it; none where none is asked for.

    A code that was typed before another method was chosen is left alone: it is worth money.

    :raises PayerCodeMissing: if one is asked for and there is none.
    """
    if not is_asked:
        return ""
    code = "".join(form.get("payer_code").split())[:_LENGTH_MAX]
    if not code:
        raise PayerCodeMissing
    return code
