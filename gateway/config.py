"""A gateway's configuration file. Every complaint names the file, the field and what to write."""

import difflib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from gateway.contract import topics
from gateway.contract.signing import public_from_text


class ConfigRefused(ValueError):
    """The configuration cannot be used; the message says where and what to write."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """
    One bus. `tcp` and `rtu_tcp` (serial frames in TCP) have host and port, `serial` path, baud, parity.

    Behind a network address `baud` is that of the wire a box there goes on to, 0 when there is none.
    """

    line_id: str
    transport: str
    host: str = ""
    port: int = 0
    path: str = ""
    baud: int = 38_400
    parity: str = "E"
    timeout_ms: int = 400
    #: how many requests of Modbus TCP may be under way at once, each to another unit; many boxes know only one
    in_flight: int = 1
    #: how often the flags of a unit are read
    flags_period_ms: int = 100
    #: how often the status of a unit is read while its water runs
    hot_period_ms: int = 400
    #: how often it is read while no water runs and no flag calls for it
    idle_period_ms: int = 5_000

    @property
    def is_slow(self) -> bool:
        """Whether each exchange counts, because there is a wire of some speed."""
        return self.baud > 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One of the units that an outlet is made of, and what it is to it."""

    #: one of `PART_ROLES`
    role: str
    line_id: str
    unit: int
    map_id: str
    #: which point of the map has which role, where it is not the map's own: another relay, another input
    points: Mapping[str, str] = field(default_factory=dict)
    #: pulses per liter of the meter behind a counter's input; empty where map or device say it
    k_factor: str = ""

    @property
    def channel(self) -> tuple[str, ...]:
        """What of the unit it takes, to be told from what others take of it."""
        return tuple(sorted(self.points.values()))


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfiguredDevice:
    """A device that should be at a unit address of a line; of one that is made of parts, the valve's."""

    device_id: str
    line_id: str
    unit: int
    map_id: str
    #: `outlet` or `door`
    kind: str
    parts: tuple[Part, ...] = ()

    @property
    def places(self) -> tuple[Part, ...]:
        """Every unit it is made of; one, of a device that is no composition."""
        return self.parts or (Part(role=self.kind, line_id=self.line_id, unit=self.unit, map_id=self.map_id),)


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Everything a gateway needs to know before it starts."""

    tenant: str
    gateway: str
    state_dir: Path
    broker_host: str
    broker_port: int
    command_keys: dict[str, Ed25519PublicKey]
    lines: tuple[Line, ...]
    devices: tuple[ConfiguredDevice, ...]
    journal_rows_max: int = 20_000
    journal_free_bytes_min: int = 64 * 1024 * 1024
    meter_period_s: int = 60
    #: how often an open outlet's pulses are told at most; below the period of its polls, each poll is told
    sample_period_ms: int = 900
    resend_s: int = 5
    #: how often each line is asked for a unit nobody configured; 0 is never
    look_period_s: int = 10
    broker_tls: dict[str, str] = field(default_factory=dict)
    #: where certificates are renewed and the clock is compared; empty when a person carries files
    backend_url: str = ""
    #: for Prometheus, on 127.0.0.1; 0 is off
    metrics_port: int = 0

    @property
    def maps_dir(self) -> Path:
        """Return the folder of the site's own register maps."""
        return self.state_dir / "register_maps"

    @property
    def broker_cert(self) -> Path | None:
        """Return the file with the certificate we show the broker, if any."""
        return Path(self.broker_tls["cert"]) if "cert" in self.broker_tls else None


class _Section:
    """Reads fields of one TOML table and complains with file and field."""

    def __init__(self, path: Path, name: str, values: Any) -> None:
        self.path, self.name = path, name
        if not isinstance(values, dict):
            raise ConfigRefused(f"{path}: [{name}] must be a table")
        self.values: dict[str, Any] = values

    def refuse(self, name: str, hint: str) -> ConfigRefused:
        where = f"[{self.name}] {name}" if self.name else name
        return ConfigRefused(f"{self.path}: {where}: {hint}")

    def check_known(self, known: frozenset[str]) -> None:
        for name in sorted(self.values.keys() - known):
            near = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.5)
            raise self.refuse(
                name,
                f"is no key here; did you mean {near[0]}?"
                if near
                else "is no key here: take it out, or write one of " + ", ".join(sorted(known)),
            )

    def text(self, name: str, hint: str, default: str | None = None) -> str:
        value = self.values.get(name, default)
        if not isinstance(value, str) or not value:
            raise self.refuse(name, hint)
        return value

    def number(self, name: str, low: int, high: int, default: int | None = None) -> int:
        value = self.values.get(name, default)
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise self.refuse(name, f"write a whole number from {low} to {high}")
        return value

    def choice(self, name: str, choices: tuple[str, ...], default: str | None = None) -> str:
        value = self.values.get(name, default)
        if value not in choices:
            raise self.refuse(name, "write one of " + ", ".join(f'"{choice}"' for choice in choices))
        return str(value)

    def topic_part(self, name: str) -> str:
        value = self.text(name, f'write the id the backend gave, for example {name} = "gw_west"')
        try:
            topics.up(value, value, topics.Up.HELLO)
        except topics.MalformedTopic as error:
            raise self.refuse(name, str(error)) from error
        return value


