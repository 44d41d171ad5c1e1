"""The API of money that people move: roles, schools apart, refusals in both languages, and each path once around."""

from datetime import timedelta
from typing import Any

import pytest
from fastapi import FastAPI
from httpx import Response
from starlette.testclient import TestClient

from backend.cardholders import service as cardholders
from backend.payments import cases
from tests.fakes.web_site import PASSWORD, School, add_foreign_school

WHY = "the counter's receipt 17"
STAFF: dict[tuple[str, str], dict[str, Any]] = {
    ("GET", "cases"): {},
    ("GET", "entries"): {},
    ("GET", "disputes"): {},
    ("GET", "refunds"): {},
    ("GET", "holds"): {},
    ("GET", "unknowns"): {},
    ("GET", "payouts"): {},
    ("GET", "leavers/ch_wang/obstacles"): {},
    ("POST", "cases/case_1/close"): {"note": "looked into it"},
    ("POST", "cases/case_1/ask-again"): {},
    ("POST", "entries"): {
        "request_id": "request-0001",
        "kind": "cash_top_up",
        "cardholder_id": "ch_wang",
        "amount_minor": 100,
        "reason": WHY,
    },
    ("POST", "entries/en_1/approve"): {},
    ("POST", "entries/en_1/reject"): {"note": "there is no such receipt"},
    ("POST", "disputes/dp_1/decide"): {"request_id": "request-0001", "upheld_minor": 0, "answer": "the meter is right"},
    ("POST", "payouts"): {
        "request_id": "request-0001",
        "cardholder_id": "ch_wang",
        "channel": "cash",
        "reason": "leaves in June",
    },
    ("POST", "payouts/po_1/propose-again"): {
        "request_id": "request-0001",
        "channel": "cash",
        "reason": "leaves in June",
    },
}
PROPOSES = {
    ("POST", "entries"),
    ("POST", "disputes/dp_1/decide"),
    ("POST", "payouts"),
    ("POST", "payouts/po_1/propose-again"),
}


class Api:
    """Calls the API as people of a school."""

    def __init__(self, app: FastAPI, school: School) -> None:
        self.client = TestClient(app, raise_server_exceptions=False)
        self.school = school
        self._tokens: dict[str, dict[str, str]] = {}

    def headers(self, login: str) -> dict[str, str]:
        """Return what a person sends; `x:login` is somebody of the other school, and an empty login nobody."""
        if login and login not in self._tokens:
            tenant_id, _, name = login.rpartition(":")
            body = {"tenant_id": tenant_id or "gxu", "login": name, "password": PASSWORD}
            token = self.client.post("/api/v1/sign-in", json=body).json()["token"]
            self._tokens[login] = {"authorization": f"Bearer {token}"}
        return self._tokens.get(login, {})

    def get(self, login: str, path: str, **query: Any) -> Any:
        """Return an answer that must be fine."""
        answer = self.client.get(f"/api/v1/{path}", params=query, headers=self.headers(login))
        assert answer.status_code == 200, answer.text
        return answer.json()

    def send(self, login: str, path: str, **body: Any) -> Response:
        """Post a body."""
        answer: Response = self.client.post(f"/api/v1/{path}", json=body, headers=self.headers(login))
        return answer

    def post(self, login: str, path: str, **body: Any) -> Any:
        """Return the answer to a body that must be fine."""
        answer = self.send(login, path, **body)
        assert answer.status_code in (200, 201), answer.text
        return answer.json()


@pytest.fixture
def api(app: FastAPI, school: School) -> Api:
    return Api(app, school)


@pytest.fixture
def two_schools(api: Api) -> Api:
    """Return the API with a finance and an approver of another school."""
    add_foreign_school(api.school)
    with api.school.db.write() as conn:
        for login, role in (("fin", "finance"), ("approver", "approver"), ("wang", "student")):
            person = cardholders.Cardholder(
                "other", f"ox_{login}", login, login, login, "staff", "active", frozenset({role})
            )
            cardholders.add_cardholder(conn, person, PASSWORD, api.school.clock.now)
    return api


def _top_up(api: Api, request_id: str = "request-0001", **changed: Any) -> Response:
    return api.send("fin", "money/entries", **{**STAFF["POST", "entries"], "request_id": request_id, **changed})


def _disputed(api: Api, login: str = "wang", request_id: str = "dispute-0001") -> Any:
    shower = api.school.shower(login, "dev_o1", 9_000, f"shower-{request_id}")
    assert shower.captured_minor
    body = {"water_session_id": shower.water_session_id, "reason": "too_cold", "text": "ice"}
    return api.post(login, "me/disputes", request_id=request_id, **body)


