"""Our gateway as it is installed: `campustap-gateway run`, with a backend that says yes to everything."""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.bootstrap import KEY_FILE
from gateway.contract.commands import CloseValve, OpenValve
from gateway.contract.events import CommandRefused, ValveOpened, WaterSessionEnded
from gateway.contract.messages import CredentialPresented, Decision
from gateway.contract.signing import load_or_create_key, public_text
from gateway.kit import new_id
from tests.bench.edge_site import Meter, NotPossible, Outlets, Use, started, wait_until
from tests.fakes.gateway_backend import KID, FakeBackend

NAME = "CampusTap"
_TENANT, _GATEWAY = "bench", "gw_bench"
#: so many openings are on their way at once while all outlets are opened
_OPENINGS_AT_ONCE = 24


def device_id(line: int, unit: int) -> str:
    """Return the id of the outlet at a place."""
    return f"dev_{line}_{unit}"


class Ours:
    """One running gateway of ours with its backend."""

    def __init__(self, site: Outlets, backend: FakeBackend, pid: int) -> None:
        self._site, self._backend, self.pid = site, backend, pid
        self._closed: dict[str, int] = {}

    def online(self) -> bool:
        """Return whether every outlet answers."""
        if not self._backend.health:
            return False
        states = [device.state for device in self._backend.health[-1].devices]
        return states.count("online") == len(self._site.places)

    def open_all(self) -> None:
        """Open every outlet, as if a whole school were showering."""
        self.open_some(self._site.places)

    def open_some(self, places: list[tuple[int, int]]) -> None:
        """Open these outlets."""
        for at in range(0, len(places), _OPENINGS_AT_ONCE):
            for line, unit in places[at : at + _OPENINGS_AT_ONCE]:
                self._open(device_id(line, unit))
            wanted = min(len(places), at + _OPENINGS_AT_ONCE)
            wait_until(f"{wanted} open outlets", lambda least=wanted: self._site.do("report")["open"] >= least)  # type: ignore[misc]

    def _open(self, device: str) -> None:
        self._backend.command(device, _limits(device))

    def polls(self) -> int:
        """Return how many samples have come through the broker."""
        return len(self._backend.samples)

    def answer_taps(self) -> None:
        """Open an outlet for whoever holds a card to it."""

        def decide(question: CredentialPresented) -> Decision:
            self._backend.command(question.device, _limits(question.device))
            return Decision(request_id=question.request_id, device=question.device, granted=True, reason="ok")

        self._backend.decide = decide

    def close(self, line: int, unit: int) -> None:
        """Close an outlet again, once it has said that it is open."""
        device = device_id(line, unit)
        self._closed[device] = self._closed.get(device, 0) + 1

        def opened() -> list[ValveOpened]:
            return [event for event in self._backend.events(ValveOpened) if event.device == device]

        wait_until(f"{device} to open", lambda: len(opened()) >= self._closed[device])
        self._backend.command(device, CloseValve(water_session_id=opened()[-1].water_session_id))

    def refused(self) -> list[str]:
        """Return what the gateway refused, and why."""
        return [f"{event.device}: {event.code} ({event.detail})" for event in self._backend.events(CommandRefused)]

    def all_ended(self) -> None:
        """Wait until every session that was opened has ended."""
        wait_until(
            "the ends of all sessions",
            lambda: len(self._backend.events(WaterSessionEnded)) >= len(self._backend.events(ValveOpened)),
        )


def _limits(device: str) -> OpenValve:
    return OpenValve(
        water_session_id=new_id("ws"),
        volume_limit_ml=4_000_000,
        duration_limit_s=3_600,
        lease_s=600,
        idle_limit_s=3_600,
        temperature_limit_decidegc=480,
    )


def _line(number: int, port: int | str, period_ms: int, baud: int) -> str:
    table = f'[[lines]]\nline_id = "l{number}"\n'
    if baud:
        return table + f'transport = "serial"\npath = "{port}"\nbaud = {baud}\nparity = "N"\n'
    table += f'transport = "tcp"\nhost = "127.0.0.1"\nport = {port}\n'
    return table + f"flags_period_ms = {period_ms}\nhot_period_ms = {period_ms}\nin_flight = 8\n"


@contextmanager
def running(
    folder: Path, site: Outlets, broker_port: int, *, period_ms: int = 0, baud: int = 0, sample_ms: int = 0
) -> Iterator[Ours]:
    """
    Run the gateway over the site's lines until all outlets answer; on serial lines if they have a speed.

    Whatever time is 0 is as it is installed.
    """
    key = Ed25519PrivateKey.generate()
    state = folder / "state"
    state.mkdir()
    own = load_or_create_key(state / KEY_FILE)
    lines = "".join(_line(number, port, period_ms, baud) for number, port in enumerate(site.ports))
    devices = "".join(
        f'[[devices]]\ndevice_id = "{device_id(line, unit)}"\nline_id = "l{line}"\nunit = {unit}\n'
        'map_id = "chw.hwo1"\nkind = "outlet"\n'
        for line, unit in site.places
    )
    config = folder / "gateway.toml"
    config.write_text(
        f'tenant = "{_TENANT}"\ngateway = "{_GATEWAY}"\nstate_dir = "{state}"\nlook_period_s = 0\n'
        + (f"sample_period_ms = {sample_ms}\n" if sample_ms else "")
        + f'[broker]\nhost = "127.0.0.1"\nport = {broker_port}\n'
        f'[command_keys]\n{KID} = "{public_text(key.public_key())}"\n{lines}{devices}',
        encoding="utf-8",
    )
    backend = FakeBackend(port=broker_port, tenant=_TENANT, gateway=_GATEWAY, key=key, gateway_key=own.public_key())
    program = str(Path(sys.executable).with_name("campustap-gateway"))
    try:
        command = [program, "run", "--config", str(config), "--log-level", "WARNING"]
        with started(command, folder / "gateway.log", env={**os.environ}) as process:
            found = Ours(site, backend, process.pid)
            try:
                wait_until("our devices", found.online, 120)
            except NotPossible as error:
                raise NotPossible(
                    f"{error}: {(folder / 'gateway.log').read_text(encoding='utf-8')[-2_000:]}"
                ) from error
            yield found
    finally:
        backend.stop()


def measured(ours: Ours, site: Outlets, seconds: float) -> tuple[float, float, Use]:
    """Return registers polled per second, samples through the broker per second, and what it took."""
    site.do("reset")
    before, meter = ours.polls(), Meter(ours.pid)
    time.sleep(seconds)
    use, report, after = meter.use(), site.do("report"), ours.polls()
    return report["polled_registers"] / use.seconds, (after - before) / use.seconds, use
