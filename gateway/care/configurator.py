"""
Remote configuration: a signed document comes down, is tried, and is kept only if the gateway comes back healthy.

The file on the box is where everything begins and what is left when nothing else is good. A document is refused when it
is not for here, older than one heard of, not usable, or would change who the gateway is or lose the key that signed it.
Otherwise it waits for running water to end, the gateway starts anew with it, and when it is not healthy within the
document's time, or dies, the configuration before comes back. Whoever edits the file on the box by hand has the last
word.
"""

import hashlib
import logging
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import msgspec

from gateway.care.certificates import write
from gateway.config import Config, ConfigRefused, load_config
from gateway.contract.provisioning import (
    CONFIGURATION_BYTES_MAX,
    CONFIRM_S_MAX,
    CONFIRM_S_MIN,
    ConfigurationDocument,
    ConfigurationState,
)
from gateway.contract.signing import SignatureRefused, Signed, decode, verify
from gateway.kit import Clock, now_ms
from hardware.points import MapError, load

log = logging.getLogger(__name__)

MEMORY_FILE = "configuration.json"
APPLIED_FILE = "configuration-applied.toml"
TRIAL_FILE = "configuration-trial.toml"
_CANDIDATE_FILE = "configuration-candidate.toml"
SKEW_MS_MAX = 5_000
#: a configuration with which the process died so often is not tried again
TRIES_MAX = 2
_DETAIL_MAX = 300


class Memory(msgspec.Struct, frozen=True, kw_only=True):
    """What is remembered of configurations."""

    said: ConfigurationState = ConfigurationState()
    #: of the file on the box that a document was laid over
    local_sha256: str = ""
    confirm_s: int = 60
    tries: int = 0
    #: devices that answered before the trial: all of them must answer again
    answering: list[str] = []


