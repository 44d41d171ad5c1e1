from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.care.configurator import MEMORY_FILE, TRIES_MAX, Configurator
from gateway.config import ConfigRefused
from gateway.contract.provisioning import ConfigurationDocument
from gateway.contract.signing import public_text, sign

KEY = Ed25519PrivateKey.generate()
NOW_MS = 1_800_000_000_000
DEVICE = '[[lines]]\nline_id = "l1"\ntransport = "tcp"\nhost = "127.0.0.1"\nport = 502\n' + "".join(
    f'[[devices]]\ndevice_id = "dev_{unit}"\nline_id = "l1"\nunit = {unit}\nmap_id = "chw.hwo1"\nkind = "outlet"\n'
    for unit in (1, 2)
)


class Box:
    """A box with a configuration file, a clock that stands, and a backend that signs."""

    def __init__(self, folder: Path) -> None:
        self.state = folder / "state"
        self.state.mkdir()
        self.file = folder / "gateway.toml"
        self.file.write_text(self.toml(), encoding="utf-8")
        self.said: list[str] = []
        self.begin()

    def toml(self, *, top: str = "", state: str | None = None, key: str | None = None, broker: int = 1) -> str:
        return (
            f'tenant = "school"\ngateway = "gw"\nstate_dir = "{state or self.state}"\n{top}\n'
            f'[broker]\nhost = "127.0.0.1"\nport = {broker}\n'
            f'[command_keys]\nk1 = "{key or public_text(KEY.public_key())}"\n{DEVICE}'
        )

    def begin(self) -> Configurator:
        """Start the process anew."""
        self.one = Configurator(self.file, clock=lambda: NOW_MS)
        self.one.on_change = lambda: self.said.append(self.one.said.state)
        self.one.choose()
        return self.one

    def send(
        self,
        toml: str,
        version: int = 1,
        *,
        key: Ed25519PrivateKey = KEY,
        kid: str = "k1",
        retained: bool = False,
        **more: Any,
    ) -> str:
        """Let a document come down; return the state that is reported then."""
        document = ConfigurationDocument(
            tenant="school", gateway="gw", version=version, issued_at_ms=NOW_MS, not_after_ms=NOW_MS + 1, toml=toml
        )
        signed = sign(msgspec.structs.replace(document, **more), key=key, kid=kid)
        self.one.received(msgspec.json.encode(signed), retained=retained, answering=["dev_1", "dev_gone"])
        return self.one.said.state


@pytest.fixture
def box(tmp_path: Path) -> Box:
    return Box(tmp_path)


