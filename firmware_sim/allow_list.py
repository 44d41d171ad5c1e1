"""Who may pass a door while its gateway is away: numbers, loaded in parts and put into force by a checksum."""

import hashlib
import hmac
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field

COUNT_MAX = 2_000
PART_COUNT = 50
SALT_BYTES = 16


def hashed(salt: bytes, uid: bytes) -> int:
    """Return the number that stands for a card."""
    return int.from_bytes(hmac.new(salt, uid, hashlib.sha256).digest()[:4], "big")


def checksum(salt: bytes, numbers: list[int]) -> int:
    """Return the checksum that puts a list into force."""
    return zlib.crc32(salt + struct.pack(f">{len(numbers)}I", *numbers))


@dataclass(slots=True)
class AllowList:
    """The list in force, and the one that is being loaded."""

    salt: bytes = bytes(SALT_BYTES)
    version: int = 0
    numbers: frozenset[int] = frozenset()
    loading_salt: bytes = bytes(SALT_BYTES)
    loading: list[int] = field(default_factory=list)
    at: int = 0

    def begin(self, count: int) -> None:
        """Start a new list of so many places."""
        self.loading = [0] * count

    def put(self, part: bytes) -> None:
        """Fill fifty places from `at` on; what lies beyond the end is left out."""
        numbers = struct.unpack(f">{PART_COUNT}I", part)
        room = len(self.loading) - self.at
        self.loading[self.at : self.at + PART_COUNT] = numbers[: max(0, room)]

    def fits(self, shown: int) -> bool:
        """Return whether this is the checksum of what was loaded."""
        return shown == checksum(self.loading_salt, self.loading)

    def enforce(self) -> None:
        """Put what was loaded into force."""
        self.salt, self.numbers = self.loading_salt, frozenset(self.loading)
        self.version = self.version % 0xFFFF + 1

    def holds(self, uid: bytes) -> bool:
        """Return whether a card is on the list in force."""
        return bool(uid) and hashed(self.salt, uid) in self.numbers

    def keep(self) -> dict[str, object]:
        """Return the list in force as JSON values."""
        return {"salt": self.salt.hex(), "version": self.version, "numbers": sorted(self.numbers)}


def restored(kept: object) -> AllowList:
    """Return the list that `keep` described, an empty one for anything else."""
    if not isinstance(kept, Mapping):
        return AllowList()
    return AllowList(salt=bytes.fromhex(kept["salt"]), version=kept["version"], numbers=frozenset(kept["numbers"]))