class TestRoles:
    @pytest.mark.parametrize("login", ["wang", "fac", "desk"])
    def test_keep_money_from_everybody_else(self, api: Api, login: str) -> None:
        for (verb, path), body in STAFF.items():
            refused = api.client.request(verb, f"/api/v1/money/{path}", json=body or None, headers=api.headers(login))

            assert (refused.status_code, refused.json()["code"]) == (403, "role_missing"), path

    def test_let_the_approver_propose_nothing(self, api: Api) -> None:
        for verb, path in PROPOSES:
            refused = api.send("approver", f"money/{path}", **STAFF[verb, path])

            assert (refused.status_code, refused.json()["code"]) == (403, "role_missing"), path

    def test_let_the_administrator_look_and_write_nothing(self, api: Api) -> None:
        for (verb, path), body in STAFF.items():
            if verb == "GET":
                api.get("admin", f"money/{path}")
            else:
                refused = api.send("admin", f"money/{path}", **body)
                assert (refused.status_code, refused.json()["code"]) == (403, "role_missing"), path

    def test_need_a_sign_in(self, api: Api) -> None:
        paths = [*((verb, f"money/{path}") for verb, path in STAFF), ("GET", "me/purses"), ("GET", "me/disputes")]
        for verb, path in paths:
            refused = api.client.request(verb, f"/api/v1/{path}", json={} if verb == "POST" else None)

            assert (refused.status_code, refused.json()["code"]) == (401, "sign_in_missing"), path


class TestSchools:
    def test_know_nothing_of_each_other(self, two_schools: Api) -> None:
        api = two_schools
        entry = _top_up(api).json()
        dispute = _disputed(api)
        with api.school.db.write() as conn:
            about = cases.open_case(
                conn,
                tenant_id="gxu",
                kind="overcharged",
                subject_id="ws_1",
                amount_minor=5,
                evidence={},
                now=api.school.clock.now,
            )

        for path in ("cases", "entries", "disputes", "payouts"):
            assert api.get("other:fin", f"money/{path}")["items"] == []
            assert api.get("other:fin", f"money/{path}", after=entry["entry_id"])["items"] == []
        for path in ("refunds", "holds", "unknowns"):
            assert api.get("other:fin", f"money/{path}") == []
        for login, path, body in (
            ("other:approver", f"entries/{entry['entry_id']}/approve", {}),
            ("other:approver", f"entries/{entry['entry_id']}/reject", {"note": "there is no such receipt"}),
            ("other:fin", f"cases/{about.case_id}/close", {"note": "looked into it"}),
            ("other:fin", f"disputes/{dispute['dispute_id']}/decide", STAFF["POST", "disputes/dp_1/decide"]),
            ("other:fin", "payouts", STAFF["POST", "payouts"]),
            ("other:fin", "entries", STAFF["POST", "entries"]),
        ):
            refused = api.send(login, f"money/{path}", **body)
            assert refused.status_code == 404, (path, refused.text)
        refused = api.send(
            "other:wang",
            "me/disputes",
            request_id="dispute-0002",
            water_session_id=dispute["water_session_id"],
            reason="other",
        )
        assert refused.status_code == 404
        manual = {"kind": "manual", "debit_account_id": "cash", "credit_account_id": "cardholder_wallet/ch_wang"}
        refused = api.send("other:fin", "money/entries", request_id="request-9", amount_minor=5, reason=WHY, **manual)
        assert refused.json()["code"] == "entry_account_refused"
        assert api.get("fin", "money/entries")["items"][0]["state"] == "proposed"


class TestProblems:
    def test_say_it_in_both_languages_with_a_request_id(self, api: Api) -> None:
        refused = _top_up(api, reason="why not")

        assert refused.status_code == 422
        assert set(refused.json()) >= {"code", "message_zh", "message_en", "details"}
        assert refused.json()["code"] == "reason_too_short"
        assert refused.headers["x-request-id"]

    @pytest.mark.parametrize(
        "changed",
        [
            {"amount_minor": 10.5},
            {"amount_minor": "100"},
            {"amount_minor": 0},
            {"amount_minor": 10**11},
            {"kind": "payout"},
            {"kind": "gift"},
            {"request_id": "short"},
            {"request_id": "x" * 49},
            {"request_id": "no spaces please"},
            {"reason": "x" * 601},
            {"subject_id": "x" * 65},
        ],
    )
    def test_refuse_bodies_that_are_not_well_formed(self, api: Api, changed: dict[str, Any]) -> None:
        refused = _top_up(api, **changed)

        assert (refused.status_code, refused.json()["code"]) == (422, "form_incomplete")
        assert api.get("fin", "money/entries")["items"] == []

    @pytest.mark.parametrize("query", [{"limit": 0}, {"limit": 201}, {"state": "any"}, {"after": "x" * 81}])
    def test_refuse_queries_that_are_not_well_formed(self, api: Api, query: dict[str, Any]) -> None:
        answer = api.client.get("/api/v1/money/entries", params=query, headers=api.headers("fin"))

        assert answer.status_code == 422

    def test_are_in_the_description_of_the_interface(self, api: Api) -> None:
        described = api.client.get("/api/v1/openapi.json").json()

        own = {path: verbs for path, verbs in described["paths"].items() if "/money/" in path}
        assert len(own) == 14
        for path, verbs in own.items():
            for verb, said in verbs.items():
                assert said["summary"], (path, verb)
                assert {"401", "403", "404", "409"} <= set(said["responses"])
                assert "schema" in next(iter(said["responses"].values()))["content"]["application/json"]


