"""Gateways say what they know; old news changes nothing."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from backend.db import Database
from backend.fleet import service, stickers
from backend.fleet.rules import opening_obstacle
from backend.fleet.service import DeviceUnknown, GatewayUnknown, OutletUnknown, PlaceUnknown
from backend.kit.clock import epoch_ms
from gateway.contract.events import FaultCleared, FaultRaised
from gateway.contract.faults import FaultCode
from tests.factories import NOW
from tests.unit.backend.fleet.helpers import TENANT, add_campus, hello, outlet, report

LATER = NOW + timedelta(seconds=5)


class TestDeviceBySticker:
    def test_finds_the_outlet(self, database: Database) -> None:
        with database.write() as conn:
            added = add_campus(conn)

            assert service.device_by_sticker(conn, added.sticker_token) == added

    def test_answers_alike_to_malformed_unknown_and_doors(self, database: Database) -> None:
        with database.write() as conn:
            add_campus(conn)
            door = service.add_device(conn, outlet("dev_gate", place_id="pl_gate", kind="door"))
            answers = []
            for token in ("", "' OR 1=1", stickers.new_token(), door.sticker_token):
                with pytest.raises(OutletUnknown) as refused:
                    service.device_by_sticker(conn, token)
                answers.append((str(refused.value), refused.value.details))

        assert len({str(answer) for answer in answers}) == 1


class TestDevice:
    def test_is_unknown_to_another_tenant(self, database: Database) -> None:
        with database.write() as conn:
            add_campus(conn)

            with pytest.raises(DeviceUnknown):
                service.device(conn, "other", "dev_1")


class TestAddDevice:
    def test_keeps_sticker_and_health_when_added_again(self, database: Database) -> None:
        with database.write() as conn:
            first = add_campus(conn)
            service.record_health(conn, TENANT, report(), NOW)
            again = service.add_device(conn, outlet())

        assert again.sticker_token == first.sticker_token
        assert again.register_pulses == 42


class TestPlacePath:
    def test_starts_at_the_root(self, database: Database) -> None:
        with database.write() as conn:
            add_campus(conn)
            path = service.place_path(conn, TENANT, "pl_o1")

        assert [place.place_id for place in path] == ["pl_c", "pl_b1", "pl_b1_f1", "pl_o1"]

    def test_refuses_an_unknown_place(self, database: Database) -> None:
        with database.read() as conn, pytest.raises(PlaceUnknown):
            service.place_path(conn, TENANT, "pl_nowhere")


class TestNextCommandSequence:
    def test_counts_up_per_device_across_threads(self, database: Database) -> None:
        def take(device_id: str) -> int:
            with database.write() as conn:
                return service.next_command_sequence(conn, TENANT, device_id)

        with ThreadPoolExecutor(4) as pool:
            taken = list(pool.map(take, ["dev_1", "dev_2"] * 20))

        assert sorted(taken[::2]) == sorted(taken[1::2]) == list(range(1, 21))


class TestRecordHello:
    def test_connects_and_tells_software(self, database: Database) -> None:
        with database.write() as conn:
            add_campus(conn)
            service.record_hello(conn, TENANT, hello(software="2.0"), NOW)
            gateway = service.gateway(conn, TENANT, "gw_1")

        assert (gateway.connected, gateway.software, gateway.journal_epoch, gateway.last_seen_at) == (
            True,
            "2.0",
            "ep_1",
            NOW,
        )

    def test_ignores_one_that_is_older_than_the_last(self, database: Database) -> None:
        with database.write() as conn:
            add_campus(conn)
            service.record_hello(conn, TENANT, hello(software="2.0"), NOW)
            service.record_hello(conn, TENANT, hello(software="1.0", at_ms=epoch_ms(NOW) - 1), LATER)

            assert service.gateway(conn, TENANT, "gw_1").software == "2.0"

    def test_refuses_an_unknown_gateway(self, database: Database) -> None:
        with database.write() as conn, pytest.raises(GatewayUnknown):
            service.record_hello(conn, "other", hello(), NOW)


class TestRecordGone:
    def test_disconnects(self, database: Database) -> None:
        with database.write() as conn:
            add_campus(conn)
            service.record_hello(conn, TENANT, hello(), NOW)
            service.record_gone(conn, TENANT, "gw_1", LATER)

            assert not service.gateway(conn, TENANT, "gw_1").connected

    def test_ignores_the_will_of_a_previous_connection(self, database: Database) -> None:
        with database.write() as conn:
            add_campus(conn)
            service.record_hello(conn, TENANT, hello(), LATER)
            service.record_gone(conn, TENANT, "gw_1", NOW)

            assert service.gateway(conn, TENANT, "gw_1").connected


class TestRecordHealth:
    def test_keeps_what_was_said_with_its_age(self, database: Database) -> None:
        with database.write() as conn:
            add_campus(conn)
            strangers = service.record_health(conn, TENANT, report(faults=["tamper"]), LATER)
            device = service.device(conn, TENANT, "dev_1")

        assert strangers == ()
        assert (device.state, device.faults, device.evidence) == ("online", ("tamper",), "flags read")
        assert (device.last_answer_at, device.health_received_at) == (NOW, LATER)

    def test_ignores_a_report_that_comes_late(self, database: Database) -> None:
        with database.write() as conn:
            add_campus(conn)
            service.record_health(conn, TENANT, report(state="silent"), NOW)
            service.record_health(conn, TENANT, report(at_ms=epoch_ms(NOW) - 1), LATER)

            assert service.device(conn, TENANT, "dev_1").state == "silent"

    def test_believes_a_gateway_whose_clock_was_set_back(self, database: Database) -> None:
        with database.write() as conn:
            add_campus(conn)
            an_hour_ahead = epoch_ms(NOW) + 3_600_000
            service.record_health(conn, TENANT, report(state="silent", at_ms=an_hour_ahead), NOW)
            service.record_health(conn, TENANT, report(at_ms=epoch_ms(LATER)), LATER)

            assert service.device(conn, TENANT, "dev_1").state == "online"

    def test_tells_devices_that_are_not_the_gateways_own(self, database: Database) -> None:
        with database.write() as conn:
            add_campus(conn)
            service.add_device(conn, outlet("dev_far", gateway_id="gw_2", place_id="pl_o2"))

            assert service.record_health(conn, TENANT, report(device="dev_far"), NOW) == ("dev_far",)
            assert service.device(conn, TENANT, "dev_far").state == "unknown"


def raised(event_id: str = "ev_1", at_ms: int | None = None) -> FaultRaised:
    """Return a tamper fault at the outlet."""
    at_ms = epoch_ms(NOW) if at_ms is None else at_ms
    return FaultRaised(event_id=event_id, at_ms=at_ms, fault=FaultCode.TAMPER, device="dev_1", detail="lid")


def cleared(at_ms: int) -> FaultCleared:
    """Return the end of that fault."""
    return FaultCleared(event_id="ev_c", at_ms=at_ms, fault=FaultCode.TAMPER, device="dev_1")


class TestRaiseFault:
    def test_opens_once_and_blocks_the_outlet(self, database: Database) -> None:
        with database.write() as conn:
            add_campus(conn)
            service.record_hello(conn, TENANT, hello(), NOW)
            service.record_health(conn, TENANT, report(), NOW)
            for _ in range(2):
                service.raise_fault(conn, TENANT, "gw_1", raised(), NOW)
            device, gateway = service.device(conn, TENANT, "dev_1"), service.gateway(conn, TENANT, "gw_1")

            assert [(fault.fault, fault.detail) for fault in service.open_faults(conn, TENANT)] == [("tamper", "lid")]
            assert opening_obstacle(device, gateway, LATER) == "outlet_faulty"

    def test_stays_closed_when_the_clearing_came_first(self, database: Database) -> None:
        with database.write() as conn:
            add_campus(conn)
            service.clear_fault(conn, TENANT, "gw_1", cleared(epoch_ms(LATER)), LATER)
            service.raise_fault(conn, TENANT, "gw_1", raised(), LATER)

            assert service.open_faults(conn, TENANT) == []
            assert service.device(conn, TENANT, "dev_1").faults == ()
            assert len(service.recent_faults(conn, TENANT)) == 1


class TestClearFault:
    def test_ends_the_fault_with_its_time(self, database: Database) -> None:
        with database.write() as conn:
            add_campus(conn)
            service.raise_fault(conn, TENANT, "gw_1", raised(), NOW)
            service.clear_fault(conn, TENANT, "gw_1", cleared(epoch_ms(LATER)), LATER)

            assert service.open_faults(conn, TENANT) == []
            assert service.recent_faults(conn, TENANT)[0].cleared_at == LATER
            assert service.device(conn, TENANT, "dev_1").faults == ()

    def test_leaves_a_fault_that_was_raised_after_it(self, database: Database) -> None:
        with database.write() as conn:
            add_campus(conn)
            service.raise_fault(conn, TENANT, "gw_1", raised(at_ms=epoch_ms(LATER)), LATER)
            service.clear_fault(conn, TENANT, "gw_1", cleared(epoch_ms(NOW)), LATER)

            assert len(service.open_faults(conn, TENANT)) == 1


class TestAcknowledgeFault:
    def test_notes_the_first_who_saw_it(self, database: Database) -> None:
        with database.write() as conn:
            add_campus(conn)
            service.raise_fault(conn, TENANT, "gw_1", raised(), NOW)
            service.acknowledge_fault(conn, TENANT, "ev_1", "ch_1", LATER)

            assert service.open_faults(conn, TENANT)[0].acknowledged_by == "ch_1"
            with pytest.raises(service.FaultUnknown):
                service.acknowledge_fault(conn, TENANT, "ev_1", "ch_2", LATER)
