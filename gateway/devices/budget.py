"""
How much of a serial line its devices will take, from the configuration alone: before the line is slow, not after.

An idle unit costs its flags, an open one its status and the renewal of its lease, and every shower a card, two commands
and a page of the log. Two shares are looked at: a quarter of the outlets open, as in an evening, and all of them. A
line is overcommitted when the first takes more than the budget, for then nothing is left for retries and for silent
units, or when the second takes more than there is.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from gateway.config import Config, Line
from gateway.devices.cards import watched_role
from gateway.devices.drivers import has_profile
from gateway.devices.meter import Meter
from gateway.modbus.load import HOST_MS, bits_per_character, exchange_ms, read_bytes, write_read_bytes
from gateway.modbus.plan import spans
from hardware.model import RegisterMap

BUDGET = 0.6
SHARES = (0.25, 1.0)
#: a lease of a minute, renewed at a third
RENEWAL_S = 20.0
#: from one shower's start to the next at an outlet that is in use
SHOWER_S = 540.0
_QUICK_ROLES = ("valve_state", "faults")

Exchanges = tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What one device is asked, as bytes of question and answer."""

    flags: Exchanges
    status: Exchanges
    renewal: Exchanges = ()
    #: for each shower
    shower: Exchanges = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Periods:
    """How often, in seconds. The flags of an open unit of ours come with its status."""

    flags_s: float = 1.0
    hot_s: float = 2.0
    #: how often the status of an idle unit is read
    idle_s: float = 60.0
    renewal_s: float = RENEWAL_S
    #: None leaves showers out
    shower_s: float | None = SHOWER_S
    has_flags_while_open: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class LineBudget:
    """What a line is expected to carry, as shares of its time. `warning` is empty while there is room."""

    line_id: str
    devices: int
    quarter: float
    full: float
    warning: str


def asked_of(register_map: RegisterMap) -> Asked:
    """Return what a device with this map is asked."""
    if has_profile(register_map):
        blocks = {block.id: block for block in register_map.blocks}
        command = write_read_bytes(blocks["cmd"].words, blocks["res"].words)
        mailbox = next(block for block in register_map.blocks if block.id.startswith("mbx"))
        log = write_read_bytes(2, blocks["log"].words)
        return Asked(
            flags=(read_bytes("discrete", blocks["flags"].words),),
            status=(read_bytes("input", blocks["st"].words),),
            renewal=(command,),
            shower=(read_bytes("input", mailbox.words), command, log),
        )
    roles = [*_QUICK_ROLES, *filter(None, [watched_role(register_map)])]
    if register_map.by_role("valve_state") is None:
        roles.append("valve_cmd")  # the switch itself then says how it stands
    quick = [point.name for role in roles if (point := register_map.by_role(role)) and point.readable]
    metered = Meter(register_map).names
    return Asked(flags=_reads(register_map, quick), status=_reads(register_map, quick + metered))


def _reads(register_map: RegisterMap, names: Collection[str]) -> Exchanges:
    return tuple(read_bytes(span.table, span.count) for span in spans(register_map, names))


def device_load(asked: Asked, share_open: float, periods: Periods, *, baud: int, bits: int = 11) -> float:
    """Return the share of a line's time that one device takes, when it is open for a share of the time."""

    def cost_s(exchanges: Exchanges) -> float:
        return sum(exchange_ms(out, back, baud, bits=bits, host_ms=HOST_MS) for out, back in exchanges) / 1_000

    beside_s = 1 / periods.flags_s - 1 / periods.hot_s if periods.has_flags_while_open else 0.0
    open_load = cost_s(asked.status) / periods.hot_s + cost_s(asked.flags) * max(0.0, beside_s)
    open_load += cost_s(asked.renewal) / periods.renewal_s
    if periods.shower_s is not None:
        open_load += cost_s(asked.shower) / periods.shower_s
    idle_load = cost_s(asked.flags) / periods.flags_s + cost_s(asked.status) / periods.idle_s
    return share_open * open_load + (1 - share_open) * idle_load


def budget_of(line: Line, maps: Collection[RegisterMap]) -> LineBudget | None:
    """Return what a line of these devices is expected to carry; None where nobody said how fast it is."""
    if not line.is_slow:
        return None
    periods = Periods(
        flags_s=line.flags_period_ms / 1_000,
        hot_s=line.hot_period_ms / 1_000,
        idle_s=line.idle_period_ms / 1_000,
    )
    bits = bits_per_character(line.parity)
    quarter, full = (
        sum(
            device_load(
                asked_of(each),
                share,
                replace(periods, has_flags_while_open=not has_profile(each)),
                baud=line.baud,
                bits=bits,
            )
            for each in maps
        )
        for share in SHARES
    )
    return LineBudget(
        line_id=line.line_id, devices=len(maps), quarter=quarter, full=full, warning=_warning(line, quarter, full)
    )


def _warning(line: Line, quarter: float, full: float) -> str:
    if quarter <= BUDGET and full <= 1:
        return ""
    return (
        f"line {line.line_id} is overcommitted: {quarter:.0%} of its time with a quarter of its devices open, "
        f"{full:.0%} with all; up to {BUDGET:.0%} and 100% leave room for retries"
    )


def todo(line: Line) -> str:
    """Return what to do about a line that is overcommitted."""
    return (
        f"move devices to another line, raise its speed (now {line.baud} baud), or in [[lines]] raise "
        f"flags_period_ms (now {line.flags_period_ms}), hot_period_ms (now {line.hot_period_ms}) "
        f"and idle_period_ms (now {line.idle_period_ms})"
    )


def budgets(config: Config, maps: Mapping[str, RegisterMap]) -> dict[str, LineBudget]:
    """Return the budget of every line whose speed is known, by line; `maps` are those of the devices by map id."""
    found = {}
    for line in config.lines:
        places = [place for device in config.devices for place in device.places]
        on_line = [maps[place.map_id] for place in places if place.line_id == line.line_id]
        budget = budget_of(line, on_line)
        if budget is not None:
            found[line.line_id] = budget
    return found
