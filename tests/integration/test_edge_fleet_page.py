"""What the gateway says of bad units is what a facilities manager reads on the fleet page."""

import re
from datetime import timedelta

import pytest

from backend.fleet import service as fleet
from backend.kit.clock import epoch_ms
from gateway.contract.messages import DeviceHealth, HealthReport
from tests.fakes.web_site import School
from tests.unit.backend.web.conftest import (
    SignedInAs,
    app,
    fresh_database,
    school,
    seeded_folder,
    signed_in_as,
    standing_school,
)

__all__ = ["app", "fresh_database", "school", "seeded_folder", "signed_in_as", "standing_school"]

#: as `tests.integration.test_edge_bad_input` finds them at the gateway
SAID = [
    ("silent", "unit 2: damaged answers, cut short or of another unit; 14 times without an answer", "device_silent"),
    ("silent", "unit 2: more than one answer: two units at this address?; 9 times without an answer", "device_silent"),
    ("mismatch", "has no identity block: Modbus exception 2", "device_unknown"),
    ("silent", "unit 2: no answer within 0.4 s; 3 times without an answer", "device_silent"),
]


@pytest.mark.parametrize(
    ("state", "evidence", "fault"), SAID, ids=["damaged", "two at one address", "exception", "dead"]
)
class TestFleetPage:
    def test_shows_state_evidence_and_fault(
        self, school: School, signed_in_as: SignedInAs, state: str, evidence: str, fault: str
    ) -> None:
        now = school.clock.now + timedelta(seconds=1)  # later than what the school has heard
        device = DeviceHealth(device="dev_o2", state=state, last_answer_at_ms=0, evidence=evidence, faults=[fault])
        with school.db.write() as conn:
            report = HealthReport(gateway="gw_1", at_ms=epoch_ms(now), devices=[device])
            assert fleet.record_health(conn, school.tenant_id, report, now) == ()

        page = signed_in_as("fac", language="en").get("/facilities/devices?q=dev_o2").text

        row = next(row for row in re.findall(r"<tr>.*?</tr>", page, re.DOTALL) if "dev_o2" in row)
        assert evidence.replace("'", "&#39;") in row
        assert {"silent": "Silent", "mismatch": "Mismatch"}[state] in row
        assert {"device_silent": "Device silent", "device_unknown": "Unknown device"}[fault] in row
