"""The same school on PostgreSQL and Mosquitto: page, card, outside brand, gate, and a worker killed mid-shower."""

from collections.abc import Iterator

import pytest

from tests.e2e.journeys.conftest import run_school
from tests.e2e.journeys.school import School, eventually
from tests.standing import PostgresServer

_GATE = "dev_library_1"


@pytest.fixture(scope="module")
def school(tmp_path_factory: pytest.TempPathFactory, postgres_server: PostgresServer) -> Iterator[School]:
    """Yield the running school on an empty PostgreSQL database, migrated at start, and on Mosquitto."""
    with postgres_server.fresh() as url:
        yield from run_school(tmp_path_factory.mktemp("school"), broker_kind="mosquitto", database_url=url)


class TestSchool:
    def test_bills_a_start_and_stop_from_the_page(self, school: School) -> None:
        student = school.fresh()
        before = school.wallet(student)["available_minor"]

        session_id = school.started(student, "dev_b1_101")
        eventually("litres", lambda: school.device("dev_b1_101")["sess_pulses"] > 600)
        school.stop(student, session_id)

        bill = school.settled(student, session_id)
        assert bill["captured_minor"] == bill["charge_minor"] == before - school.wallet(student)["available_minor"] > 0
        assert school.wallet(student)["held_minor"] == 0

    def test_opens_for_a_card(self, school: School) -> None:
        student, outlet = school.fresh(), "dev_b2_101"

        school.do("tap", outlet, uid=school.card(student))

        session = eventually("a session", lambda: school.live(student))
        school.reaches(student, session["water_session_id"], {"flowing"})
        eventually("water", lambda: school.device(outlet)["sess_pulses"] > 300)
        school.stop(student, session["water_session_id"])
        bill = school.settled(student, session["water_session_id"])
        assert bill["captured_minor"] == bill["charge_minor"] > 0

    def test_takes_an_outside_brand(self, school: School) -> None:
        student = school.fresh()
        before = school.wallet(student)

        session_id = school.started(student, "dev_b1_102", method="unionpay")
        school.stop(student, session_id)

        assert school.settled(student, session_id)["method"] == "unionpay"
        assert school.wallet(student) == before

    def test_lets_a_card_through_the_gate(self, school: School) -> None:
        school.do("tap", _GATE, uid=school.card(school.fresh()))
        eventually("the gate is unlocked", lambda: school.device(_GATE)["state"] == "granted_in")
        school.do("pass", _GATE, direction="in")

        eventually(
            "counted", lambda: school.get(f"/passages?device_id={_GATE}", "desk")[0]["outcome"] == "passed"
        )  # fmt: skip

    def test_outlives_its_worker_mid_shower(self, school: School) -> None:
        student, outlet = school.fresh(), "dev_b2_102"
        session_id = school.started(student, outlet)
        eventually("litres", lambda: school.device(outlet)["sess_pulses"] > 600)

        school.stack.parts["worker"].kill()
        school.stop(student, session_id)
        school.restart("worker")

        bill = school.settled(student, session_id)
        assert bill["closing_pulses"] - bill["opening_pulses"] >= 600
        assert not school.valve_open(outlet)
        assert school.wallet(student)["held_minor"] == 0

    def test_agrees_to_the_pulse_and_to_the_fen_afterwards(self, school: School) -> None:
        assert school.report().violations == []
