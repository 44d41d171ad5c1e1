"""Money for people to read. Elsewhere it is an integer of minor units named `…_minor`; a float never comes near it."""


def format_minor(amount_minor: int) -> str:
    """Return an amount of fen as people read it: 3620 becomes `¥36.20`, -5 becomes `-¥0.05`."""
    sign = "-" if amount_minor < 0 else ""
    yuan, fen = divmod(abs(amount_minor), 100)
    return f"{sign}¥{yuan:,}.{fen:02d}"
