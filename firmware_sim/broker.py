"""
An MQTT 5 broker for demonstrations and tests: `iotcore` (in the environment), or the system's Mosquitto.

iotcore has no access control and keeps nothing on disk; a site runs Mosquitto with an ACL (README). Both listen on
127.0.0.1 only. Both are stopped by SIGTERM.
"""

import argparse
import os
import shutil
import signal
import socket
import sys
import threading
from pathlib import Path

_IOTCORE = """id = 0
[router]
id = 0
max_connections = 10010
max_outgoing_packet_count = 200
max_segment_size = 104857600
max_segment_count = 10
[v5.1]
name = "v5"
listen = "127.0.0.1:{port}"
next_connection_delay_ms = 1
[v5.1.connections]
connection_timeout_ms = 60000
max_payload_size = 2048000
max_inflight_count = 500
dynamic_filters = true
"""

_MOSQUITTO = """listener {port} 127.0.0.1
allow_anonymous true
set_tcp_nodelay true
max_inflight_messages 0
max_queued_messages 100000
persistence true
persistence_location {folder}/
autosave_interval 5
log_type error
log_type warning
"""


def _run_iotcore(port: int, folder: Path) -> None:
    from iotcore import Broker

    config = folder / "broker.toml"
    config.write_text(_IOTCORE.format(port=port), encoding="utf-8")
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    Broker(config_path=str(config)).start()
    stop.wait()
    os._exit(0)  # the broker's threads have no stop of their own and hold nothing on disk


def _run_mosquitto(port: int, folder: Path) -> None:
    program = shutil.which("mosquitto") or "/usr/sbin/mosquitto"
    config = folder / "mosquitto.conf"
    config.write_text(_MOSQUITTO.format(port=port, folder=folder.resolve()), encoding="utf-8")
    if not Path(program).exists():
        sys.exit("Mosquitto is not installed. Run: sudo apt-get install mosquitto (or use --kind iotcore)")
    if os.geteuid() == 0:
        with config.open("a", encoding="utf-8") as file:
            file.write("user root\n")
    os.execv(program, [program, "-c", str(config)])


def main(arguments: list[str] | None = None) -> None:
    """Run one broker until it is told to stop."""
    parser = argparse.ArgumentParser(prog="python -m firmware_sim.broker", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument(
        "--folder", type=Path, required=True, help="for its configuration and, with Mosquitto, its state"
    )
    parser.add_argument("--kind", choices=["iotcore", "mosquitto"], default="iotcore")
    given = parser.parse_args(arguments)
    given.folder.mkdir(parents=True, exist_ok=True)
    (_run_mosquitto if given.kind == "mosquitto" else _run_iotcore)(given.port, given.folder)


def listening(port: int) -> bool:
    """Return whether something accepts TCP connections on a local port."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=0.2):
            return True
    except OSError:
        return False


if __name__ == "__main__":
    main()
