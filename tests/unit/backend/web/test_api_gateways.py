"""Gateways enroll over HTTP, staff see them, and whoever showered takes the evidence home."""

import hashlib

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from fastapi import FastAPI
from starlette.testclient import TestClient

from backend.fleet import enrollment
from backend.fleet import service as fleet
from backend.kit.clock import epoch_ms
from backend.outbox import evidence
from backend.outbox import service as outbox
from backend.settlement import receipt_check
from backend.water_sessions.types import WaterSession
from gateway.contract.events import JournalRecord, StopReason, WaterSessionEnded
from gateway.contract.provisioning import EnrollRequest
from gateway.contract.signing import public_text, sign
from tests.fakes.web_site import K_FACTOR, PASSWORD, School
from tests.unit.backend.fleet.test_enrollment import csr

BOX = Ed25519PrivateKey.generate()


@pytest.fixture
def api(app: FastAPI) -> TestClient:
    return TestClient(app, raise_server_exceptions=False)


def _as(api: TestClient, login: str) -> dict[str, str]:
    answer = api.post("/api/v1/sign-in", json={"tenant_id": "gxu", "login": login, "password": PASSWORD})
    return {"authorization": f"Bearer {answer.json()['token']}"}


def _asked(school: School, code: str) -> dict[str, str]:
    asked = EnrollRequest(
        tenant="gxu",
        gateway="gw_1",
        public_key=public_text(BOX.public_key()),
        csr_pem=csr("gxu/gw_1"),
        claim_code=code,
        at_ms=epoch_ms(school.clock.now),
    )
    body: dict[str, str] = msgspec.to_builtins(sign(asked, key=BOX, kid="gw_1"))
    return body


class TestEnroll:
    def test_answers_with_a_certificate_once(self, school: School, api: TestClient) -> None:
        with school.db.write() as conn:
            code = enrollment.claim_code(conn, "gxu", "gw_1", school.clock.now, allows_new_key=True).claim_code

        answer = api.post("/api/v1/gateways/enroll", json=_asked(school, code))
        renewed = api.post("/api/v1/gateways/renew", json=_asked(school, ""))

        assert answer.status_code == renewed.status_code == 200
        assert answer.json()["certificate_pem"].startswith("-----BEGIN CERTIFICATE-----")
        assert renewed.json()["certificate_pem"] != answer.json()["certificate_pem"]

    @pytest.mark.parametrize("code", ["", "0000-0000-0000-0000", "ü" * 100])
    def test_refuses_what_is_no_code(self, school: School, api: TestClient, code: str) -> None:
        refused = api.post("/api/v1/gateways/enroll", json=_asked(school, code))

        assert refused.status_code == 403
        assert refused.json()["code"] == "claim_code_refused"

    @pytest.mark.parametrize("body", [{}, {"kid": "x"}, {"kid": "x", "payload": "{", "signature": "AA=="}, [], "x"])
    def test_refuses_what_is_no_request(self, api: TestClient, body: object) -> None:
        for way in ("enroll", "renew"):
            assert api.post(f"/api/v1/gateways/{way}", json=body).status_code in (403, 422)


class TestGateways:
    def test_are_for_staff(self, api: TestClient) -> None:
        assert api.get("/api/v1/gateways").status_code == 401
        assert api.get("/api/v1/gateways", headers=_as(api, "wang")).status_code == 403

        (row,) = api.get("/api/v1/gateways", headers=_as(api, "admin")).json()

        assert row["gateway_id"] == "gw_1"
        assert row["twin_turns"] == 0


def _signed_ending(school: School, of: WaterSession) -> None:
    """Let the gateway's signed record of the ending come in, as it does beside the settlement."""
    assert of.opening_pulses is not None
    assert of.closing_pulses is not None
    event = WaterSessionEnded(
        event_id="ev_1",
        at_ms=epoch_ms(school.clock.now),
        device=of.device_id,
        water_session_id=of.water_session_id,
        stop_reason=StopReason.USER,
        opening_pulses=of.opening_pulses,
        closing_pulses=of.closing_pulses,
        k_factor_pulses_per_m3=K_FACTOR,
    )
    record = JournalRecord(tenant="gxu", gateway="gw_1", epoch="ep1", sequence=1, previous_sha256="0" * 64, event=event)
    signed = sign(record, key=BOX, kid="gw_1")
    sha256 = hashlib.sha256(signed.payload.encode()).hexdigest()
    now = school.clock.now
    with school.db.write() as conn:
        outbox.accept_record(conn, "gxu", "gw_1", "ep1", 1, sha256, now)
        kept = [
            evidence.keep(conn, record, signed, epoch="ep1", public_key=public_text(BOX.public_key()), now=now)
            for _ in range(2)
        ]
    assert kept == [True, False]


class TestEvidence:
    def test_can_be_taken_home_by_who_showered_and_checked(self, school: School, api: TestClient) -> None:
        done = school.shower("wang", "dev_o1", 9_000, "rq_1")
        _signed_ending(school, done)
        address = f"/api/v1/water-sessions/{done.water_session_id}/evidence"

        mine = api.get(address, headers=_as(api, "wang"))

        assert mine.status_code == 200
        assert "attachment" in mine.headers["content-disposition"]
        keys = api.get("/api/v1/receipt-keys/gxu").json()["keys"]
        found = receipt_check.check([mine.content], trusted=list(keys.values()))
        assert [finding.what for finding in found if not finding.is_good] == []
        assert api.get(address, headers=_as(api, "admin")).content == mine.content
        assert api.get(address).status_code == 401

    def test_of_somebody_else_is_not_there(self, school: School, api: TestClient) -> None:
        done = school.shower("wang", "dev_o1", 9_000, "rq_1")

        other = api.get(f"/api/v1/water-sessions/{done.water_session_id}/evidence", headers=_as(api, "zhao"))

        assert other.status_code == 404

    @pytest.mark.parametrize("query", ["start=-1", "limit=0", "limit=1001", "start=x"])
    def test_refuses_pages_that_are_none(self, school: School, api: TestClient, query: str) -> None:
        refused = api.get(f"/api/v1/water-sessions/ws_1/evidence?{query}", headers=_as(api, "wang"))

        assert refused.status_code == 422

    def test_key_of_an_unknown_school_is_not_there(self, school: School, api: TestClient) -> None:
        assert api.get("/api/v1/receipt-keys/nowhere").status_code == 404
        with school.db.read() as conn:
            assert fleet.gateways(conn, "gxu")
