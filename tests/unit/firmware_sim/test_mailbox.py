"""Sequences of what a reader has seen."""

from firmware_sim.mailbox import UID, Mailbox


def post(box: Mailbox) -> int:
    return box.post(source=UID, uid=b"\1\2\3\4", payload=b"", now_ms=0, unix_time=0)


class TestPost:
    def test_numbers_use_every_word_but_zero(self) -> None:
        box = Mailbox(boot_id=1)
        box.seq = 0xFFFD

        assert [post(box) for _ in range(3)] == [0xFFFE, 0xFFFF, 1]
