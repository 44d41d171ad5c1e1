"""Builds a gateway from its configuration and runs it."""

import asyncio
import logging
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.care import measuring
from gateway.care.configurator import Configurator
from gateway.care.local import LocalStatus
from gateway.care.snapshot import Snapshot
from gateway.config import Config, ConfigRefused, ConfiguredDevice
from gateway.contract import CONTRACT_VERSION, topics
from gateway.contract.messages import HealthReport, Hello
from gateway.contract.provisioning import Birth, ConfigurationState, configuration_topic
from gateway.devices.access_reader import AccessReader
from gateway.devices.budget import budgets
from gateway.devices.drivers import has_profile, outlet_on
from gateway.devices.parts import PartRefused, composed_of
from gateway.devices.ports import OutletPort
from gateway.devices.registry import Registry
from gateway.devices.water_outlet import WaterOutlet
from gateway.kit import Clock, Trace, end_tasks, new_id, now_ms
from gateway.modbus.bus import Bus
from gateway.modbus.glances import Glance, Rounds
from gateway.sessions.controller import RECORDS_PER_SESSION, OutletController
from gateway.sessions.device import DeviceController, Surroundings
from gateway.sessions.door import DoorController
from gateway.sessions.lookout import Lookout
from gateway.uplink.client import Broker, MqttClient, Received
from gateway.uplink.inbox import Inbox
from gateway.uplink.outbox import Outbox, gone_payload, hello_of
from gateway.uplink.own_faults import OwnFaults
from gateway.uplink.state import PassageMemory, SessionMemory
from gateway.uplink.store import Store
from gateway.uplink.verification import Audience
from hardware.points import MAPS_DIR, MapError, RegisterMap, load

log = logging.getLogger(__name__)

SOFTWARE = "campustap-gateway 0.1.0"
KEY_FILE = "gateway.key"
STORE_FILE = "gateway.sqlite"
#: minted once for each process: two boxes with one certificate take turns with theirs
INSTANCE = new_id("in")
SHUTDOWN_CLOSE_S = 8.0
SHUTDOWN_SEND_S = 2.0
#: looks at the devices of a line begin so many times while its flags are read once
TICKS = 8


def key_path(state_dir: Path) -> Path:
    """Return where a gateway keeps its private key."""
    return state_dir / KEY_FILE


