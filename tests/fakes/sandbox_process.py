"""The sandbox provider as a process, with the doors tests have into it."""

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from firmware_sim import sandbox_keys
from firmware_sim.payment_codes import payment_code as payment_code
from firmware_sim.sandbox_provider.kit import number_of
from firmware_sim.stack import free_ports
from tests.patience import PATIENCE_S

_ROOT = Path(__file__).parents[2]


def free_port() -> int:
    """Return a port nobody listens on now."""
    return free_ports(1)[0]


class Sandbox:
    """
    The provider's process, and the doors tests have into it.

    `options` are those of its command line; WeChat reverses at once unless told otherwise, and what it repeats it
    repeats a thousand times as fast.
    """

    def __init__(self, folder: Path, **options: float) -> None:
        self.folder = folder
        self.options = {"time_scale": 0.001, "reverse_after": 0.0, **options}
        self._keys: dict[str, RSAPrivateKey] = {}
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the process and wait until it answers."""
        command = [sys.executable, "-m", "firmware_sim.sandbox_provider", "--port", str(self.port)]
        command += ["--secrets", str(self.folder / "secrets"), "--state", str(self.folder / "provider.db")]
        for name, value in self.options.items():
            command += [f"--{name.replace('_', '-')}", str(value)]
        self._process = subprocess.Popen(command, cwd=_ROOT)
        until = time.monotonic() + PATIENCE_S
        while True:
            try:
                httpx.get(f"{self.url}/orders", trust_env=False)
                return
            except httpx.TransportError:
                assert time.monotonic() < until, "the sandbox provider does not answer"
                assert self._process.poll() is None, "the sandbox provider stopped"
                time.sleep(0.05)

    @property
    def secrets_dir(self) -> Path:
        """Return the folder of secrets, for the backend's side too."""
        return self.folder / "secrets"

    def merchant(self, tenant_id: str) -> None:
        """Make a tenant a merchant of all brands. Tenants of one sandbox share their keys, to save the time."""
        if not self._keys:
            self._keys = {brand: sandbox_keys.private_key() for brand in sandbox_keys.BRANDS}
        sandbox_keys.make(self.secrets_dir, tenant_id, self.url, keys=self._keys)

    def kill(self) -> None:
        """Kill the process."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def script(self, match: str, behaviour: str, **more: Any) -> None:
        """Say how the next matching request is treated."""
        body = {"match": match, "behaviour": behaviour, "seconds": 1, **more}
        assert httpx.post(f"{self.url}/script", json=body, trust_env=False).status_code == 200

    def _wait_for_none(self, what: str) -> None:
        until = time.monotonic() + PATIENCE_S
        while self._orders(order_no="none")[what]:
            assert time.monotonic() < until, f"still {what}"
            time.sleep(0.02)

    def wait_until_idle(self) -> None:
        """Wait until no call is under way there."""
        self._wait_for_none("in_flight")

    def wait_until_notified(self) -> None:
        """Wait until no notification is due there."""
        self._wait_for_none("notifying")

    def _orders(self, **query: str) -> dict[str, Any]:
        found: dict[str, Any] = httpx.get(f"{self.url}/orders", params=query, trust_env=False).json()
        return found

    def orders(self, tenant_id: str = "") -> list[dict[str, Any]]:
        """Return all orders as the provider has them, or one tenant's."""
        return [order for order in self._orders()["orders"] if tenant_id in ("", order["tenant_id"])]

    def order(self, our_id: str, tenant_id: str = "") -> dict[str, Any]:
        """Return an order by our id or its number; empty when there is none."""
        orders = self._orders(order_no=our_id)["orders"]
        return next((order for order in orders if tenant_id in ("", order["tenant_id"])), {})

    def operation(self, our_id: str) -> dict[str, Any]:
        """Return an operation by our id or its number; empty when there is none."""
        numbers = (our_id, number_of(our_id))
        operations = [operation for order in self.orders() for operation in order["operations"]]
        return next((operation for operation in operations if operation["operation_no"] in numbers), {})

    def notify(self, our_id: str, behaviour: str = "again") -> list[dict[str, Any]]:
        """Send an order's notifications now, again or spoilt; return what became of each."""
        answer = httpx.post(
            f"{self.url}/notify", json={"order_no": our_id, "behaviour": behaviour}, trust_env=False, timeout=PATIENCE_S
        )
        assert answer.status_code == 200, answer.text
        sent: list[dict[str, Any]] = answer.json()["sent"]
        return sent

    def set_clock(self, now: str) -> None:
        """Set the provider's clock to an ISO 8601 time."""
        assert httpx.post(f"{self.url}/clock", json={"now": now}, trust_env=False).status_code == 200

    def adjust(self, our_id: str, amount_minor: int) -> None:
        """Book an adjustment of a UnionPay order."""
        body = {"order_no": our_id, "amount_minor": amount_minor}
        assert httpx.post(f"{self.url}/adjustment", json=body, trust_env=False).status_code == 200
