"""A signature covers exactly the bytes that travel."""

from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from gateway.contract.commands import Command, OpenValve
from gateway.contract.signing import (
    SignatureRefused,
    Signed,
    decode,
    load_or_create_key,
    public_from_text,
    public_text,
    sign,
    verify,
)

_KEY = Ed25519PrivateKey.from_private_bytes(
    bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
)
_KEYS = {"k1": _KEY.public_key()}
_COMMAND = Command(
    cmd_id="cmd_1", tenant="gxu", gateway="gw_1", device="dev_1", sequence=1, issued_at_ms=1, not_after_ms=2,
    body=OpenValve(water_session_id="ws_1", volume_limit_ml=1, duration_limit_s=1),
)  # fmt: skip


class TestVerify:
    def test_returns_what_was_signed(self) -> None:
        assert verify(sign(_COMMAND, key=_KEY, kid="k1"), keys=_KEYS, as_type=Command) == _COMMAND

    def test_agrees_with_the_published_vector(self) -> None:
        # RFC 8032 §7.1 test 1: the public key of this secret key, and the signature of the empty message
        published = public_text(_KEY.public_key())

        assert public_from_text(published).public_bytes_raw().hex().startswith("d75a980182b10ab7d54bfed3c964073a")
        assert _KEY.sign(b"").hex().startswith("e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155")

    @given(position=st.integers(min_value=0, max_value=400), bit=st.integers(min_value=0, max_value=6))
    def test_refuses_any_changed_byte(self, position: int, bit: int) -> None:
        signed = sign(_COMMAND, key=_KEY, kid="k1")
        payload = bytearray(signed.payload.encode())
        payload[position % len(payload)] ^= 1 << bit

        with pytest.raises(SignatureRefused) as refused:
            verify(msgspec.structs.replace(signed, payload=payload.decode()), keys=_KEYS, as_type=Command)

        assert refused.value.code == "bad_signature"

    @pytest.mark.parametrize(
        ("change", "code"),
        [
            ({"signature": ""}, "unsigned"),
            ({"signature": "not base64!"}, "bad_signature"),
            ({"signature": "AAAA"}, "bad_signature"),
            ({"kid": "k2"}, "unknown_key"),
            ({"payload": ""}, "bad_signature"),
        ],
    )
    def test_names_why_it_refuses(self, change: dict[str, str], code: str) -> None:
        signed = msgspec.structs.replace(sign(_COMMAND, key=_KEY, kid="k1"), **change)

        with pytest.raises(SignatureRefused) as refused:
            verify(signed, keys=_KEYS, as_type=Command)

        assert refused.value.code == code

    def test_refuses_a_signed_payload_of_another_kind(self) -> None:
        signed = sign(Signed(kid="", payload="", signature=""), key=_KEY, kid="k1")

        with pytest.raises(SignatureRefused) as refused:
            verify(signed, keys=_KEYS, as_type=Command)

        assert refused.value.code == "malformed"

    def test_refuses_a_key_that_is_not_the_signers(self) -> None:
        other: dict[str, Ed25519PublicKey] = {"k1": Ed25519PrivateKey.generate().public_key()}

        with pytest.raises(SignatureRefused) as refused:
            verify(sign(_COMMAND, key=_KEY, kid="k1"), keys=other, as_type=Command)

        assert refused.value.code == "bad_signature"


class TestLoadOrCreateKey:
    def test_returns_the_same_key_again(self, tmp_path: Path) -> None:
        path = tmp_path / "secrets" / "k.key"

        first, second = load_or_create_key(path), load_or_create_key(path)

        assert first.private_bytes_raw() == second.private_bytes_raw()

    def test_lets_nobody_else_read_it(self, tmp_path: Path) -> None:
        load_or_create_key(tmp_path / "k.key")

        assert (tmp_path / "k.key").stat().st_mode & 0o077 == 0


class TestDecode:
    @pytest.mark.parametrize(
        "raw", [b"", b"\xff\xfe", b"{", b"null", b"[" * 100_000, '{"kid":"\ud800"}', b'{"kid":"\xc3\x28"}']
    )
    def test_refuses_whatever_is_no_message_in_one_way(self, raw: bytes | str) -> None:
        with pytest.raises(SignatureRefused) as refused:
            decode(raw, Signed)

        assert refused.value.code == "malformed"