def _existing_key(state_dir: Path) -> Ed25519PrivateKey:
    """Return the gateway's key; never make one, because the backend would refuse everything a new one signs."""
    path = key_path(state_dir)
    try:
        return Ed25519PrivateKey.from_private_bytes(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ConfigRefused(
            f"{path}: no key to sign with ({error}): run `campustap-gateway init --state {state_dir}` "
            "and enroll the new public key at the backend"
        ) from error


class Gateway:
    """One gateway: buses, devices, uplink, and the one store between them."""

    def __init__(
        self,
        config: Config,
        *,
        clock: Clock = now_ms,
        trace: Path | None = None,
        configurator: Configurator | None = None,
    ) -> None:
        self._config, self._clock, self._configurator = config, clock, configurator
        self._instance, self._started_at_ms = INSTANCE, clock()
        self.trace = Trace(trace)
        key = _existing_key(config.state_dir)
        self.store = Store(
            config.state_dir / STORE_FILE,
            tenant=config.tenant,
            gateway=config.gateway,
            key=key,
            rows_max=config.journal_rows_max,
            free_bytes_min=config.journal_free_bytes_min,
        )
        self.buses = {line.line_id: Bus(line) for line in config.lines}
        self._rounds = {line.line_id: Rounds(line.flags_period_ms / 1_000 / TICKS) for line in config.lines}
        self.registry = Registry([device.device_id for device in config.devices])
        self.client = MqttClient(
            Broker(
                host=config.broker_host,
                port=config.broker_port,
                client_id=f"ct-{config.tenant}-{config.gateway}",
                subscription=topics.down_filter(config.tenant, config.gateway),
                will_topic=topics.up(config.tenant, config.gateway, topics.Up.GONE),
                will_payload=gone_payload(config.gateway),
                tls=config.broker_tls,
            ),
            on_received=self._received,
            on_connection=self._on_connection,
        )
        self.outbox = Outbox(
            self.client,
            self.store,
            tenant=config.tenant,
            gateway=config.gateway,
            key=key,
            resend_s=config.resend_s,
        )
        self._maps: dict[str, RegisterMap] = {}
        self.controllers = self._build_controllers()
        self.budgets = budgets(config, self._maps)
        with self.store.transaction() as tx:
            not_before_ms = tx.journal.head().not_before_ms
        self.own_faults = OwnFaults(
            self.store, clock=clock, rows_max=config.journal_rows_max, records_per_session=RECORDS_PER_SESSION
        )
        self.lookout = Lookout(
            self.buses,
            {
                line.line_id: [p.unit for d in config.devices for p in d.places if p.line_id == line.line_id]
                for line in config.lines
            },
            tuple(load(path.stem) for path in sorted(MAPS_DIR.glob("*.toml"))),
            self.own_faults,
            is_quiet=self._is_quiet,
            period_s=config.look_period_s,
        )
        self.inbox = Inbox(
            audience=Audience(tenant=config.tenant, gateway=config.gateway, devices=frozenset(self.controllers)),
            keys=config.command_keys,
            controllers=self.controllers,
            store=self.store,
            outbox=self.outbox,
            own_faults=self.own_faults,
            clock=clock,
            trace=self.trace,
            not_before_ms=not_before_ms,
        )
        self._configuration_topic = configuration_topic(config.tenant, config.gateway)
        self._loads = {line_id: measuring.LoadMeter() for line_id in self.buses}
        self.local = LocalStatus(config.state_dir, config.metrics_port, self.snapshot)
        self._tasks: list[asyncio.Task[None]] = []
        self._greetings: set[asyncio.Task[None]] = set()

    def _build_controllers(self) -> dict[str, DeviceController]:
        around = Surroundings(
            store=self.store, registry=self.registry, uplink=self.outbox, clock=self._clock, trace=self.trace
        )
        with self.store.transaction() as tx:
            sessions, passages = tx.memory.sessions(), tx.memory.passages()
            memories = {device.device_id: tx.memory.device(device.device_id) for device in self._config.devices}
        for session in sessions:
            if session.device_id not in memories:
                log.error(
                    "open session of a device that is not configured", extra={"session": session.water_session_id}
                )
        return {
            device.device_id: self._controller(
                device,
                around,
                [s for s in sessions if s.device_id == device.device_id],
                [p for p in passages if p.device_id == device.device_id],
            )
            for device in self._config.devices
        }

    def _controller(
        self,
        device: ConfiguredDevice,
        around: Surroundings,
        sessions: list[SessionMemory],
        passages: list[PassageMemory],
    ) -> DeviceController:
        try:
            for place in device.places:
                self._maps[place.map_id] = load(place.map_id, self._config.maps_dir)
        except MapError as error:
            raise ConfigRefused(f"device {device.device_id}: map_id: {error}") from error
        register_map = self._maps[device.map_id]
        if device.kind == "door" and not has_profile(register_map):
            raise ConfigRefused(
                f"device {device.device_id}: kind: a {device.map_id} is no door of ours: "
                'write kind = "outlet", and it is read, and its cards are passed on'
            )
        bus = self.buses[device.line_id]
        lines = {line.line_id: line for line in self._config.lines}
        on_lines = [lines[place.line_id] for place in device.places]
        line = lines[device.line_id]
        with self.store.transaction() as tx:
            memory = tx.memory.device(device.device_id)
        period_s = max(each.flags_period_ms for each in on_lines) / 1000
        if device.kind == "door":
            door = AccessReader(bus, device.unit, register_map)
            return DoorController(device.device_id, door, around, memory, passages, period_s=period_s)
        try:
            outlet: OutletPort = (
                composed_of(device, self._maps, self.buses, clock=self._clock)
                if device.parts
                else outlet_on(bus, device.unit, register_map, clock=self._clock)
            )
        except PartRefused as error:
            raise ConfigRefused(f"device {device.device_id}: {error}") from error
        controller = OutletController(
            device.device_id,
            outlet,
            around,
            memory,
            sessions,
            period_s=period_s,
            meter_period_s=self._config.meter_period_s,
            sample_period_s=self._config.sample_period_ms / 1000,
            hot_period_s=max(each.hot_period_ms for each in on_lines) / 1000,
            idle_period_s=max(each.idle_period_ms for each in on_lines) / 1000,
            is_slow=line.is_slow and has_profile(register_map),
        )
        if isinstance(outlet, WaterOutlet):
            controller.glance_with(Glance(bus, device.unit, self._rounds[device.line_id]), outlet)
        return controller

    # -- running

    def start(self) -> None:
        """Start everything on the running loop."""
        for line_id, bus in self.buses.items():
            bus.start()
            self._loads[line_id].load_permille(bus.busy_s)  # so that the first who asks is told something
        work = [self.inbox.run(), self.outbox.run(), self.outbox.run_telemetry()]
        work += [self.local.run()]
        work += [self.outbox.run_health(self.registry.changed, self._told_health), self.own_faults.watch()]
        if self._config.look_period_s:
            work += [self.lookout.run(line_id) for line_id in self.buses]
        for controller in self.controllers.values():
            work += [controller.guard(controller.poll), controller.guard(controller.work)]
        self._tasks = [asyncio.create_task(coroutine) for coroutine in work]
        self.client.start()
        for budget in self.budgets.values():
            if budget.warning:
                log.warning("line overcommitted", extra={"line": budget.line_id, "reason": budget.warning})
        log.info("gateway up", extra={"gateway": self._config.gateway, "devices": len(self.controllers)})

    def _is_quiet(self, line_id: str) -> bool:
        """Return whether a line has neither running water nor a command."""
        return not any(
            self.controllers[device.device_id].is_busy()
            for device in self._config.devices
            if line_id in [place.line_id for place in device.places]
        )

    def _health(self) -> HealthReport:
        for device in self._config.devices:
            units = [self.buses[place.line_id].unit(place.unit) for place in device.places]
            self.registry.device(device.device_id).crc_errors = sum(unit.crc_errors for unit in units)
        return self.registry.report(
            gateway=self._config.gateway,
            now_ms=self._clock(),
            waiting=self.outbox.waiting,
            rejected=self.inbox.rejected.total(),
            bus_errors=sum(bus.errors for bus in self.buses.values()),
        )

    def _told_health(self) -> HealthReport:
        """Return the report for the backend, in which devices of an overcommitted line say so: they will be slow."""
        report = self._health()
        warnings = {
            device.device_id: self.budgets[place.line_id].warning
            for device in self._config.devices
            for place in device.places
            if place.line_id in self.budgets and self.budgets[place.line_id].warning
        }
        if not warnings:
            return report
        devices = [
            msgspec.structs.replace(each, evidence=f"{each.evidence}; {warnings[each.device]}")
            if each.device in warnings
            else each
            for each in report.devices
        ]
        return msgspec.structs.replace(report, devices=devices)

    def _on_connection(self, connected: bool) -> None:
        if connected:
            log.info("broker connected", extra={"gateway": self._config.gateway})
            task = asyncio.get_running_loop().create_task(self._greet())
            self._greetings.add(task)
            task.add_done_callback(self._greetings.discard)

    def greet(self) -> None:
        """Say again who we are and with which configuration, if anybody listens."""
        if self.client.connected:
            self._on_connection(True)

    def _received(self, message: Received) -> None:
        if self._configurator is None or message.topic != self._configuration_topic:
            self.inbox.received(message)
            return
        answering = sorted(self.online())
        self._configurator.received(message.payload, retained=message.retained, answering=answering)

    def online(self) -> set[str]:
        """Return the devices that answer."""
        ids = [device.device_id for device in self._config.devices]
        return {device_id for device_id in ids if self.registry.device(device_id).state == "online"}

    def is_quiet(self) -> bool:
        """Return whether no line has running water or a command."""
        return not any(controller.is_busy() for controller in self.controllers.values())

    def _birth(self, hello: Hello) -> Birth:
        return Birth(
            **msgspec.structs.asdict(hello),
            instance=self._instance,
            takeovers=self.client.takeovers,
            certificate_not_after_ms=measuring.certificate_not_after_ms(self._config),
            configuration=self._configurator.said if self._configurator else None,
        )

    def snapshot(self) -> Snapshot:
        """Return what to say of ourselves on the box."""
        own_rejected = self._configurator.rejected if self._configurator else {}
        return measuring.snapshot(
            self._config,
            software=SOFTWARE,
            instance=self._instance,
            started_at_ms=self._started_at_ms,
            health=self._health(),
            uplink=measuring.Uplink(
                connected=self.client.connected,
                connections=self.client.connections,
                takeovers=self.client.takeovers,
                trouble=self.client.last_trouble,
                journal_lost=self.store.lost,
                journal_blockages=self.outbox.blockages,
                rejected={**self.inbox.rejected, **own_rejected},
                duplicates=self.inbox.duplicates,
                faults={fault.value: list(known) for fault, known in self.own_faults.present.items()},
            ),
            configuration=self._configurator.said if self._configurator else ConfigurationState(),
            certificate_ms=measuring.certificate_not_after_ms(self._config),
            buses=self.buses,
            loads=self._loads,
            strangers={line_id: walk.strangers for line_id, walk in self.lookout.walks.items()},
            budgets=self.budgets,
        )

    async def _greet(self) -> None:
        hello = await hello_of(
            self.store,
            gateway=self._config.gateway,
            at_ms=self._clock(),
            software=SOFTWARE,
            contract=CONTRACT_VERSION,
            maps={map_id: register_map.version for map_id, register_map in self._maps.items()},
            devices=sorted(self.controllers),
        )
        self.outbox.hello(self._birth(hello))
        self.registry.changed.set()
        self.outbox.restart()

    async def failed(self) -> None:
        """Return when one of the tasks has ended by itself, raising what ended it."""
        done, _ = await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()

    async def stop(self) -> None:
        """Close open outlets, journal their ends, send what can be sent, and stop."""
        outlets = [c for c in self.controllers.values() if isinstance(c, OutletController)]
        await asyncio.gather(*(outlet.shut_down(SHUTDOWN_CLOSE_S) for outlet in outlets))
        deadline = asyncio.get_running_loop().time() + SHUTDOWN_SEND_S
        while self.client.connected and asyncio.get_running_loop().time() < deadline:
            if not await self.store.read(lambda tx: tx.journal.count_waiting()):
                break
            await asyncio.sleep(0.02)
        self.outbox.gone()
        await end_tasks([*self._tasks, *self._greetings])
        for bus in self.buses.values():
            await bus.stop()
        await self.client.stop()
        self.store.close()
        log.info("gateway down", extra={"gateway": self._config.gateway})
