"""SC1 codes: the published vector, their life, and what a forger may not change."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.cardholders import student_code as codes

MASTER = bytes(range(32))
CREDENTIAL = bytes.fromhex("0102030405060708")
AT = datetime.fromtimestamp(1772366407, UTC)
TEXT = "SC1:AEAAOAICAMCAKBQHBADQV4OAAD4HSNFBWHCBGLEQ75CUG"
TOKEN = "0100070102030405060708070af1c000f87934a1b1c4132c90ff4543"


class TestPublishedVector:
    def test_key(self) -> None:
        key = codes.credential_key(master=MASTER, tenant_id="gxu", credential=CREDENTIAL)

        assert key.hex() == "c034694bc45d36d445f7cc7c96fcc56dfd2b81f1ca1f8fe96cb21815846cd490"

    def test_step(self) -> None:
        assert codes.step_at(AT) == 118157760

    def test_text(self) -> None:
        text = codes.write(master=MASTER, kid=7, tenant_id="gxu", credential=CREDENTIAL, step=codes.step_at(AT), draw=0)

        assert text == TEXT

    def test_reads_back(self) -> None:
        code = codes.read(TEXT)

        assert (code.kid, code.credential, code.step, code.draw) == (7, CREDENTIAL, 118157760, 0)
        assert (code.body + code.mac).hex() == TOKEN
        assert codes.is_genuine(code, master=MASTER, tenant_id="gxu")


class TestIsCurrent:
    @pytest.mark.parametrize(
        ("late", "accepted"), [(-2, False), (-1, True), (0, True), (1, True), (2, True), (3, False)]
    )
    def test_accepts_two_steps_late_and_one_early(self, late: int, accepted: bool) -> None:
        assert codes.is_current(codes.step_at(AT) - late, AT) is accepted

    def test_ends_exactly_when_it_says(self) -> None:
        step = codes.step_at(AT)

        assert codes.is_current(step, codes.expires_at(step) - timedelta(milliseconds=1))
        assert not codes.is_current(step, codes.expires_at(step))


class TestIsGenuine:
    def test_refuses_another_tenant(self) -> None:
        assert not codes.is_genuine(codes.read(TEXT), master=MASTER, tenant_id="gxnu")

    def test_refuses_another_master(self) -> None:
        assert not codes.is_genuine(codes.read(TEXT), master=bytes(32), tenant_id="gxu")

    @pytest.mark.parametrize("bit", range(8, 224))
    def test_refuses_any_flipped_bit(self, bit: int) -> None:
        import base64

        token = bytearray.fromhex(TOKEN)
        token[bit // 8] ^= 1 << bit % 8
        forged = codes.read("SC1:" + base64.b32encode(bytes(token)).decode().rstrip("="))

        assert not codes.is_genuine(forged, master=MASTER, tenant_id="gxu")


class TestRead:
    @pytest.mark.parametrize(
        "text",
        [
            "",
            "SC1:",
            TEXT[:-1],
            TEXT + "A",
            TEXT.lower(),
            "SC2:" + TEXT[4:],
            TEXT[:-1] + "H",
            "SC1:" + "1" * 45,
            "SC1:" + "E" * 45,
        ],
    )
    def test_refuses_what_write_never_writes(self, text: str) -> None:
        with pytest.raises(codes.UnreadableCode):
            codes.read(text)

    @given(st.text(max_size=60))
    def test_never_fails_otherwise(self, text: str) -> None:
        try:
            code = codes.read(text)
        except codes.UnreadableCode:
            return
        assert len(code.mac) == 12

    @given(st.integers(0, 65_535), st.binary(min_size=8, max_size=8), st.integers(0, 2**32 - 1), st.integers(0, 255))
    def test_reverses_write(self, kid: int, credential: bytes, step: int, draw: int) -> None:
        code = codes.read(
            codes.write(master=MASTER, kid=kid, tenant_id="gxu", credential=credential, step=step, draw=draw)
        )

        assert (code.kid, code.credential, code.step, code.draw) == (kid, credential, step, draw)
