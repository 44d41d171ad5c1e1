"""
A gateway's store at work: `python -m tests.soak.journal_life FOLDER SEED SESSIONS`.

Sessions are remembered and ended, records go to a publisher that only notes what it was handed, and the backend
acknowledges now and then. Each thing that was promised is noted in the file `notes` of the same folder, one JSON line
each, the moment it may be relied on; so a tape of the folder shows what had been promised when the power failed.
"""

import asyncio
import json
import os
import random
import sys
from pathlib import Path
from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.contract.events import JournalRecord, StopReason, ValveOpened, WaterSessionEnded
from gateway.contract.messages import EventBatch
from gateway.uplink.outbox import Outbox
from gateway.uplink.state import SessionMemory
from gateway.uplink.store import Store, Transaction

STORE, NOTES = "gateway.sqlite", "notes"
K_FACTOR = 450_000
#: the same in every run, so that what is found after a power cut can be checked
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


def store_in(folder: Path) -> Store:
    """Return the store of a folder."""
    return Store(folder / STORE, tenant="school", gateway="gw", key=KEY)


class Notes:
    """What has been promised."""

    def __init__(self, folder: Path) -> None:
        self._fd = os.open(folder / NOTES, os.O_CREAT | os.O_WRONLY | os.O_APPEND)

    def note(self, what: str, **fields: Any) -> None:
        """Write one line."""
        os.write(self._fd, json.dumps({"what": what, **fields}).encode() + b"\n")


class NotingPublisher:
    """Is always connected, and notes what it is handed."""

    connected = True

    def __init__(self, notes: Notes) -> None:
        self._notes = notes
        self.sent: list[JournalRecord] = []

    def publish(self, topic: str, payload: bytes, **how: Any) -> bool:
        """Take a message."""
        if topic.endswith("/event"):
            for signed in msgspec.json.decode(payload, type=EventBatch).records:
                record = msgspec.json.decode(signed.payload, type=JournalRecord)
                self.sent.append(record)
                self._notes.note("sent", sequence=record.sequence, event=record.event.event_id)
        return True


def remembered(session: str, number: int) -> SessionMemory:
    """Return a session that has been opened."""
    return SessionMemory(
        water_session_id=session,
        device_id="dev_o1",
        session_u32=number,
        cmd_id=f"cmd_{number}",
        state="flowing",
        volume_limit_ml=10_000,
        duration_limit_s=600,
        lease_s=60,
        idle_limit_s=60,
        temperature_limit_decidegc=480,
        k_factor_pulses_per_m3=K_FACTOR,
        begun_at_ms=number,
        register_before_pulses=10 * number,
    )


def begin(tx: Transaction, session: str, number: int) -> None:
    """Remember a session and journal its opening."""
    tx.memory.save_session(remembered(session, number))
    tx.memory.change_device("dev_o1", last_sequence=number)
    tx.journal.append(
        ValveOpened(
            event_id=f"ev_open_{number}",
            at_ms=number,
            device="dev_o1",
            water_session_id=session,
            cmd_id=f"cmd_{number}",
            opening_pulses=10 * number,
            k_factor_pulses_per_m3=K_FACTOR,
        )
    )


def end(tx: Transaction, session: str, number: int) -> None:
    """Journal the end of a session and forget it."""
    tx.journal.append(
        WaterSessionEnded(
            event_id=f"ev_end_{number}",
            at_ms=number,
            device="dev_o1",
            water_session_id=session,
            stop_reason=StopReason.USER,
            opening_pulses=10 * number,
            closing_pulses=10 * number + 7,
            k_factor_pulses_per_m3=K_FACTOR,
            device_log_sequence=2 * number,
        )
    )
    tx.memory.forget_session(session)
    tx.memory.change_device("dev_o1", log_sequence=2 * number)


async def live(folder: Path, seed: int, sessions: int) -> None:
    """Live through so many sessions."""
    rng, notes = random.Random(seed), Notes(folder)
    store = store_in(folder)
    publisher = NotingPublisher(notes)
    outbox = Outbox(publisher, store, tenant="school", gateway="gw", key=KEY, resend_s=60)
    sending = asyncio.create_task(outbox.run())
    epoch = (await store.read(lambda tx: tx.journal.head())).epoch
    acked = 0
    for number in range(1, sessions + 1):
        session = f"ws_{number}"
        await store.write(lambda tx, s=session, n=number: begin(tx, s, n))
        notes.note("opened", session=session)
        await store.write(lambda tx, s=session, n=number: end(tx, s, n))
        notes.note("ended", session=session)
        if rng.random() < 0.3:
            await asyncio.sleep(0.001)
        if publisher.sent and rng.random() < 0.25:
            acked = rng.randint(acked, max(record.sequence for record in publisher.sent))
            notes.note("acked", sequence=acked)
            await store.write(lambda tx, a=acked: tx.journal.acknowledge(epoch=epoch, acked_through=a))
    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)
    store.close()


def main() -> int:
    """Run."""
    folder, seed, sessions = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    asyncio.run(live(folder, seed, sessions))
    return 0


if __name__ == "__main__":
    sys.exit(main())
