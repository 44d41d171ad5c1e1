"""What the adapters have in common: who may pay, and how much is read at most."""

import zlib

from backend.payments.port import Payer
from backend.payments.rails.amounts import code_fits

NOTIFICATION_BYTES_MAX = 64 * 1024
STATEMENT_BYTES_MAX = 64 * 1024 * 1024
_INFLATED_BYTES_MAX = 256 * 1024 * 1024


def payer_problem(method: str, payer: Payer) -> str:
    """Return why this payer cannot pay here, before anything is sent; empty when nothing is wrong."""
    if payer.code:
        return "" if code_fits(method, payer.code) else "unsupported_code"
    return "" if payer.agreement else "payer_unbound"


def inflated(packed: bytes, window_bits: int) -> bytes | None:
    """Return unpacked data of a bounded size, or None when it is broken, cut short or too large."""
    unpacker = zlib.decompressobj(window_bits)
    try:
        data = unpacker.decompress(packed, _INFLATED_BYTES_MAX)
    except zlib.error:
        return None
    return data if unpacker.eof and not unpacker.unconsumed_tail else None
