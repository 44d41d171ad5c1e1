"""What is kept comes back as it was."""

from firmware_sim.device_memory import Kept, Result, pack, unpack
from firmware_sim.event_log import EventLog


class TestUnpack:
    def test_gives_a_new_device_for_nothing(self) -> None:
        assert unpack(None) == Kept()

    def test_undoes_pack_with_results_in_their_order(self) -> None:
        results = {
            token: Result(token=token, code=2, detail=0, subject_id=7, pulses=9, snap_seq=1) for token in (9, 3, 5)
        }
        log = EventLog(head=2, acked=1, records={1: b"a" * 40, 2: b"b" * 40})
        kept = Kept(
            boot_id=4, log=log, latched=6, results=results, config={"cfg_noflow": 30}, config_seq=2,
            own={"slot": {"session_id": 7}},
        )  # fmt: skip

        again = unpack(pack(kept))

        assert again == kept
        assert list(again.results) == [9, 3, 5]
