"""What a student's money pages can show: purses, top-ups in every state, bills, refunds, disputes and answers."""

from dataclasses import dataclass
from datetime import timedelta

from backend.payments import disputes, staff_entries
from backend.payments import service as payments
from backend.payments.port import Declined, Unknown
from backend.payments.service import TopUp
from backend.water_sessions import disputing
from backend.water_sessions.types import WaterSession
from tests.fakes.web_site import School

LONG_TEXT = (
    "水一直是凉的，等了三分钟也没有热，后来我就关了。\nThe water stayed cold for three minutes, so I closed the tap. "
    * 2
)


@dataclass(frozen=True)
class MoneyScene:
    """The addresses of what was made."""

    checking: str
    reported: str
    succeeded: str
    declined: str
    plain_bill: str
    refunded_bill: str
    disputed_bill: str
    rejected_bill: str

    def kinds(self) -> tuple[str, ...]:
        """Return the address of one money page of each kind and state."""
        return (
            f"/wallet?topup={self.checking}",
            "/wallet/purses/wallet",
            *(f"/wallet/top-ups/{each}" for each in (self.checking, self.reported, self.declined)),
            *(f"/history/{each}" for each in (self.plain_bill, self.refunded_bill)),
            *(f"/history/{each}/dispute" for each in (self.disputed_bill, self.rejected_bill)),
            "/disputes",
            "/leave",
        )

    def paths(self) -> tuple[str, ...]:
        """Return the address of every money page of the student."""
        top_ups = (self.checking, self.reported, self.succeeded, self.declined)
        bills = (self.plain_bill, self.refunded_bill, self.disputed_bill, self.rejected_bill)
        return (
            "/wallet",
            f"/wallet?topup={self.checking}",
            f"/wallet?topup={self.declined}",
            *(f"/wallet/purses/{purse}" for purse in ("subsidy", "voucher", "wallet")),
            *(f"/wallet/top-ups/{each}" for each in top_ups),
            *(f"/history/{each}" for each in bills),
            *(f"/history/{each}/dispute" for each in bills),
            "/disputes",
            "/leave",
        )


def give(school: School, purse: str, amount_minor: int, login: str = "wang") -> None:
    """Put the school's money into somebody's purse."""
    with school.db.write() as conn:
        payments.credit_wallet(
            conn,
            tenant_id=school.tenant_id,
            cardholder_id=school.person(login).cardholder_id,
            amount_minor=amount_minor,
            transfer_id=f"tr_{purse}_{login}_{amount_minor}",
            now=school.clock.now,
            memo="opening balance",
            purse=purse,
        )


def top_up(school: School, request_id: str, *, login: str = "wang", amount_minor: int = 2_000) -> TopUp:
    """Top somebody's wallet up through UnionPay, which answers as it was told to."""
    ctx = school.backend.context
    person = school.person(login).cardholder_id
    return payments.top_up(
        ctx.db, ctx.providers, school.tenant_id, person, "unionpay", amount_minor, request_id, ctx.clock
    )


def unanswered_top_up(school: School, request_id: str, *, login: str = "wang", amount_minor: int = 2_000) -> TopUp:
    """Top somebody's wallet up while UnionPay says nothing, now and later."""
    school.providers["unionpay"].answer = Unknown("timeout")
    return top_up(school, request_id, login=login, amount_minor=amount_minor)


def dispute(school: School, session: WaterSession, reason: str = "too_cold", text: str = LONG_TEXT) -> str:
    """Dispute a bill as the one who showered and return the dispute's id."""
    with school.db.write() as conn:
        return disputing.open_dispute(
            conn,
            tenant_id=school.tenant_id,
            dispute_id=f"dp_of_{session.water_session_id}",
            water_session_id=session.water_session_id,
            cardholder_id=session.cardholder_id,
            reason=reason,
            text=text.strip(),
            now=school.clock.now,
        ).dispute_id


def decide(school: School, dispute_id: str, upheld_minor: int, answer: str) -> disputes.Dispute:
    """Let finance decide a dispute and a second person approve what is given back."""
    with school.db.write() as conn:
        decided = disputing.decide_dispute(
            conn,
            tenant_id=school.tenant_id,
            dispute_id=dispute_id,
            upheld_minor=upheld_minor,
            answer=answer,
            decided_by=school.person("fin").cardholder_id,
            entry_id=f"en_{dispute_id}"[:40],
            now=school.clock.now,
        )
        if upheld_minor:
            staff_entries.approve(
                conn,
                tenant_id=school.tenant_id,
                entry_id=decided.entry_id,
                approved_by=school.person("approver").cardholder_id,
                now=school.clock.now,
            )
        return disputing.dispute(conn, school.tenant_id, dispute_id)


def money_scene(school: School) -> MoneyScene:
    """Make everything there is to see of one student's money, and leave UnionPay without an answer."""
    give(school, "subsidy", 20)
    give(school, "voucher", 30)
    refunded = school.shower("wang", "dev_o1", 9_000, "rq_refunded")
    decide(school, dispute(school, refunded), 30, "阀门记录显示水温只有 28°，已退还一部分。 Partly given back.")
    rejected = school.shower("wang", "dev_o2", 12_000, "rq_rejected")
    decide(
        school, dispute(school, rejected, "wrong_amount", ""), 0, "水表读数与账单一致。 The meter agrees with the bill."
    )
    disputed = school.shower("wang", "dev_o3", 15_000, "rq_disputed")
    dispute(school, disputed, "not_me")
    plain = school.shower("wang", "dev_o1", 21_000, "rq_plain")
    provider = school.providers["unionpay"]
    succeeded = top_up(school, "scene-succeeded")
    provider.answer = Declined("no_funds")
    declined = top_up(school, "scene-declined", amount_minor=5_000)
    reported = unanswered_top_up(school, "scene-reported", amount_minor=10_000)
    school.clock.now += timedelta(minutes=12)
    ctx = school.backend.context
    payments.ask_now(ctx.db, ctx.providers, school.tenant_id, reported.top_up_id, clock=ctx.clock)
    with school.db.write() as conn:
        payments.report_missing(conn, school.tenant_id, reported.top_up_id, school.clock.now)
    checking = unanswered_top_up(school, "scene-checking")
    school.report_health()
    return MoneyScene(
        checking=checking.top_up_id,
        reported=reported.top_up_id,
        succeeded=succeeded.top_up_id,
        declined=declined.top_up_id,
        plain_bill=plain.water_session_id,
        refunded_bill=refunded.water_session_id,
        disputed_bill=disputed.water_session_id,
        rejected_bill=rejected.water_session_id,
    )