_TOP = frozenset(
    {
        "tenant",
        "gateway",
        "state_dir",
        "broker",
        "command_keys",
        "lines",
        "devices",
        "journal_rows_max",
        "journal_free_bytes_min",
        "meter_period_s",
        "sample_period_ms",
        "resend_s",
        "look_period_s",
        "backend_url",
        "metrics_port",
    }
)
_BROKER = frozenset({"host", "port", "ca", "cert", "key"})
_DEVICE = frozenset({"device_id", "line_id", "unit", "map_id", "kind"})
_COMPOSED = frozenset({"device_id", "kind", "parts"})
_PART = frozenset({"role", "line_id", "unit", "map_id", "points", "k_factor"})
#: what a unit may be to an outlet; the first two are needed
PART_ROLES = ("valve", "meter", "temperature")
_LINE = frozenset(
    {"line_id", "transport", "baud", "parity", "timeout_ms", "flags_period_ms", "hot_period_ms", "idle_period_ms"}
)
_NETWORK_LINE = _LINE | {"host", "port", "in_flight"}
_SERIAL_LINE = _LINE | {"path"}


def _line(section: _Section) -> Line:
    transport = section.choice("transport", ("tcp", "rtu_tcp", "serial"))
    section.check_known(_SERIAL_LINE if transport == "serial" else _NETWORK_LINE)
    line_id = section.text("line_id", 'name the line, for example line_id = "line-1"')
    timeout_ms = section.number("timeout_ms", 20, 10_000, 400)
    if transport != "serial":
        return Line(
            line_id=line_id,
            transport=transport,
            host=section.text("host", 'write the address of the Modbus server, for example host = "127.0.0.1"'),
            port=section.number("port", 1, 65_535),
            timeout_ms=timeout_ms,
            flags_period_ms=section.number("flags_period_ms", 10, 60_000, 100),
            hot_period_ms=section.number("hot_period_ms", 10, 60_000, 400),
            idle_period_ms=section.number("idle_period_ms", 10, 600_000, 5_000),
            baud=section.number("baud", 0, 1_000_000, 0),
            in_flight=section.number("in_flight", 1, 16, 1),
            parity=section.choice("parity", ("N", "E", "O"), "E"),
        )
    return Line(
        line_id=line_id,
        transport=transport,
        path=section.text("path", 'write the serial port, for example path = "/dev/ttyUSB0"'),
        baud=section.number("baud", 1_200, 1_000_000, 38_400),
        parity=section.choice("parity", ("N", "E", "O"), "E"),
        timeout_ms=timeout_ms,
        flags_period_ms=section.number("flags_period_ms", 10, 60_000, 1_000),
        hot_period_ms=section.number("hot_period_ms", 10, 60_000, 2_000),
        idle_period_ms=section.number("idle_period_ms", 10, 600_000, 60_000),
    )


def _points(section: _Section) -> dict[str, str]:
    points = section.values.get("points", {})
    if not isinstance(points, dict) or not all(isinstance(name, str) and name for name in points.values()):
        raise section.refuse(
            "points", 'write roles and points of the map, for example points = { valve_cmd = "relay_2" }'
        )
    return points


def _part(section: _Section) -> Part:
    section.check_known(_PART)
    k_factor = section.values.get("k_factor", "")
    hint = 'write the pulses per liter as text, for example k_factor = "450" or "1/10"'
    if not isinstance(k_factor, str):
        raise section.refuse("k_factor", hint)
    try:
        is_factor = not k_factor or ("e" not in k_factor.lower() and Fraction(k_factor) * 1_000 >= 1)
    except (ValueError, ZeroDivisionError) as error:
        raise section.refuse("k_factor", hint) from error
    if not is_factor:
        raise section.refuse("k_factor", hint)
    return Part(
        role=section.choice("role", PART_ROLES),
        line_id=section.text("line_id", "name one of the lines"),
        unit=section.number("unit", 1, 247),
        map_id=section.text("map_id", 'name the register map, for example map_id = "waveshare.relay8"'),
        points=_points(section),
        k_factor=k_factor,
    )


def _composed(section: _Section) -> ConfiguredDevice:
    section.check_known(_COMPOSED)
    tables = section.values["parts"]
    if not isinstance(tables, list):
        raise section.refuse("parts", "write [[devices.parts]] tables")
    parts = tuple(_part(_Section(section.path, f"{section.name} part {n}", table)) for n, table in enumerate(tables, 1))
    roles = [part.role for part in parts]
    if len(set(roles)) != len(roles) or not {"valve", "meter"} <= set(roles):
        raise section.refuse("parts", "write one valve and one meter, and at most one temperature")
    if section.choice("kind", ("outlet", "door")) != "outlet":
        raise section.refuse("kind", 'what is made of parts is an outlet: write kind = "outlet"')
    valve = next(part for part in parts if part.role == "valve")
    return ConfiguredDevice(
        device_id=section.topic_part("device_id"),
        line_id=valve.line_id,
        unit=valve.unit,
        map_id=valve.map_id,
        kind="outlet",
        parts=parts,
    )


