"""What a command leaves on disk: the highest sequence taken, in whichever order commands come to be written."""

import asyncio
from pathlib import Path

from gateway.contract.commands import CloseValve
from gateway.contract.events import CommandRefused, RefusalCode
from gateway.uplink.store import NoRoom
from tests.fakes.gateway_port import Bench
from tests.unit.gateway.sessions.test_controller import only


class TestPersisting:
    def test_an_older_command_that_waited_for_room_does_not_lower_the_sequence(self, tmp_path: Path) -> None:
        bench = Bench(tmp_path)
        written = bench.store.write
        first, second = (bench.order(CloseValve(water_session_id="ws_none")) for _ in range(2))

        async def no_room(work: object) -> None:
            raise NoRoom("not one octet")

        async def work() -> None:
            bench.store.write = no_room  # type: ignore[method-assign, assignment]
            await bench.controller.refuse(first, RefusalCode.BUSY, "")
            bench.store.write = written  # type: ignore[method-assign]
            await bench.controller.obey(second)
            await bench.store.write_kept()

        asyncio.run(work())
        assert only(bench, CommandRefused).cmd_id == first.command.cmd_id
        with bench.store.transaction() as tx:
            assert tx.memory.device("dev_o1").last_sequence == second.command.sequence == 2
