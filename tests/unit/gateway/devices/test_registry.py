from collections.abc import Callable

from gateway.contract.faults import FaultCode
from gateway.devices.registry import Registry


class TestRegistry:
    def test_starts_knowing_nothing(self) -> None:
        report = Registry(["dev_1"]).report(gateway="gw", now_ms=5, waiting=1, rejected=2, bus_errors=3)
        (device,) = report.devices
        assert (device.state, device.last_answer_at_ms, device.evidence) == ("silent", 0, "not asked yet")
        assert (report.journal_waiting, report.rejected_messages, report.bus_errors) == (1, 2, 3)

    def test_says_when_something_changed_and_only_then(self) -> None:
        registry = Registry(["dev_1"])
        changes: list[tuple[Callable[[], None], bool]] = [
            (lambda: registry.answered("dev_1", 7), False),
            (lambda: registry.set_state("dev_1", "online", "answers"), True),
            (lambda: registry.set_state("dev_1", "online", "still answers"), False),
            (lambda: registry.set_faults("dev_1", frozenset({FaultCode.TAMPER})), True),
            (lambda: registry.set_faults("dev_1", frozenset({FaultCode.TAMPER})), False),
            (lambda: registry.set_valve("dev_1", True), True),
            (lambda: registry.set_valve("dev_1", True), False),
        ]
        for change, expected in changes:
            registry.changed.clear()
            change()
            assert registry.changed.is_set() is expected
        health = registry.report(gateway="gw", now_ms=9, waiting=0, rejected=0, bus_errors=0).devices[0]
        assert (health.last_answer_at_ms, health.evidence, health.faults) == (7, "still answers", ["tamper"])
