"""`campustap-sim devices`: all devices of a plan in one process, in real time, on Modbus TCP."""

import argparse
import asyncio
import json
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from firmware_sim.arguments import PlanWrong, plan_from, port_number
from firmware_sim.bus import LineServer
from firmware_sim.control import ControlServer
from firmware_sim.device import LogEntry
from firmware_sim.end_file import EndFile
from firmware_sim.event_log import unpack
from firmware_sim.nvm import FileNvm, NonVolatile
from firmware_sim.site_plan import check_site
from firmware_sim.station import SiteLine
from firmware_sim.timing import Timing
from firmware_sim.water_outlet import WaterOutlet
from firmware_sim.world import TICK_MS, World
from firmware_sim.world_log import WorldLog, nobody
from hardware.points import load


@dataclass(frozen=True, slots=True)
class Options:
    """Where a site lives."""

    plan: Path
    state: Path
    control_port: int
    device_log: Path
    rtu: bool = False
    #: let bytes take their time on every line, at the plan's baud rate
    timed: bool = False
    #: everything that happens, one JSON a line
    step_log: Path | None = None


class Site:
    """A world with its servers; `start`, then `run` until cancelled, then `stop`."""

    def __init__(self, plan: Mapping[str, Any], options: Options) -> None:
        self._plan = plan
        self._options = options
        self._ends = EndFile(options.device_log, load("chw.hwo1").enums["close_reason"])
        self._steps = None if options.step_log is None else WorldLog(options.step_log)
        self.world = World(
            plan,
            open_nvm=self._open_nvm,
            now_ms=_monotonic_ms(),
            unix_offset_ms=time.time_ns() // 1_000_000 - _monotonic_ms(),
            on_entry=self._ends.write,
            on_step=nobody if self._steps is None else self._steps.write,
        )
        self._write_missed_ends()
        self._servers: list[LineServer] = []
        self._control = ControlServer(self.world, catch_up=self._catch_up)
        #: Modbus ports and terminals by line id and the control port, known after `start`
        self.ports: dict[str, int] = {}
        self.terminals: dict[str, str] = {}
        self.control_port = 0

    def _open_nvm(self, device_id: str) -> NonVolatile:
        return FileNvm(self._options.state / f"{device_id}.nvm")

    def _write_missed_ends(self) -> None:
        for station in self.world.stations.values():
            device = station.device
            if not isinstance(device, WaterOutlet):
                continue
            for sequence in sorted(device.log.records):
                record = unpack(device.log.records[sequence])
                self._ends.write(
                    station.device_id, LogEntry(type_name=device.map.enums["record_type"][record.type], record=record)
                )

    def _catch_up(self) -> None:
        self.world.advance(_monotonic_ms())

    def _bus_now_ms(self) -> int:
        return max(_monotonic_ms(), self.world.now_ms)

    async def start(self) -> None:
        """Open every line and, last, the control port: whoever can reach it can reach everything."""
        for gateway in self._plan["gateways"]:
            for line in gateway["lines"]:
                units = self.world.lines.get(line["line_id"])
                if units is None:
                    continue
                server = self._server(line, units)
                self._servers.append(server)
                if "host" in line:
                    self.ports[line["line_id"]] = await server.start(line["host"], line["port"])
                if "terminal" in line:
                    self.terminals[line["line_id"]] = server.open_terminal(Path(line["terminal"]))
                self.world.noise_doors[line["line_id"]] = server.set_noise
                server.wire.on_mishap = partial(self._mishap, line["line_id"])
        self.control_port = await self._control.start(self._options.control_port)

    def _mishap(self, line_id: str, kind: str, unit_id: int) -> None:
        self.world.on_step(f"line_{kind}", line_id, {"unit": unit_id})

    def _server(self, line: Mapping[str, Any], units: SiteLine) -> LineServer:
        timing = None
        if self._options.timed:
            timing = Timing(baud=line.get("baud", 38_400), framing=line.get("framing", "8E1"))
        return LineServer(
            units,
            now_ms=self._bus_now_ms,
            rtu=self._options.rtu or "terminal" in line,
            timing=timing,
            seed=f"{self._plan.get('seed', 0)}/{line['line_id']}",
        )

    async def run(self) -> None:
        """Keep the world at the present."""
        while True:
            self._catch_up()
            await asyncio.sleep(TICK_MS / 1000 - time.monotonic() % (TICK_MS / 1000))

    async def stop(self) -> None:
        """Close the servers and let every device save itself."""
        for server in self._servers:
            await server.stop()
        await self._control.stop()
        self.world.shut_down()
        self._ends.close()
        if self._steps is not None:
            self._steps.close()


def _monotonic_ms() -> int:
    return time.monotonic_ns() // 1_000_000


async def serve(options: Options, plan: Mapping[str, Any]) -> None:
    """Run a plan's devices until SIGINT or SIGTERM; print one JSON line when they answer."""
    site = Site(plan, options)
    await site.start()
    ready = {
        "ready": True,
        "control": site.control_port,
        "lines": site.ports,
        "terminals": site.terminals,
        "devices": len(site.world.stations),
    }
    print(json.dumps(ready), flush=True)
    running = asyncio.ensure_future(site.run())
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, running.cancel)
    try:
        await running
    except asyncio.CancelledError:
        await site.stop()


def register(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `devices` to the command line."""
    parser = subparsers.add_parser("devices", help="serve all devices of a plan on Modbus TCP")
    parser.add_argument("--plan", type=Path, required=True, help="plan.json")
    parser.add_argument("--state", type=Path, required=True, help="folder for the devices' non-volatile memory")
    parser.add_argument("--control", type=port_number, required=True, metavar="PORT", help="control port on 127.0.0.1")
    parser.add_argument("--device-log", type=Path, required=True, metavar="FILE", help="END records, one JSON a line")
    parser.add_argument("--steps", type=Path, metavar="FILE", help="write everything that happens here")
    parser.add_argument("--rtu", action="store_true", help="speak RTU frames inside TCP on every line")
    parser.add_argument("--timed", action="store_true", help="let every byte take its time, at each line's baud rate")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Serve until told to stop; return the exit status."""
    options = Options(
        plan=arguments.plan,
        state=arguments.state,
        control_port=arguments.control,
        device_log=arguments.device_log,
        rtu=arguments.rtu,
        timed=arguments.timed,
        step_log=arguments.steps,
    )
    try:
        plan = plan_from(options.plan, "gateways", "devices")
        check_site(options.plan, plan)
    except PlanWrong as wrong:
        print(wrong, file=sys.stderr)
        return 2
    asyncio.run(serve(options, plan))
    return 0
