"""The sandbox provider as a process, with the doors tests have into it."""

import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx

_ROOT = Path(__file__).parents[2]


def free_port() -> int:
    """Return a port nobody listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


class Sandbox:
    """The provider's process, and the doors tests have into it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the process and wait until it answers."""
        command = [sys.executable, "-m", "firmware_sim.sandbox_provider", "--port", str(self.port)]
        command += ["--secrets", str(self.folder / "secrets"), "--state", str(self.folder / "provider.db")]
        self._process = subprocess.Popen(command, cwd=_ROOT)
        until = time.monotonic() + 30
        while True:
            try:
                httpx.get(f"{self.url}/orders", trust_env=False)
                return
            except httpx.TransportError:
                assert time.monotonic() < until, "the sandbox provider does not answer"
                assert self._process.poll() is None, "the sandbox provider stopped"
                time.sleep(0.05)

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

    def wait_until_idle(self) -> None:
        """Wait until no call is under way there."""
        until = time.monotonic() + 20
        while httpx.get(f"{self.url}/orders", trust_env=False).json()["in_flight"]:
            assert time.monotonic() < until, "a call is still under way"
            time.sleep(0.02)

    def order(self, order_id: str) -> dict[str, Any]:
        """Return an order as the provider has it; empty when it has none."""
        orders = httpx.get(f"{self.url}/orders", trust_env=False).json()["orders"]
        return next((order for order in orders if order["order_id"] == order_id), {})
