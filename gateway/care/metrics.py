"""A snapshot as Prometheus reads it (text format 0.0.4)."""

from collections.abc import Iterable, Mapping

from gateway.care.snapshot import Snapshot

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_STATES = ("online", "silent", "mismatch")

Sample = tuple[Mapping[str, str], float]


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.3f}"


def _family(name: str, kind: str, about: str, samples: Iterable[Sample]) -> list[str]:
    lines = [f"# HELP campustap_{name} {about}", f"# TYPE campustap_{name} {kind}"]
    for labels, value in samples:
        inside = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels.items())
        lines.append(f"campustap_{name}{'{' + inside + '}' if inside else ''} {_number(value)}")
    return lines


def render(now: Snapshot) -> str:
    """Return a snapshot's figures."""
    one: Mapping[str, str] = {}
    age_s = (now.at_ms - now.started_at_ms) / 1000
    labels = {"tenant": now.tenant, "gateway": now.gateway, "software": now.software}
    left_s = (now.certificate_not_after_ms - now.at_ms) / 1000
    families = [
        _family("gateway_info", "gauge", "Which gateway this is.", [(labels, 1)]),
        _family("gateway_uptime_seconds", "gauge", "Since the process started.", [(one, age_s)]),
        _family("broker_connected", "gauge", "1 while connected to the broker.", [(one, int(now.connected))]),
        _family("broker_connections_total", "counter", "Connections made to the broker.", [(one, now.connections)]),
        _family(
            "broker_takeovers_total",
            "counter",
            "Connections another client with our name took.",
            [(one, now.takeovers)],
        ),
        _family(
            "certificate_left_seconds",
            "gauge",
            "How long our certificate is still good.",
            [(one, left_s)] if now.certificate_not_after_ms else [],
        ),
        _family("journal_records_waiting", "gauge", "Records not acknowledged.", [(one, now.journal_waiting)]),
        _family("journal_records_max", "gauge", "Records the journal may hold.", [(one, now.journal_rows_max)]),
        _family("journal_lost_total", "counter", "Refusals lost for want of room.", [(one, now.journal_lost)]),
        _family("journal_blockages_total", "counter", "Long waits for one record.", [(one, now.journal_blockages)]),
        _family("disk_free_bytes", "gauge", "Room left beside the journal.", [(one, now.disk_free_bytes)]),
        _family(
            "messages_rejected_total",
            "counter",
            "Messages that were not obeyed, by why.",
            [({"why": why}, count) for why, count in sorted(now.rejected.items())],
        ),
        _family("messages_repeated_total", "counter", "Commands that came again.", [(one, now.duplicates)]),
        _family("gateway_fault", "gauge", "The gateway's own faults.", [({"fault": f}, 1) for f in sorted(now.faults)]),
        _family(
            "configuration_version",
            "gauge",
            "Version of the remote configuration in force; 0 is the file on the box.",
            [(one, now.configuration.running_version)],
        ),
        *_lines(now),
        *_devices(now),
    ]
    return "\n".join(line for family in families for line in family) + "\n"


def _lines(now: Snapshot) -> list[list[str]]:
    loads = [
        ({"line": each.line_id}, each.load_permille / 1000) for each in now.lines if each.load_permille is not None
    ]
    budgets = [
        ({"line": each.line_id, "open": share}, permille / 1000)
        for each in now.lines
        for share, permille in (("quarter", each.budget_quarter_permille), ("all", each.budget_full_permille))
        if permille is not None
    ]
    return [
        _family(
            "bus_errors_total", "counter", "Requests that failed.", [({"line": e.line_id}, e.errors) for e in now.lines]
        ),
        _family(
            "bus_requests_total", "counter", "Requests sent.", [({"line": e.line_id}, e.requests) for e in now.lines]
        ),
        _family("bus_load_ratio", "gauge", "Share of the time a request was under way.", loads),
        _family("bus_budget_ratio", "gauge", "Share that the configuration will take, by how many are open.", budgets),
        _family(
            "bus_overcommitted",
            "gauge",
            "1 for a line that has more to do than it should.",
            [({"line": each.line_id}, int(bool(each.warning))) for each in now.lines],
        ),
        _family(
            "bus_strangers",
            "gauge",
            "Units nobody configured.",
            [({"line": e.line_id}, len(e.strangers)) for e in now.lines],
        ),
    ]


def _devices(now: Snapshot) -> list[list[str]]:
    by = [({"device": each.health.device, "line": each.line_id}, each.health) for each in now.devices]
    ages = [(who, (now.at_ms - health.last_answer_at_ms) / 1000) for who, health in by if health.last_answer_at_ms]
    return [
        _family(
            "device_state",
            "gauge",
            "1 for the state a device is in.",
            [({**who, "state": state}, int(health.state == state)) for who, health in by for state in _STATES],
        ),
        _family("device_answer_age_seconds", "gauge", "Since the last valid answer.", ages),
        _family("device_valve_open", "gauge", "1 while open.", [(who, int(health.valve_open)) for who, health in by]),
        _family(
            "device_crc_errors_total", "counter", "Answers that were no frame.", [(w, h.crc_errors) for w, h in by]
        ),
        _family("device_timeouts_total", "counter", "Questions not answered.", [(w, h.timeouts) for w, h in by]),
        _family(
            "device_fault",
            "gauge",
            "Faults that are there.",
            [({**who, "fault": fault}, 1) for who, health in by for fault in health.faults],
        ),
    ]
