"""Sticker tokens are random, recognize typing errors, and say nothing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.fleet import stickers


class TestNewToken:
    def test_has_version_128_bits_and_check(self) -> None:
        token = stickers.new_token()

        assert len(token) == 29
        assert token.startswith(stickers.VERSION)
        assert token == token.lower()

    def test_never_repeats(self) -> None:
        assert len({stickers.new_token() for _ in range(1_000)}) == 1_000

    @given(st.binary(min_size=16, max_size=16))
    def test_is_well_formed(self, entropy: bytes) -> None:
        assert stickers.is_well_formed(stickers.new_token(entropy))


class TestIsWellFormed:
    TOKEN = stickers.new_token(bytes(range(16)))

    @pytest.mark.parametrize("position", range(1, 27))
    def test_sees_most_single_errors(self, position: int) -> None:
        others = [char for char in "abcdefghijklmnopqrstuvwxyz234567" if char != self.TOKEN[position]]
        accepted = [
            char
            for char in others
            if stickers.is_well_formed(self.TOKEN[:position] + char + self.TOKEN[position + 1 :])
        ]

        assert len(accepted) <= 2

    @pytest.mark.parametrize(
        "token", ["", "a", "x" * 29, TOKEN.upper(), TOKEN + "a", TOKEN[:-1], f"b{TOKEN[1:]}", "é" * 29]
    )
    def test_refuses_other_shapes(self, token: str) -> None:
        assert not stickers.is_well_formed(token)
