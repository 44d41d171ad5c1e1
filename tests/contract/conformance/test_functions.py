"""Every function code, its refusals and its lengths, as every independent peer sees them."""

from collections.abc import Callable

import pytest

from tests.contract.conformance.targets import ABSENT, MEMORY, OUTLET, SimTarget
from tests.contract.conformance.voices import COILS_MAX, FEW, PAIRS, SPOKEN, Silent, Voice, ask, ask_briefly, refusal

Meet = Callable[[str, str], tuple[SimTarget, Voice]]
EACH = pytest.mark.parametrize(("peer", "transport"), PAIRS, ids=["-".join(pair) for pair in PAIRS])
SOME = pytest.mark.parametrize(("peer", "transport"), FEW, ids=["-".join(pair) for pair in FEW])

MAGIC = [0x4348, 0x5731, 0x4801]


@EACH
class TestHappyPaths:
    def test_of_every_function_the_peer_speaks(self, meet: Meet, peer: str, transport: str) -> None:
        target, voice = meet(peer, transport)
        spoken = SPOKEN[peer]

        ask(voice, OUTLET, 5, 0, 1, [1])
        ask(voice, OUTLET, 15, 0, 2, [1, 1])
        ask(voice, OUTLET, 6, 89, 1, [7])
        ask(voice, OUTLET, 16, 88, 2, [120, 9])

        assert ask(voice, OUTLET, 1, 0, 2) == [1, 1]
        assert target.bench.outlet.coils == {"identify": True, "mute": True}
        assert ask(voice, OUTLET, 2, 0, 16) == [0] * 16
        assert ask(voice, OUTLET, 3, 88, 3) == [120, 9, 0]
        assert ask(voice, OUTLET, 4, 0, 3) == MAGIC
        if 22 in spoken:
            ask(voice, OUTLET, 22, 89, 1, [0xFFF0, 0x0004])
            assert ask(voice, OUTLET, 3, 89, 1) == [9 & 0xFFF0 | 0x0004]
        if 23 in spoken:  # write the log cursor, read the window in the same breath
            window = ask(voice, OUTLET, 23, 66, 2, [400, 125, 0, 1])
            assert len(window) == 125
            assert window[:5] == [0, 1, 0, 1, 1]

    def test_refusals_of_address_and_value(self, meet: Meet, peer: str, transport: str) -> None:
        _, voice = meet(peer, transport)

        assert refusal(voice, OUTLET, 4, 45) == 2  # after the identity
        assert refusal(voice, OUTLET, 3, 20, 4) == 2  # after the configuration
        assert refusal(voice, OUTLET, 1, 2) == 2
        assert refusal(voice, OUTLET, 2, 8, 16) == 2  # half of it exists
        assert refusal(voice, OUTLET, 5, 2, 1, [1]) == 2  # no coil opens the valve
        assert refusal(voice, OUTLET, 6, 0, 1, [1]) == 2  # read only
        assert refusal(voice, OUTLET, 6, 256, 1, [1]) == 3  # part of a command frame
        assert refusal(voice, OUTLET, 16, 256, 18, [0] * 18) == 3
        assert refusal(voice, OUTLET, 16, 7, 1, [10]) == 3  # configuration is locked
        assert ask(voice, OUTLET, 4, 0, 3) == MAGIC

    def test_the_greatest_lengths(self, meet: Meet, peer: str, transport: str) -> None:
        _, voice = meet(peer, transport)
        words, bits = list(range(1, 124)), [at % 5 % 2 for at in range(COILS_MAX.get(peer, 1968))]

        assert ask(voice, MEMORY, 4, 1000, 125) == list(range(1000, 1125))
        assert ask(voice, MEMORY, 3, 65_410, 125) == list(range(65_410, 65_535))
        assert ask(voice, MEMORY, 2, 0, 2000) == [int(at % 3 == 0) for at in range(2000)]
        ask(voice, MEMORY, 16, 2000, 123, words)
        assert ask(voice, MEMORY, 3, 2000, 123) == words
        ask(voice, MEMORY, 15, 100, len(bits), bits)
        assert ask(voice, MEMORY, 1, 100, len(bits)) == bits
        if 23 in SPOKEN[peer]:
            assert ask(voice, MEMORY, 23, 3000, 125, [3000, 125, *words[:121]]) == [
                *words[:121],
                3121,
                3122,
                3123,
                3124,
            ]


@SOME
class TestSilence:
    def test_of_a_unit_that_is_not_there(self, meet: Meet, peer: str, transport: str) -> None:
        _, voice = meet(peer, transport)

        with pytest.raises(Silent):
            ask_briefly(voice, ABSENT, 4, 0)
        assert ask(voice, OUTLET, 4, 0, 3) == MAGIC

    def test_of_a_lost_reply_after_which_the_next_question_has_its_own_answer(
        self, meet: Meet, peer: str, transport: str
    ) -> None:
        target, voice = meet(peer, transport)
        target.do(lambda: setattr(target.line, "replies_lost", 1))

        with pytest.raises(Silent):
            ask_briefly(voice, OUTLET, 4, 0, 3)
        assert ask(voice, OUTLET, 4, 41, 2) == [450_000 >> 16, 450_000 & 0xFFFF]
