"""Mishaps come as often as asked for, and the same ones again."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_sim.noise import CHARACTER_BITS, CLEAN, LineNoise, Mishaps, Noise, flipped, noise_of


class TestNoiseOf:
    def test_takes_settings_by_name(self) -> None:
        assert noise_of({"ber": 1e-4, "dead": True}) == Noise(ber=1e-4, dead=True)
        assert noise_of({}) == CLEAN

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"lots": 0.1}, "no noise is called 'lots'; did you mean lost"),
            ({"zzz": 1}, "there are ber, lost_request"),
            ({"lost": 1.5}, "lost = 1.5 is out of bounds"),
            ({"lost": -0.1}, "out of bounds"),
            ({"ber": True}, "out of bounds"),
            ({"ber": "much"}, "out of bounds"),
            ({"late_ms": 0.5}, "late_ms = 0.5 is out of bounds"),
            ({"late_ms": 60_001}, "out of bounds"),
            ({"dead": 1}, "dead = 1 is out of bounds"),
            ({"ber": math.nan}, "out of bounds"),
        ],
    )
    def test_refuses_what_is_no_setting(self, settings: dict[str, object], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            noise_of(settings)


class TestWrongBits:
    @pytest.mark.parametrize("ber", [1e-5, 1e-4, 1e-3, 1e-2])
    @pytest.mark.parametrize("bits", [88, 495, 2_805])
    def test_hit_as_many_frames_as_the_rate_says(self, ber: float, bits: int) -> None:
        mishaps, frames = Mishaps("7"), 20_000
        expected = 1 - (1 - ber) ** bits

        hit = sum(bool(mishaps.wrong_bits(bits, ber)) for _ in range(frames))

        deviation = math.sqrt(expected * (1 - expected) / frames)
        assert abs(hit / frames - expected) < 5 * deviation

    def test_are_as_many_as_the_rate_says(self) -> None:
        mishaps = Mishaps("7")

        wrong = sum(len(mishaps.wrong_bits(100, 0.02)) for _ in range(20_000))

        assert wrong == pytest.approx(40_000, rel=0.03)

    def test_are_all_or_none_at_the_ends(self) -> None:
        assert Mishaps("1").wrong_bits(30, 1.0) == list(range(30))
        assert Mishaps("1").wrong_bits(10_000, 0.0) == []

    @given(sizes=st.lists(st.integers(min_value=1, max_value=400), max_size=30), seed=st.text(max_size=4))
    def test_do_not_depend_on_how_the_stream_is_cut(self, sizes: list[int], seed: str) -> None:
        whole = Mishaps(seed).wrong_bits(sum(sizes), 0.05)
        mishaps, at, pieces = Mishaps(seed), 0, []
        for size in sizes:
            pieces += [at + bit for bit in mishaps.wrong_bits(size, 0.05)]
            at += size

        assert pieces == whole


class TestFlipped:
    def test_turns_data_bits_over(self) -> None:
        assert flipped(b"\x00\x00", [1, CHARACTER_BITS + 8]) == b"\x01\x80"
        assert flipped(b"\x00\x00", []) == b"\x00\x00"

    @pytest.mark.parametrize("bit", [0, 9, 10, 11, 20])
    def test_is_noticed_at_once_in_start_parity_and_stop(self, bit: int) -> None:
        assert flipped(b"\x00\x00", [bit]) is None


class TestLineNoise:
    def test_gives_a_unit_its_own_in_place_of_the_lines(self) -> None:
        noise = LineNoise()
        noise.set(Noise(lost=0.5))
        noise.set(Noise(dead=True, babbling=0.2), 3)

        assert noise.of(4) == Noise(lost=0.5)
        assert noise.of(3).dead
        assert noise.babbling() == 0.2
        noise.set(CLEAN, 3)
        noise.set(CLEAN)
        assert noise.is_clean

    def test_repeats_itself_by_seed_unit_by_unit(self) -> None:
        def drawn(seed: str, unit: int, *, others: bool) -> list[bool]:
            noise = LineNoise(seed=seed)
            found = []
            for _ in range(200):
                if others:
                    noise.mishaps(unit + 1).happens(0.5)
                found.append(noise.mishaps(unit).happens(0.5))
            return found

        assert drawn("a", 3, others=False) == drawn("a", 3, others=True)
        assert drawn("a", 3, others=False) != drawn("b", 3, others=False)
        assert drawn("a", 3, others=False) != drawn("a", 4, others=False)
