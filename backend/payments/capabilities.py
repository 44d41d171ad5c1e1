"""What each payment method can do, as data; the policy picks the flow from it."""

from dataclasses import dataclass
from typing import Literal

Flow = Literal["ledger_hold", "provider_hold", "charge_and_refund"]


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a method supports. `hold_days_max` is how long the provider keeps a hold."""

    method: str
    external: bool
    hold: bool
    partial_capture: bool
    void: bool
    charge: bool
    query: bool
    hold_days_max: int

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
            query=False,
            hold_days_max=30,
        ),
        Capabilities(
            method="unionpay",
            external=True,
            hold=True,
            partial_capture=True,
            void=True,
            charge=True,
            query=True,
            hold_days_max=30,
        ),
        Capabilities(
            method="alipay",
            external=True,
            hold=True,
            partial_capture=True,
            void=True,
            charge=True,
            query=True,
            hold_days_max=15,
        ),
    )
}

WALLET = "wallet"
EXTERNAL_METHODS = tuple(row.method for row in MATRIX.values() if row.external)
