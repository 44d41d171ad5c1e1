"""What each payment method can do, as data; the policy picks the flow from it."""

from dataclasses import dataclass
from typing import Literal

Flow = Literal["ledger_hold", "provider_hold", "charge_and_refund"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """
    What a method supports.

    `hold_days_max` is how long the provider keeps a hold. `needs_code`: each payment needs a one-time code that the
    payer shows; a standing agreement will not do. `notify`: the provider tells us of changes by itself. `statement`:
    it has a daily file.
    """

    method: str
    external: bool
    hold: bool
    partial_capture: bool
    void: bool
    charge: bool
    refund: bool
    query: bool
    notify: bool
    statement: bool
    hold_days_max: int
    needs_code: bool

    @property
    def flow(self) -> Flow:
        """Return how water is paid for with it: our own hold, the provider's hold, or a deposit with refund."""
        if not self.external:
            return "ledger_hold"
        return "provider_hold" if self.hold and self.partial_capture and self.void else "charge_and_refund"


MATRIX: dict[str, Capabilities] = {
    row.method: row
    for row in (
        Capabilities(
            method="wallet",
            external=False,
            hold=True,
            partial_capture=True,
            void=True,
            charge=False,
            refund=True,
            query=False,
            notify=False,
            statement=False,
            hold_days_max=30,
            needs_code=False,
        ),
        Capabilities(
            method="unionpay",
            external=True,
            hold=True,
            partial_capture=True,
            void=True,
            charge=True,
            refund=True,
            query=True,
            notify=True,
            statement=True,
            hold_days_max=30,
            needs_code=False,
        ),
        Capabilities(
            method="alipay",
            external=True,
            hold=True,
            partial_capture=True,
            void=True,
            charge=True,
            refund=True,
            query=True,
            notify=True,
            statement=True,
            hold_days_max=15,
            needs_code=False,
        ),
        Capabilities(
            method="wechat",
            external=True,
            hold=False,
            partial_capture=False,
            void=True,
            charge=True,
            refund=True,
            query=True,
            notify=True,
            statement=True,
            hold_days_max=0,
            needs_code=True,
        ),
    )
}

WALLET = "wallet"
EXTERNAL_METHODS = tuple(row.method for row in MATRIX.values() if row.external)
