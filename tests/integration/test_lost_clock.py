"""A controller whose clock forgot the time, without having restarted, is told the time and serves the next shower."""

from gateway.contract.events import ValveOpened
from tests.fakes.gateway_backend import FakeBackend
from tests.fakes.gateway_site import GatewaySite, wait_until
from tests.integration.test_gateway_sessions import backend, opening, site

__all__ = ["backend", "site"]  # fixtures


class TestLostClock:
    def test_is_set_again_and_the_next_shower_opens(self, site: GatewaySite, backend: FakeBackend) -> None:
        boots = site.state("dev_o1")["boot_id"]

        site.do(do="clock", device="dev_o1", lose=True)

        wait_until(lambda: "clock_unset" not in site.state("dev_o1")["faults"], why="for the clock to be set")
        backend.command("dev_o1", opening("ws_1"))
        backend.wait_for_event(ValveOpened, water_session_id="ws_1")
        assert site.state("dev_o1")["boot_id"] == boots
