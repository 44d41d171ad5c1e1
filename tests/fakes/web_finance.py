"""What finance's pages can show: holds, an unknown outcome, cases, entries in every state, a dispute, a statement."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from backend.payments import cases, disputes, staff_entries
from backend.payments import service as payments
from backend.payments.port import Unknown
from backend.statements import service as statements
from backend.water_sessions import disputing
from tests.fakes.web_site import School
from tests.unit.backend.statements.samples import PACKED, ROWS
from tests.unit.backend.statements.writing import DAY

WHY = "窗口现金充值，收据 17 号 (cash at the desk, receipt 17)"


@dataclass(frozen=True)
class Office:
    """The ids of what was made."""

    open_case: str
    closed_case: str
    dispute: str
    proposed: str
    executed: str
    rejected: str

    def paths(self) -> tuple[str, ...]:
        """Return the address of every page of finance."""
        return (
            "/finance",
            "/finance/cases?state=",
            *(f"/finance/cases/{each}" for each in (self.open_case, self.closed_case)),
            "/finance/entries",
            *(f"/finance/entries/new?kind={kind}" for kind in ("cash_top_up", "refund", "manual", "payout")),
            *(f"/finance/entries/{each}" for each in (self.proposed, self.executed, self.rejected)),
            "/finance/disputes",
            f"/finance/disputes/{self.dispute}",
            "/finance/refunds",
            "/finance/statements",
        )


def hold(school: School, name: str, *, age: timedelta, amount_minor: int = 100, login: str = "zhao") -> None:
    """Hold somebody's money since a while."""
    now = school.clock.now
    with school.db.write() as conn:
        payments.open_authorization(
            conn,
            tenant_id=school.tenant_id,
            auth_id=f"auth_{name}",
            water_session_id=f"ws_{name}",
            cardholder_id=school.person(login).cardholder_id,
            method="wallet",
            amount_minor=amount_minor,
            now=now - age,
            expires_at=now + timedelta(days=1),
        )


def open_case(school: School, subject_id: str, kind: str = "amount_differs", amount_minor: int = 130) -> str:
    """Open a case and return its id."""
    evidence = {
        "method": "alipay",
        "said_minor": 630,
        "expected_minor": 500,
        "said_by": "query",
        "order_id": subject_id,
    }
    with school.db.write() as conn:
        return cases.open_case(
            conn,
            tenant_id=school.tenant_id,
            kind=kind,
            subject_id=subject_id,
            amount_minor=amount_minor,
            evidence=evidence,
            now=school.clock.now,
        ).case_id


def propose(school: School, entry_id: str, *, by: str = "fin", login: str = "zhao", amount_minor: int = 2_000) -> str:
    """Propose a cash top-up and return its id."""
    with school.db.write() as conn:
        return staff_entries.propose(
            conn,
            tenant_id=school.tenant_id,
            entry_id=entry_id,
            kind="cash_top_up",
            cardholder_id=school.person(login).cardholder_id,
            amount_minor=amount_minor,
            reason=WHY,
            proposed_by=school.person(by).cardholder_id,
            now=school.clock.now,
        ).entry_id


def dispute(school: School, dispute_id: str, *, login: str = "zhao", device_id: str = "dev_o2") -> disputes.Dispute:
    """Let somebody shower and dispute what it cost."""
    shower = school.shower(login, device_id, 9_000, f"shower-{dispute_id}")
    with school.db.write() as conn:
        return disputing.open_dispute(
            conn,
            tenant_id=school.tenant_id,
            dispute_id=dispute_id,
            water_session_id=shower.water_session_id,
            cardholder_id=school.person(login).cardholder_id,
            reason="too_cold",
            text="水一直是凉的。\nThe water stayed cold.",
            now=school.clock.now,
        )


def furnish(school: School) -> Office:
    """Make one of everything that finance sees, and return what it is called."""
    second = school.person("approver").cardholder_id
    made = dispute(school, "dp_zhao-0001")
    school.providers["alipay"].answer = Unknown("timeout")
    ctx, zhao = school.backend.context, school.person("zhao").cardholder_id
    payments.top_up(ctx.db, ctx.providers, school.tenant_id, zhao, "alipay", 2_000, "top-up-office", ctx.clock)
    school.providers["alipay"].answer = None
    hold(school, "old", age=timedelta(days=9))
    hold(school, "young", age=timedelta(hours=2))
    found, done = open_case(school, "auth_old"), open_case(school, "alipay/2026-11-21/1", "statement_only")
    proposed, executed, rejected = (propose(school, f"en_office-{number}") for number in (1, 2, 3))
    at: dict[str, Any] = {"tenant_id": school.tenant_id, "now": school.clock.now}
    with school.db.write() as conn:
        cases.close_case(conn, case_id=done, closed_by=second, note="渠道已退回 (returned there)", **at)
        staff_entries.approve(conn, entry_id=executed, approved_by=second, **at)
        staff_entries.reject(conn, entry_id=rejected, rejected_by=second, note="没有这张收据 (no such receipt)", **at)
        payments.request_refund(
            conn, refund_id="rf_office", auth_id=made.auth_id, amount_minor=5, reason="staff", **at
        )  # fmt: skip
        data = PACKED["unionpay"](ROWS["unionpay"])
        statements.import_file(conn, method="unionpay", day=DAY, name="INN21112600ZM_777290058110048", data=data, **at)
    return Office(found, done, made.dispute_id, proposed, executed, rejected)