def _device(section: _Section) -> ConfiguredDevice:
    if "parts" in section.values:
        return _composed(section)
    section.check_known(_DEVICE)
    return ConfiguredDevice(
        device_id=section.topic_part("device_id"),
        line_id=section.text("line_id", "name one of the lines"),
        unit=section.number("unit", 1, 247),
        map_id=section.text("map_id", 'name the register map, for example map_id = "chw.hwo1"'),
        kind=section.choice("kind", ("outlet", "door")),
    )


def _tables(path: Path, values: dict[str, Any], name: str) -> list[_Section]:
    tables = values.get(name, [])
    if not isinstance(tables, list):
        raise ConfigRefused(f"{path}: {name}: write [[{name}]] tables")
    return [_Section(path, f"{name} {number}", table) for number, table in enumerate(tables, 1)]


def _check_references(path: Path, lines: tuple[Line, ...], devices: tuple[ConfiguredDevice, ...]) -> None:
    known = {line.line_id for line in lines}
    if len(known) != len(lines):
        raise ConfigRefused(f"{path}: lines: give each line its own line_id")
    taken: dict[tuple[str, int], list[tuple[ConfiguredDevice, Part]]] = {}
    ids: set[str] = set()
    for device in devices:
        where = f"{path}: device {device.device_id}"
        for place in device.places:
            if place.line_id not in known:
                raise ConfigRefused(f"{where}: line_id: no line is called {place.line_id!r}")
            others = taken.setdefault((place.line_id, place.unit), [])
            if not all(_may_share(device, place, *other) for other in others):
                hint = "; parts that share it need points of their own" if device.parts else ""
                raise ConfigRefused(f"{where}: unit: {place.unit} is already taken on its line{hint}")
            others.append((device, place))
        if device.device_id in ids:
            raise ConfigRefused(f"{where}: device_id: is there twice")
        ids.add(device.device_id)


def _may_share(device: ConfiguredDevice, part: Part, other_device: ConfiguredDevice, other: Part) -> bool:
    """Return whether two outlets, or two parts of one, may be on the same unit: each with a channel of its own."""
    if not device.parts or not other_device.parts or part.map_id != other.map_id:
        return False
    if part.role != other.role or part.role == "temperature":
        return True
    if device is other_device or not part.channel or not other.channel:
        return False  # the map's own channel may be the very one that the other has chosen
    return not set(part.channel) & set(other.channel)


def load_config(path: Path) -> Config:
    """
    Return the configuration in a TOML file.

    :raises ConfigRefused: naming the file, the field and what to write.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigRefused(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigRefused(f"{path}: is not UTF-8 text (byte {error.start})") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigRefused(f"{path}: is not TOML: {error}") from error
    top = _Section(path, "", values)
    top.check_known(_TOP)
    broker = _Section(path, "broker", values.get("broker"))
    broker.check_known(_BROKER)
    keys: dict[str, Ed25519PublicKey] = {}
    for kid, text in _Section(path, "command_keys", values.get("command_keys")).values.items():
        try:
            keys[kid] = public_from_text(text)
        except (ValueError, TypeError) as error:
            raise ConfigRefused(f"{path}: [command_keys] {kid}: write the key's 32 bytes in base 64") from error
    if not keys:
        raise ConfigRefused(f"{path}: [command_keys]: write at least one key, or no command is ever obeyed")
    lines = tuple(_line(section) for section in _tables(path, values, "lines"))
    devices = tuple(_device(section) for section in _tables(path, values, "devices"))
    _check_references(path, lines, devices)
    if ("cert" in broker.values) != ("key" in broker.values):
        raise broker.refuse("cert", "write cert and key together, or neither")
    backend_url = top.values.get("backend_url", "")
    if not isinstance(backend_url, str):
        raise top.refuse("backend_url", 'write the backend\'s address, for example "https://campustap.example.edu"')
    tls_files: list[str] = [name for name in ("ca", "cert", "key") if name in broker.values]
    return Config(
        tenant=top.topic_part("tenant"),
        gateway=top.topic_part("gateway"),
        state_dir=Path(top.text("state_dir", 'write a folder, for example state_dir = "/var/lib/campustap"')),
        broker_host=broker.text("host", "write the broker's address"),
        broker_port=broker.number("port", 1, 65_535, 1883),
        command_keys=keys,
        lines=lines,
        devices=devices,
        journal_rows_max=top.number("journal_rows_max", 20, 10_000_000, 20_000),
        journal_free_bytes_min=top.number("journal_free_bytes_min", 0, 2**50, 64 * 1024 * 1024),
        meter_period_s=top.number("meter_period_s", 1, 86_400, 60),
        sample_period_ms=top.number("sample_period_ms", 1, 60_000, 900),
        resend_s=top.number("resend_s", 1, 600, 5),
        look_period_s=top.number("look_period_s", 0, 86_400, 10),
        backend_url=backend_url,
        metrics_port=top.number("metrics_port", 0, 65_535, 0),
        broker_tls={name: broker.text(name, "write a file name") for name in tls_files},
    )