class TestReceived:
    def test_waits_is_tried_and_kept(self, box: Box) -> None:
        assert box.send(box.toml(top="resend_s = 7")) == "waiting"
        assert box.one.is_waiting

        assert box.one.choose().resend_s == 7
        assert box.one.is_trial
        assert not box.one.is_healthy(connected=False, online={"dev_1"})
        assert not box.one.is_healthy(connected=True, online={"dev_2"})
        assert box.one.missing({"dev_2"}) == ["dev_1"]
        assert box.one.is_healthy(connected=True, online={"dev_1"})
        box.one.keep()

        assert (box.one.said.state, box.one.said.running_version) == ("applied", 1)
        assert box.begin().running.resend_s == 7
        assert box.said == ["waiting", "trial", "applied"]

    def test_comes_back_to_what_was_before(self, box: Box) -> None:
        box.send(box.toml(top="resend_s = 7"))
        box.one.choose()
        box.one.keep()
        box.send(box.toml(top="resend_s = 8"), 2)
        assert box.one.choose().resend_s == 8

        box.one.roll_back("no broker")

        assert box.one.choose().resend_s == 7
        assert (box.one.said.state, box.one.said.version, box.one.said.running_version) == ("rolled_back", 2, 1)
        assert box.one.said.detail == "no broker"

    def test_gives_up_what_the_process_dies_with(self, box: Box) -> None:
        box.send(box.toml(top="resend_s = 7"))

        states = [box.begin().said.state for _ in range(TRIES_MAX + 1)]

        assert states == ["trial"] * TRIES_MAX + ["rolled_back"]
        assert box.one.running.resend_s == 5

    def test_keys_change_in_two_steps_that_overlap(self, box: Box) -> None:
        new = Ed25519PrivateKey.generate()
        old_text, new_text = public_text(KEY.public_key()), public_text(new.public_key())

        def with_keys(**keys: str) -> str:
            table = "".join(f'{kid} = "{text}"\n' for kid, text in keys.items())
            return box.toml().replace(f'k1 = "{old_text}"\n', table)

        assert box.send(with_keys(k1=old_text, k2=new_text), 1) == "waiting"
        box.one.choose()
        box.one.keep()
        assert set(box.begin().running.command_keys) == {"k1", "k2"}
        assert box.send(with_keys(k2=new_text), 2) == "refused"  # k1 signed it
        assert "k1" in box.one.said.detail
        assert box.send(with_keys(k2=new_text), 3, key=new, kid="k2") == "waiting"
        box.one.choose()
        box.one.keep()
        assert set(box.begin().running.command_keys) == {"k2"}
        box.send(with_keys(k1=old_text, k2=new_text), 4)

        assert (box.one.said.version, box.one.rejected["configuration_unknown_key"]) == (3, 1)

    def test_a_key_that_fails_its_trial_is_not_obeyed(self, box: Box) -> None:
        new = Ed25519PrivateKey.generate()
        both = box.toml().replace("[[lines]]", f'k2 = "{public_text(new.public_key())}"\n[[lines]]', 1)
        box.send(both)
        box.one.choose()
        box.one.roll_back("no broker")
        box.one.choose()

        box.send(both, 2, key=new, kid="k2")

        assert box.one.rejected["configuration_unknown_key"] == 1

    @pytest.mark.parametrize(
        ("changes", "word"),
        [
            ({"top": 'resend_s = "x"'}, "resend_s"),
            ({"top": "[["}, "TOML"),
            ({"state": "/elsewhere"}, "state_dir"),
            ({"key": public_text(Ed25519PrivateKey.generate().public_key())}, "command_keys"),
            ({"broker": 0}, "port"),
        ],
    )
    def test_refuses_what_cannot_be_used(self, box: Box, changes: dict[str, Any], word: str) -> None:
        assert box.send(box.toml(**changes)) == "refused"

        assert word in box.one.said.detail
        assert str(box.state) not in box.one.said.detail
        assert box.one.choose().resend_s == 5

    @pytest.mark.parametrize(
        ("spoil", "word"),
        [
            (lambda text: text.replace('"gw"', '"gw_other"'), "tenant, gateway"),
            (lambda text: text.replace("chw.hwo1", "no.such"), "map_id"),
            (lambda text: text.replace("unit = 2", "unit = 1"), "unit"),
            (lambda text: text + "#" * 200_000, "long"),
        ],
    )
    def test_refuses_another_box_and_unknown_maps(self, box: Box, spoil: Any, word: str) -> None:
        assert box.send(spoil(box.toml())) == "refused"
        assert word in box.one.said.detail

    @pytest.mark.parametrize(
        ("more", "why"),
        [
            ({"key": Ed25519PrivateKey.generate()}, "bad_signature"),
            ({"retained": True}, "retained"),
            ({"gateway": "gw_other"}, "wrong_audience"),
            ({"tenant": "other"}, "wrong_audience"),
            ({"issued_at_ms": NOW_MS + 5_001}, "clock_skew"),
            ({"not_after_ms": NOW_MS}, "expired"),
            ({"version": 0}, "repeated"),
        ],
    )
    def test_counts_what_is_not_to_be_obeyed(self, box: Box, more: dict[str, Any], why: str) -> None:
        assert box.send(box.toml(top="resend_s = 7"), **more) == "local"

        assert box.one.rejected == {f"configuration_{why}": 1}

    @pytest.mark.parametrize(
        "payload", [b"", b"{}", b"\xff", b"[" * 5_000, b'{"kid":"k1","payload":"{}","signature":""}']
    )
    def test_survives_anything(self, box: Box, payload: bytes) -> None:
        box.one.received(payload, retained=False, answering=[])

        assert box.one.rejected.total() == 1

    def test_says_again_what_it_said_of_a_repeat(self, box: Box) -> None:
        box.send(box.toml(top="resend_s = 7"))
        box.said.clear()

        assert box.send(box.toml(top="resend_s = 9")) == "waiting"

        assert box.said == ["waiting"]

    def test_takes_nothing_else_during_a_trial(self, box: Box) -> None:
        box.send(box.toml(top="resend_s = 7"))
        box.one.choose()

        assert box.send(box.toml(top="resend_s = 8"), 2) == "trial"
        assert box.one.said.version == 1


class TestChoose:
    def test_gives_the_file_on_the_box_the_last_word(self, box: Box) -> None:
        box.send(box.toml(top="resend_s = 7"))
        box.one.choose()
        box.one.keep()

        box.file.write_text(box.toml(top="resend_s = 11"), encoding="utf-8")

        assert box.begin().running.resend_s == 11
        assert (box.one.said.state, box.one.said.running_version, box.one.said.version) == ("local", 0, 1)

    @pytest.mark.parametrize("spoil", ["memory", "applied"])
    def test_survives_damaged_files(self, box: Box, spoil: str) -> None:
        box.send(box.toml(top="resend_s = 7"))
        box.one.choose()
        box.one.keep()

        name = MEMORY_FILE if spoil == "memory" else "configuration-applied.toml"
        (box.state / name).write_bytes(b"\xff{")

        assert box.begin().running.resend_s == 5

    def test_refuses_a_box_without_a_usable_file(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigRefused, match="cannot be read"):
            Configurator(tmp_path / "none.toml")