class TestPurses:
    def test_are_the_persons_with_what_is_their_own(self, api: Api) -> None:
        seen = api.get("wang", "me/purses")

        assert {each["purse"]: (each["available_minor"], each["own_minor"]) for each in seen["purses"]} == {
            "subsidy": (0, 0),
            "voucher": (0, 0),
            "wallet": (3_620, 3_620),
        }
        assert {"from_purse": "wallet", "to_purse": "voucher", "share": "any"} in seen["transfers"]

    def test_give_to_each_other_once_per_request(self, api: Api) -> None:
        body = {"request_id": "request-0001", "from_purse": "wallet", "to_purse": "voucher", "amount_minor": 500}
        first = api.post("wang", "me/purse-transfers", **body)

        assert api.post("wang", "me/purse-transfers", **body) == first
        assert api.send("zhao", "me/purse-transfers", **body).json()["code"] == "transfer_differs"
        refused = api.send(
            "wang", "me/purse-transfers", **{**body, "request_id": "request-0002", "amount_minor": 3_121}
        )
        assert (refused.status_code, refused.json()["details"]["available_minor"]) == (402, 3_120)
        assert api.get("wang", "me/purse-transfers")["items"] == [first]
        assert api.get("zhao", "me/purse-transfers")["items"] == []


class TestEntries:
    def test_move_money_by_two_people_once(self, api: Api) -> None:
        proposed = _top_up(api)
        entry_id = proposed.json()["entry_id"]

        assert (proposed.status_code, proposed.json()["state"]) == (201, "proposed")
        assert _top_up(api).json() == proposed.json()
        assert _top_up(api, amount_minor=101).json()["code"] == "entry_differs"
        own = api.send("fin", f"money/entries/{entry_id}/approve")
        assert (own.status_code, own.json()["code"]) == (403, "same_person")
        done = api.post("approver", f"money/entries/{entry_id}/approve", note="seen the receipt")
        assert api.post("approver", f"money/entries/{entry_id}/approve") == done
        assert (done["state"], done["note"]) == ("executed", "seen the receipt")
        assert api.get("wang", "wallet")["posted_minor"] == 3_720

    def test_are_rejected_with_words(self, api: Api) -> None:
        entry_id = _top_up(api).json()["entry_id"]

        assert api.send("approver", f"money/entries/{entry_id}/reject", note="no").json()["code"] == "reason_too_short"
        refused = api.post("approver", f"money/entries/{entry_id}/reject", note="there is no such receipt")

        assert refused["state"] == "rejected"
        again = api.send("approver", f"money/entries/{entry_id}/approve")
        assert (again.status_code, again.json()["code"]) == (409, "entry_not_open")
        assert api.get("wang", "wallet")["posted_minor"] == 3_620

    def test_come_in_pages(self, api: Api) -> None:
        for number in range(5):
            _top_up(api, f"request-{number:04}")

        seen, after = [], ""
        while True:
            page = api.get("fin", "money/entries", limit=2, after=after, state="proposed")
            seen += [each["entry_id"] for each in page["items"]]
            after = page["next"]
            if after is None:
                break

        assert seen == [f"en_request-{number:04}" for number in range(4, -1, -1)]


