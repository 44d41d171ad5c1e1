"""The steps of the world as a file: written whole, read once, in order."""

import asyncio
from pathlib import Path
from typing import Any

from firmware_sim.control import ControlServer
from firmware_sim.world_log import WorldLog, WorldReader
from tests.unit.firmware_sim.test_world import Site


class TestWorldReader:
    def test_gives_each_step_once_and_waits_for_a_line_that_is_not_whole(self, tmp_path: Path) -> None:
        path = tmp_path / "steps.jsonl"
        reader = WorldReader(path)
        assert reader.take() == []
        log = WorldLog(path)

        log.write("tap", "dev_1", {"uid": "04"})
        first = reader.take()
        log.close()
        with path.open("ab") as file:
            file.write(b'{"at_ms": 1, "st')
        nothing = reader.take()
        with path.open("ab") as file:
            file.write(b'ep": "cut", "where": ""}\n')

        assert [(each["step"], each["where"], each["uid"]) for each in first] == [("tap", "dev_1", "04")]
        assert nothing == []
        assert [each["step"] for each in reader.take()] == ["cut"]
        assert reader.take() == []


class TestSteps:
    def test_tell_a_session_from_its_opening_to_its_record(self) -> None:
        site = Site()
        steps: list[tuple[str, str, dict[str, Any]]] = []
        site.world.on_step = lambda step, where, facts: steps.append((step, where, facts))

        site.open(session=7)
        site.run(2_000)
        site.world.press_button("dev_1")
        site.run(2_000)

        assert [(step, where) for step, where, _ in steps] == [
            ("START", "dev_1"), ("valve_open", "dev_1"), ("LOCAL_CLOSE", "dev_1"), ("valve_shut", "dev_1"),
            ("END", "dev_1"),
        ]  # fmt: skip
        opened, shut, end = (steps[at][2] for at in (1, 3, 4))
        assert opened["session"] == shut["session"] == end["session"] == 7
        assert opened["tag"] == 99
        assert opened["limit_ml"] >= shut["volume_ml"] > 0
        assert end["count"] >= shut["register"] - opened["register"] > 0

    def test_tell_what_was_asked_and_nothing_of_questions(self) -> None:
        site = Site()
        steps: list[tuple[str, str]] = []
        site.world.on_step = lambda step, where, facts: steps.append((step, where))
        server = ControlServer(site.world, catch_up=lambda: None)

        async def ask(*lines: bytes) -> None:
            port = await server.start(0)
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            for line in lines:
                writer.write(line + b"\n")
                await reader.readline()
            writer.close()
            await server.stop()

        asyncio.run(
            ask(
                b'{"do": "state"}',
                b'{"do": "tap", "device": "dev_1", "uid": "04AABBCC"}',
                b'{"do": "tap", "device": "dev_9", "uid": "04AABBCC"}',
            )
        )

        assert steps == [("tap", "dev_1")]
