"""What is known of every device, with evidence and age. A gateway that is up says nothing about a device."""

import asyncio
from dataclasses import dataclass, field

from gateway.contract.faults import FaultCode
from gateway.contract.messages import DeviceHealth, HealthReport


@dataclass(slots=True)
class Health:
    """What is known of one device now."""

    device_id: str
    state: str = "silent"
    last_answer_at_ms: int = 0
    evidence: str = "not asked yet"
    valve_open: bool = False
    faults: frozenset[FaultCode] = field(default_factory=frozenset)
    register_pulses: int | None = None
    temperature_decidegc: int | None = None
    #: answers that were no valid frame, as its bus counted them
    crc_errors: int = 0
    timeouts: int = 0


class Registry:
    """The health of all devices. `changed` is set when something a person would want to know at once has changed."""

    def __init__(self, device_ids: list[str]) -> None:
        self._devices = {device_id: Health(device_id) for device_id in device_ids}
        self.changed = asyncio.Event()

    def device(self, device_id: str) -> Health:
        """Return what is known of a device."""
        return self._devices[device_id]

    def answered(self, device_id: str, now_ms: int) -> None:
        """Note a valid answer."""
        self._devices[device_id].last_answer_at_ms = now_ms

    def set_state(self, device_id: str, state: str, evidence: str) -> None:
        """Note what the device's state is and what that rests on."""
        health = self._devices[device_id]
        if health.state != state:
            self.changed.set()
        health.state, health.evidence = state, evidence

    def set_faults(self, device_id: str, faults: frozenset[FaultCode]) -> None:
        """Note which faults a device has."""
        health = self._devices[device_id]
        if health.faults != faults:
            self.changed.set()
        health.faults = faults

    def set_valve(self, device_id: str, valve_open: bool) -> None:
        """Note whether a valve or a lock is open."""
        health = self._devices[device_id]
        if health.valve_open != valve_open:
            self.changed.set()
        health.valve_open = valve_open

    def report(self, *, gateway: str, now_ms: int, waiting: int, rejected: int, bus_errors: int) -> HealthReport:
        """Return the health of all devices."""
        devices = [
            DeviceHealth(
                device=health.device_id,
                state=health.state,
                last_answer_at_ms=health.last_answer_at_ms,
                evidence=health.evidence,
                valve_open=health.valve_open,
                faults=sorted(fault.value for fault in health.faults),
                register_pulses=health.register_pulses,
                temperature_decidegc=health.temperature_decidegc,
                crc_errors=health.crc_errors,
                timeouts=health.timeouts,
            )
            for health in self._devices.values()
        ]
        return HealthReport(
            gateway=gateway,
            at_ms=now_ms,
            devices=devices,
            journal_waiting=waiting,
            rejected_messages=rejected,
            bus_errors=bus_errors,
        )
