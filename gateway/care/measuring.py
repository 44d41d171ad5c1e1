"""Makes a snapshot of a running gateway, and measures what share of the time its lines are in use."""

import shutil
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from gateway.care.certificates import CertificateRefused, held
from gateway.care.snapshot import LineStatus, Snapshot, UnitStatus
from gateway.config import Config
from gateway.contract.messages import HealthReport
from gateway.contract.provisioning import ConfigurationState
from gateway.devices.budget import LineBudget
from gateway.modbus.bus import Bus

_WINDOW_S = 10.0
_SAMPLES_MAX = 64


class LoadMeter:
    """The share of the last seconds in which a line had a request under way, from a counter of busy seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._samples: deque[tuple[float, float]] = deque(maxlen=_SAMPLES_MAX)

    def load_permille(self, busy_s: float) -> int | None:
        """Return the load since some seconds ago; None at the first look."""
        now = self._clock()
        while len(self._samples) > 1 and now - self._samples[1][0] >= _WINDOW_S:
            self._samples.popleft()
        since = self._samples[0] if self._samples else None
        if not self._samples or now - self._samples[-1][0] >= _WINDOW_S / (_SAMPLES_MAX // 2):
            self._samples.append((now, busy_s))
        if since is None or now <= since[0]:
            return None
        return min(1000, max(0, round(1000 * (busy_s - since[1]) / (now - since[0]))))


@dataclass(frozen=True, slots=True, kw_only=True)
class Uplink:
    """What the uplink knows at one moment."""

    connected: bool
    connections: int
    takeovers: int
    trouble: str
    journal_lost: int
    journal_blockages: int
    rejected: dict[str, int]
    duplicates: int
    faults: dict[str, list[str]]


def certificate_not_after_ms(config: Config) -> int:
    """Return until when our certificate is good; 0 when we have none."""
    path = config.broker_cert
    if path is None:
        return 0
    try:
        return int(held(path).not_after.timestamp() * 1000)
    except CertificateRefused:
        return 0


def _budget_fields(budget: LineBudget | None) -> dict[str, Any]:
    if budget is None:
        return {}
    return {
        "budget_quarter_permille": round(1_000 * budget.quarter),
        "budget_full_permille": round(1_000 * budget.full),
        "warning": budget.warning,
    }


def snapshot(
    config: Config,
    *,
    software: str,
    instance: str,
    started_at_ms: int,
    health: HealthReport,
    uplink: Uplink,
    configuration: ConfigurationState,
    certificate_ms: int,
    buses: Mapping[str, Bus],
    loads: Mapping[str, LoadMeter],
    strangers: Mapping[str, Mapping[int, str]],
    budgets: Mapping[str, LineBudget],
) -> Snapshot:
    """Return everything at this moment."""
    of = {each.device: each for each in health.devices}
    return Snapshot(
        tenant=config.tenant,
        gateway=config.gateway,
        software=software,
        instance=instance,
        at_ms=health.at_ms,
        started_at_ms=started_at_ms,
        connected=uplink.connected,
        connections=uplink.connections,
        takeovers=uplink.takeovers,
        trouble=uplink.trouble,
        journal_waiting=health.journal_waiting,
        journal_rows_max=config.journal_rows_max,
        journal_lost=uplink.journal_lost,
        journal_blockages=uplink.journal_blockages,
        disk_free_bytes=shutil.disk_usage(config.state_dir).free,
        rejected=uplink.rejected,
        duplicates=uplink.duplicates,
        faults=uplink.faults,
        configuration=configuration,
        certificate_not_after_ms=certificate_ms,
        lines=[
            LineStatus(
                line_id=line.line_id,
                transport=line.transport,
                devices=sum(place.line_id == line.line_id for device in config.devices for place in device.places),
                errors=buses[line.line_id].errors,
                requests=buses[line.line_id].requests,
                load_permille=loads[line.line_id].load_permille(buses[line.line_id].busy_s),
                strangers={str(unit): shown for unit, shown in strangers.get(line.line_id, {}).items()},
                **_budget_fields(budgets.get(line.line_id)),
            )
            for line in config.lines
        ],
        devices=[
            UnitStatus(
                line_id=device.line_id,
                unit=device.unit,
                kind=device.kind,
                map_id=device.map_id,
                parts=[f"{part.role} {part.line_id}/{part.unit} {part.map_id}" for part in device.parts],
                health=of[device.device_id],
            )
            for device in config.devices
        ],
    )
