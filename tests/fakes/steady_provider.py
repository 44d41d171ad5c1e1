"""A payment provider for tests that are about something else: it says what it is told to say."""

from collections.abc import Mapping
from datetime import date

from backend.payments.port import (
    NOT_FOUND,
    Answer,
    Declined,
    Notification,
    NotificationRefused,
    Order,
    Payer,
    Step,
    Succeeded,
)


class SteadyProvider:
    """A provider whose answer to new orders is set by the test: None agrees to everything."""

    def __init__(self, method: str) -> None:
        self.method = method
        self.answer: Answer | None = None
        self.calls: list[tuple[str, str]] = []
        self.payers: list[Payer] = []
        self.known_as = ""

    def authorize(self, order: Order, payer: Payer) -> Answer:
        """Give the answer that was set."""
        self.calls.append(("authorize", order.order_id))
        self.payers.append(payer)
        return self._filled("held", order.amount_minor)

    def _filled(self, status: str, amount_minor: int) -> Answer:
        if self.answer is None or isinstance(self.answer, Succeeded):
            return Succeeded(status, amount_minor)
        return self.answer

    def charge(self, order: Order, payer: Payer) -> Answer:
        """Give the answer that was set."""
        self.calls.append(("charge", order.order_id))
        self.payers.append(payer)
        return self._filled("charged", order.amount_minor)

    def capture(self, order: Order, step: Step) -> Answer:
        """Take the money."""
        self.calls.append(("capture", order.order_id))
        return Succeeded("captured", step.amount_minor)

    def void(self, order: Order, step: Step) -> Answer:
        """Release the money."""
        self.calls.append(("void", order.order_id))
        return Succeeded("voided", step.amount_minor)

    def refund(self, order: Order, step: Step) -> Answer:
        """Give the money back."""
        self.calls.append(("refund", order.order_id))
        return Succeeded("refunded", step.amount_minor)

    def query(self, order: Order) -> Answer:
        """Give the answer that was set."""
        return self._filled("held" if order.kind == "hold" else "charged", order.amount_minor)

    def query_step(self, order: Order, step: Step) -> Answer:
        """Say that the step never came."""
        return Declined(NOT_FOUND)

    def read_notification(self, tenant_id: str, headers: Mapping[str, str], body: bytes) -> Notification:
        """Believe nothing."""
        raise NotificationRefused("signature")

    def acknowledgement(self, *, accepted: bool) -> tuple[int, str, bytes]:
        """Say whether it was believed."""
        return (200, "text/plain", b"ok") if accepted else (400, "text/plain", b"fail")

    def merchant_no(self, tenant_id: str) -> str:
        """Know every school by the number that was set."""
        return self.known_as

    def statement(self, tenant_id: str, day: date) -> tuple[str, bytes] | None:
        """Have no file."""
        return None