class Configurator:
    """Chooses the configuration to run with, takes documents in, and judges trials."""

    def __init__(self, local_file: Path, *, clock: Clock = now_ms) -> None:
        self._local_file, self._clock = local_file, clock
        self._local = load_config(local_file)
        self._folder = self._local.state_dir
        self._memory = self._read_memory()
        self.running = self._local
        self.rejected: Counter[str] = Counter()
        #: told when something was heard or decided
        self.on_change: Callable[[], None] = lambda: None

    @property
    def said(self) -> ConfigurationState:
        """Return what to report."""
        return self._memory.said

    @property
    def is_waiting(self) -> bool:
        """Return whether a document waits to be tried."""
        return self._memory.said.state == "waiting"

    @property
    def is_trial(self) -> bool:
        """Return whether the running configuration must still prove itself."""
        return self._memory.said.state == "trial"

    @property
    def confirm_s(self) -> int:
        """Return within how many seconds a trial must be healthy."""
        return self._memory.confirm_s

    # -- memory

    def _read_memory(self) -> Memory:
        path = self._folder / MEMORY_FILE
        try:
            return msgspec.json.decode(path.read_bytes(), type=Memory)
        except FileNotFoundError:
            return Memory()
        except (OSError, msgspec.MsgspecError, UnicodeError) as error:
            log.error("configuration memory not readable", extra={"file": str(path), "reason": str(error)})
            return Memory()

    def _remember(self, **changes: object) -> None:
        self._memory = msgspec.structs.replace(self._memory, **changes)
        write(self._folder / MEMORY_FILE, msgspec.json.encode(self._memory), is_secret=True)

    def _say(self, state: str, detail: str = "", **changes: object) -> None:
        before = self._memory.said
        fields: dict[str, object] = {"state": state, "detail": detail[:_DETAIL_MAX]}
        fields |= {name: changes.pop(name) for name in ("version", "running_version") if name in changes}
        self._remember(said=msgspec.structs.replace(before, **fields), **changes)
        log.warning(
            "configuration",
            extra={"state": state, "version": self._memory.said.version, "detail": detail[:_DETAIL_MAX]},
        )
        self.on_change()

    # -- choosing

    def choose(self) -> Config:
        """
        Return the configuration to start with now.

        :raises ConfigRefused: if not even the file on the box can be used.
        """
        self._local = load_config(self._local_file)
        self._follow_local()
        if self._memory.said.state == "waiting":
            self._say("trial", tries=0)
        if self._memory.said.state == "trial":
            if self._memory.tries < TRIES_MAX:
                self._remember(tries=self._memory.tries + 1)
                try:
                    self.running = self._usable(self._folder / TRIAL_FILE)
                except ConfigRefused as error:
                    self.roll_back(str(error))
                else:
                    return self.running
            else:
                self.roll_back(f"the gateway ended {self._memory.tries} times with it")
        self.running = self._settled()
        return self.running

    def _follow_local(self) -> None:
        """Forget documents that were laid over another file than the one on the box now."""
        sha256 = hashlib.sha256(self._local_file.read_bytes()).hexdigest()
        if self._memory.local_sha256 == sha256:
            return
        if self._memory.local_sha256 and self._memory.said.state != "local":
            self._say("local", "the file on the box was changed", running_version=0)
        for name in (TRIAL_FILE, APPLIED_FILE):
            (self._folder / name).unlink(missing_ok=True)
        if self._folder.is_dir():
            self._remember(local_sha256=sha256)

    def _settled(self) -> Config:
        """Return the configuration that is in force when nothing is on trial."""
        if not self._memory.said.running_version:
            return self._local
        try:
            return self._usable(self._folder / APPLIED_FILE)
        except ConfigRefused as error:
            self._say("rolled_back", f"the file on the box is used again: {error}", running_version=0)
            return self._local

    def _usable(self, path: Path) -> Config:
        """
        Return a document's configuration if we can run with it and it leaves us who we are.

        :raises ConfigRefused: otherwise; the message names no file of ours.
        """
        try:
            found = load_config(path)
            for map_id in sorted({place.map_id for device in found.devices for place in device.places}):
                load(map_id, found.maps_dir)
        except ConfigRefused as error:
            raise ConfigRefused(str(error).removeprefix(f"{path}: ")) from error
        except MapError as error:
            raise ConfigRefused(f"map_id: {error}") from error
        local = self._local
        if (found.tenant, found.gateway, found.state_dir) != (local.tenant, local.gateway, local.state_dir):
            raise ConfigRefused("tenant, gateway, state_dir: cannot be changed from afar")
        return found

    def _check_keys(self, found: Config, signer: str) -> None:
        """
        Make sure that whoever signed a document can sign the next one.

        So keys change in two steps that overlap: the old key brings the new one, and the new one takes the old one away
        once it has shown that it is obeyed.

        :raises ConfigRefused: if the document takes the key away that signed it.
        """
        if _known(found).get(signer) != _known(self.running).get(signer):
            raise ConfigRefused(
                f"[command_keys]: {signer} signed this and must stay: first bring the new key beside it, then take it "
                "away with a document that the new key signed"
            )

    # -- taking in

    def received(self, payload: bytes, *, retained: bool, answering: list[str]) -> None:
        """Take in what came on the configuration topic; what is not to be obeyed is counted or reported."""
        try:
            signed = decode(payload, Signed)
            document = verify(signed, keys=dict(self.running.command_keys), as_type=ConfigurationDocument)
        except SignatureRefused as error:
            self._reject(error.code)
            return
        why = self._objection(document, retained=retained)
        if why:
            self._reject(why)
            if why == "repeated":
                self.on_change()  # our answer was lost, so it is said again
            return
        self._take(document, answering, signer=signed.kid)

    def _objection(self, document: ConfigurationDocument, *, retained: bool) -> str:
        now = self._clock()
        if (document.tenant, document.gateway) != (self._local.tenant, self._local.gateway):
            return "wrong_audience"
        if retained:
            return "retained"
        if document.issued_at_ms > now + SKEW_MS_MAX:
            return "clock_skew"
        if now >= document.not_after_ms:
            return "expired"
        if document.version <= self._memory.said.version:
            return "repeated"
        return ""

    def _reject(self, why: str) -> None:
        self.rejected[f"configuration_{why}"] += 1
        log.warning("configuration rejected", extra={"why": why})

    def _take(self, document: ConfigurationDocument, answering: list[str], *, signer: str) -> None:
        if self.is_trial:
            self._reject("busy")  # it is sent again, and the trial is soon over
            return
        if len(document.toml.encode()) > CONFIGURATION_BYTES_MAX:
            self._say("refused", "it is too long", version=document.version)
            return
        if not CONFIRM_S_MIN <= document.confirm_s <= CONFIRM_S_MAX:
            self._say("refused", f"confirm_s: {CONFIRM_S_MIN} to {CONFIRM_S_MAX} s", version=document.version)
            return
        candidate = self._folder / _CANDIDATE_FILE
        try:
            write(candidate, document.toml.encode(), is_secret=True)
            self._check_keys(self._usable(candidate), signer)
            candidate.replace(self._folder / TRIAL_FILE)
        except (ConfigRefused, OSError, UnicodeError) as error:
            self._say("refused", str(error), version=document.version)
            return
        self._say(
            "waiting",
            version=document.version,
            confirm_s=document.confirm_s,
            answering=sorted(answering),
            tries=0,
        )

    # -- judging

    def is_healthy(self, *, connected: bool, online: set[str]) -> bool:
        """Return whether a trial may be kept: the broker has us, and what answered before answers again."""
        return connected and not self.missing(online)

    def missing(self, online: set[str]) -> list[str]:
        """Return the devices that answered before, are still configured, and do not answer now."""
        configured = {device.device_id for device in self.running.devices}
        return sorted(set(self._memory.answering) & configured - online)

    def keep(self) -> None:
        """Keep the configuration that proved itself."""
        (self._folder / TRIAL_FILE).replace(self._folder / APPLIED_FILE)
        self._say("applied", running_version=self._memory.said.version)

    def roll_back(self, why: str) -> None:
        """Give a trial up; the configuration before is chosen next."""
        (self._folder / TRIAL_FILE).unlink(missing_ok=True)
        self._say("rolled_back", why)


def _known(config: Config) -> dict[str, bytes]:
    return {kid: key.public_bytes_raw() for kid, key in config.command_keys.items()}
