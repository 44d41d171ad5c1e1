"""`campustap-gateway run`: runs until SIGTERM, through changes of configuration and renewals of the certificate."""

import argparse
import asyncio
import contextlib
import importlib
import importlib.util
import logging
import os
import signal
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gateway.bootstrap import Gateway, key_path
from gateway.care import enrolling, serial_path
from gateway.care.alone import alone
from gateway.care.certificates import CertificateRefused, held
from gateway.care.configurator import Configurator
from gateway.care.enrolling import EnrollmentFailed
from gateway.config import Config, ConfigRefused, load_config
from gateway.contract.signing import load_or_create_key
from gateway.kit import end_tasks
from gateway.uplink.store import NoRoom

log = logging.getLogger(__name__)

LOOK_S = 0.2
#: water that runs longer than this is closed for a new configuration
QUIET_WAIT_S_MAX = 600.0
RENEWAL_PERIOD_S = 3_600.0
#: after a failure that ends a trial at once, so that nothing spins
NO_ROOM_STATUS = 3


def add_to(commands: Any) -> None:
    """Add the parser."""
    parser = commands.add_parser("run", help="run until SIGTERM")
    parser.add_argument("--config", type=Path, required=True, help="TOML file")
    parser.add_argument("--log-level", default="INFO", choices=["DEBUG", "INFO", "WARNING", "ERROR"])
    parser.set_defaults(run=run)


def run(given: argparse.Namespace) -> int:
    """
    Run the gateway; return its exit status.

    :raises ConfigRefused: if the configuration cannot be used, or another gateway runs on the state folder.
    """
    trace = os.environ.get("CAMPUSTAP_TRACE_FILE")
    try:
        with alone(load_config(given.config).state_dir), asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(_until_told(given.config, Path(trace) if trace else None))
    except NoRoom as error:
        log.critical("cannot start without a journal", extra={"reason": str(error)})
        return NO_ROOM_STATUS
    return 0


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return the faster event loop where it is installed, None for Python's own: both do the same."""
    if importlib.util.find_spec("uvloop") is None:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = importlib.import_module("uvloop").new_event_loop
    return factory


async def _until_told(config_file: Path, trace: Path | None) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    configurator = Configurator(config_file)
    while not stop.is_set():
        config = configurator.choose()
        try:
            gateway = Gateway(config, trace=trace, configurator=configurator)
        except ConfigRefused as error:
            if not configurator.is_trial:
                raise
            configurator.roll_back(f"it does not start: {error}")
            continue
        await _one_life(gateway, configurator, config, stop)


async def _one_life(gateway: Gateway, configurator: Configurator, config: Config, stop: asyncio.Event) -> None:
    """Run one gateway until told to stop, or until another configuration is due."""
    for line in config.lines:
        why = serial_path.trouble(line.path) if line.transport == "serial" else ""
        if why:
            log.error("serial port cannot be opened", extra={"line": line.line_id, "path": line.path, "reason": why})
    gateway.start()
    configurator.on_change = gateway.greet
    stopped = asyncio.create_task(stop.wait())
    failed = asyncio.create_task(gateway.failed())
    changed = asyncio.create_task(_change_due(gateway, configurator))
    renewing = asyncio.create_task(_keep_certificate(config))
    await asyncio.wait([stopped, failed, changed], return_when=asyncio.FIRST_COMPLETED)
    configurator.on_change = lambda: None
    await end_tasks([stopped, changed, renewing])
    broke = failed.exception() if failed.done() else None
    if broke is not None and configurator.is_trial:
        configurator.roll_back(f"the gateway broke with it: {broke!r}")
    elif broke is not None:
        raise broke  # a bug: crash loudly, the leases close what is open
    await end_tasks([failed])
    await gateway.stop()


async def _change_due(gateway: Gateway, configurator: Configurator) -> None:
    """Judge a trial, then return when the gateway must start anew: the trial failed, or another one waits."""
    loop = asyncio.get_running_loop()
    if configurator.is_trial:
        deadline = loop.time() + configurator.confirm_s
        while not configurator.is_healthy(connected=gateway.client.connected, online=gateway.online()):
            if loop.time() >= deadline:
                configurator.roll_back(_trouble(gateway, configurator))
                return
            await asyncio.sleep(LOOK_S)
        configurator.keep()
    while not configurator.is_waiting:
        await asyncio.sleep(LOOK_S)
    deadline = loop.time() + QUIET_WAIT_S_MAX
    while not gateway.is_quiet() and loop.time() < deadline:
        await asyncio.sleep(LOOK_S)


def _trouble(gateway: Gateway, configurator: Configurator) -> str:
    """Return why a trial is not healthy."""
    if not gateway.client.connected:
        return f"no broker within {configurator.confirm_s} s: {gateway.client.last_trouble or 'not reached'}"
    missing = configurator.missing(gateway.online())
    return f"silent after {configurator.confirm_s} s: {', '.join(missing)}"


async def _keep_certificate(config: Config) -> None:
    """Renew the certificate in time, for ever; what fails is tried again."""
    while config.backend_url and config.broker_cert is not None:
        with contextlib.suppress(CertificateRefused):
            if held(config.broker_cert).is_due(datetime.now(UTC)):
                await asyncio.get_running_loop().run_in_executor(None, _renew, config)
        await asyncio.sleep(RENEWAL_PERIOD_S)


def _renew(config: Config) -> None:
    key = load_or_create_key(key_path(config.state_dir))
    try:
        new = enrolling.renew(
            config.state_dir, key, url=config.backend_url, tenant=config.tenant, gateway=config.gateway
        )
    except EnrollmentFailed as error:
        log.error("certificate not renewed", extra={"reason": str(error)})
        return
    log.info("certificate renewed", extra={"not_after": new.not_after.isoformat()})