class TestDisputes:
    def test_end_in_a_refund_that_everybody_sees(self, api: Api) -> None:
        opened = _disputed(api)
        dispute_id, before = opened["dispute_id"], api.get("wang", "wallet")["posted_minor"]
        (about,) = api.get("fin", "money/cases", state="open", kind="dispute")["items"]
        body = {"request_id": "decision-0001", "answer": "the heater was off"}

        decided = api.post("fin", f"money/disputes/{dispute_id}/decide", upheld_minor=about["amount_minor"], **body)
        done = api.post("approver", f"money/entries/{decided['entry_id']}/approve")

        assert (opened["state"], decided["state"], done["state"]) == ("open", "upheld", "executed")
        (mine,) = api.get("wang", "me/disputes")["items"]
        assert (mine["state"], mine["answer"], mine["amount_minor"]) == (
            "refunded",
            "the heater was off",
            about["amount_minor"],
        )
        assert "decided_by" not in mine
        assert api.get("wang", "wallet")["posted_minor"] == before + about["amount_minor"]
        (given,) = api.get("wang", "me/refunds")
        assert (given["amount_minor"], given["state"]) == (about["amount_minor"], "done")
        assert api.get("fin", "money/refunds", cardholder_id="ch_wang") == [given]
        assert api.get("zhao", "me/refunds") == api.get("zhao", "me/disputes")["items"] == []
        assert api.get("fin", "money/cases", state="open")["items"] == []

    def test_are_only_about_ones_own_showers(self, api: Api) -> None:
        opened = _disputed(api)
        body = {"request_id": "dispute-0002", "water_session_id": opened["water_session_id"], "reason": "other"}

        refused = api.send("zhao", "me/disputes", **body)

        assert (refused.status_code, refused.json()["code"]) == (404, "water_session_unknown")
        assert api.send("wang", "me/disputes", **body).json()["code"] == "dispute_open"
        assert api.send("wang", "me/disputes", **{**body, "reason": "bored"}).json()["code"] == "dispute_reason_refused"

    def test_are_rejected_with_an_answer(self, api: Api) -> None:
        dispute_id = _disputed(api)["dispute_id"]

        api.post("fin", f"money/disputes/{dispute_id}/decide", **STAFF["POST", "disputes/dp_1/decide"])

        (mine,) = api.get("wang", "me/disputes")["items"]
        assert (mine["state"], mine["answer"]) == ("rejected", "the meter is right")
        assert api.get("fin", "money/disputes", state="rejected")["items"][0]["decided_by"] == "ch_fin"


class TestCases:
    def test_are_closed_with_words(self, api: Api) -> None:
        with api.school.db.write() as conn:
            about = cases.open_case(
                conn,
                tenant_id="gxu",
                kind="overcharged",
                subject_id="ws_1",
                amount_minor=5,
                evidence={"pulses": 3},
                now=api.school.clock.now,
            )

        assert api.send("fin", f"money/cases/{about.case_id}/close").json()["code"] == "note_too_short"
        closed = api.post("fin", f"money/cases/{about.case_id}/close", note="gave it back by hand")

        assert (closed["state"], closed["closed_by"], closed["evidence"]) == ("closed", "ch_fin", {"pulses": 3})
        assert api.get("approver", "money/cases", state="closed")["items"] == [closed]


class TestHolds:
    def test_are_listed_with_their_age(self, api: Api) -> None:
        body = {"request_id": "request-0001", "device_id": "dev_o1"}
        started = api.post("wang", "water-sessions", **body)
        api.school.clock.now += timedelta(seconds=90)

        (held,) = api.get("fin", "money/holds")

        assert (held["water_session_id"], held["age_s"]) == (started["water_session_id"], 90)
        assert held["amount_minor"] == started["hold_minor"]
        assert api.get("fin", "money/unknowns") == []
        assert api.get("fin", "money/leavers/ch_wang/obstacles") == [
            {"kind": "session_open", "subject_id": started["water_session_id"]}
        ]
        refused = api.send("fin", "money/payouts", **STAFF["POST", "payouts"])
        assert (refused.status_code, refused.json()["code"]) == (409, "payout_blocked")


class TestPayouts:
    def test_pay_the_whole_rest_by_two_people(self, api: Api) -> None:
        assert api.get("fin", "money/leavers/ch_wang/obstacles") == []
        token = api.headers("wang")

        waiting = api.post("fin", "money/payouts", **STAFF["POST", "payouts"])
        entry_id = waiting["entry_id"]
        api.post("approver", f"money/entries/{entry_id}/reject", note="pay it to the bank instead")
        again = api.post(
            "fin",
            f"money/payouts/{waiting['payout_id']}/propose-again",
            request_id="again-0001",
            channel="bank",
            destination="bank 6222 0001",
            reason="as they asked for",
        )
        api.post("approver", f"money/entries/{again['entry_id']}/approve")

        (paid,) = api.get("fin", "money/payouts", state="paid")["items"]
        assert (paid["amount_minor"], paid["channel"], paid["destination"]) == (3_620, "bank", "bank 6222 0001")
        refused = api.client.get("/api/v1/wallet", headers=token)
        assert (refused.status_code, refused.json()["code"]) == (401, "sign_in_expired")

    def test_are_of_people_there_are(self, api: Api) -> None:
        answer = api.client.get("/api/v1/money/leavers/ch_nobody/obstacles", headers=api.headers("fin"))

        assert (answer.status_code, answer.json()["code"]) == (404, "cardholder_unknown")
