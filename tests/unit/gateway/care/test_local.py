import asyncio
import re
from pathlib import Path

import pytest

from gateway.care import metrics
from gateway.care.local import LocalStatus
from gateway.care.measuring import LoadMeter
from gateway.care.snapshot import LineStatus, Snapshot, UnitStatus
from gateway.commands.local import NotRunning, ask
from gateway.commands.watch import age, table
from gateway.contract.messages import DeviceHealth
from gateway.contract.provisioning import ConfigurationState
from tests.fakes.gateway_site import free_port


def snapshot(**changes: object) -> Snapshot:
    """Return a gateway with one of everything."""
    devices = [
        UnitStatus(
            line_id="l1", unit=unit, kind="outlet", map_id="chw.hwo1",
            health=DeviceHealth(
                device=f"dev_{unit}", state=state, last_answer_at_ms=99_000 * (unit == 1), evidence="flags \x1b[2Jread",
                valve_open=unit == 1, faults=["tamper"] * (unit == 2), crc_errors=unit, timeouts=3,
            ),
        )
        for unit, state in ((1, "online"), (2, "silent"))
    ]  # fmt: skip
    values: dict[str, object] = {
        "tenant": "school", "gateway": 'gw"1', "software": "x", "instance": "in_1", "at_ms": 100_000,
        "started_at_ms": 40_000, "connected": True, "connections": 2, "takeovers": 1, "trouble": "",
        "journal_waiting": 5, "journal_rows_max": 100, "journal_lost": 0, "journal_blockages": 0,
        "disk_free_bytes": 2**30, "rejected": {"expired": 2}, "duplicates": 1,
        "faults": {"device_unknown": ["unit 7"]}, "configuration": ConfigurationState(),
        "certificate_not_after_ms": 200_000,
        "lines": [LineStatus(line_id="l1", transport="tcp", devices=2, errors=4, requests=9, load_permille=250,
                             strangers={"7": "shows HWO-1"}),
                  LineStatus(line_id="l2", transport="serial", devices=0, errors=0, budget_quarter_permille=720,
                             budget_full_permille=1_440, warning="line l2 is overcommitted: 72% and 144%")],
        "devices": devices,
    }  # fmt: skip
    return Snapshot(**{**values, **changes})  # type: ignore[arg-type]


class TestRender:
    def test_is_what_prometheus_reads(self) -> None:
        text = metrics.render(snapshot())

        sample = re.compile(r'campustap_[a-z_]+(\{([a-z_]+="([^"\\\n]|\\.)*",?)+\})? -?[0-9.]+')
        kinds: dict[str, str] = {}
        for line in text.splitlines():
            if line.startswith("# TYPE"):
                _, _, name, kind = line.split()
                assert name not in kinds
                kinds[name] = kind
            elif not line.startswith("# HELP"):
                assert sample.fullmatch(line), line
                assert line.split("{")[0].split(" ")[0] in kinds
        assert {name for name, kind in kinds.items() if kind == "counter"} == {n for n in kinds if n.endswith("_total")}
        assert text.endswith("\n")

    @pytest.mark.parametrize(
        "line",
        [
            "campustap_journal_records_waiting 5",
            'campustap_bus_errors_total{line="l1"} 4',
            'campustap_bus_load_ratio{line="l1"} 0.250',
            'campustap_bus_budget_ratio{line="l2",open="quarter"} 0.720',
            'campustap_bus_budget_ratio{line="l2",open="all"} 1.440',
            'campustap_bus_overcommitted{line="l1"} 0',
            'campustap_bus_overcommitted{line="l2"} 1',
            'campustap_device_state{device="dev_2",line="l1",state="silent"} 1',
            'campustap_device_answer_age_seconds{device="dev_1",line="l1"} 1.000',
            'campustap_device_fault{device="dev_2",line="l1",fault="tamper"} 1',
            "campustap_broker_takeovers_total 1",
            "campustap_certificate_left_seconds 100.000",
            'campustap_messages_rejected_total{why="expired"} 2',
        ],
    )
    def test_has_the_figures(self, line: str) -> None:
        assert line in metrics.render(snapshot()).splitlines()


class TestTable:
    def test_shows_what_matters_and_lets_nothing_write_to_the_terminal(self) -> None:
        text = table(snapshot(), colors=True)

        assert "\x1b[2J" not in text
        for word in (
            "TAKEN OVER 1 times",
            "5 of 100 records",
            "25.0 %",
            "72 / 144 %",
            "WARNING line l2 is overcommitted",
            "unit 7 shows HWO-1",
            "tamper",
            "never",
            "1.0 s",
        ):
            assert word in text

    def test_says_why_there_is_no_broker(self) -> None:
        assert "NOT CONNECTED (no route)" in table(snapshot(connected=False, trouble="no route"))

    @pytest.mark.parametrize(
        ("since_s", "said"), [(0, "0.0 s"), (59.9, "59.9 s"), (60, "1 min"), (3_600, "1 h"), (200_000, "2 d")]
    )
    def test_ages_have_units(self, since_s: float, said: str) -> None:
        assert age(10**9, int(10**9 - since_s * 1000)) == said


class TestLoadMeter:
    def test_is_the_share_of_the_last_seconds(self) -> None:
        now = [0.0]
        meter = LoadMeter(lambda: now[0])
        assert meter.load_permille(0.0) is None
        now[0] = 10.0
        assert meter.load_permille(5.0) == 500
        now[0] = 20.0
        assert meter.load_permille(5.0) == 0
        now[0] = 21.0
        assert meter.load_permille(500.0) == 1000


class TestLocalStatus:
    def test_answers_on_the_box_and_survives_nonsense(self, tmp_path: Path) -> None:
        port = free_port()

        async def run() -> None:
            status = LocalStatus(tmp_path, port, snapshot)
            task = asyncio.create_task(status.run())
            while not (tmp_path / "status.sock").exists():
                await asyncio.sleep(0.01)

            seen = await asyncio.to_thread(ask, tmp_path)
            requests = (b"GET /metrics HTTP/1.1", b"GET / HTTP/1.1", b"", b"\xff" * 20_000)
            answers = [await _http(port, request + b"\r\n\r\n") for request in requests]

            assert seen == snapshot()
            assert (tmp_path / "status.sock").stat().st_mode & 0o077 == 0
            assert answers[0].startswith(b"HTTP/1.1 200 OK")
            assert b"campustap_broker_connected 1" in answers[0]
            assert all(answer.startswith(b"HTTP/1.1 404") for answer in answers[1:3])
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

        asyncio.run(run())
        assert not (tmp_path / "status.sock").exists()

    def test_that_cannot_be_served_does_not_stop_the_gateway(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        async def run() -> None:
            deep = tmp_path / ("x" * 120)
            deep.mkdir()
            task = asyncio.create_task(LocalStatus(deep, 1, snapshot).run())
            while len(caplog.records) < 1:
                await asyncio.sleep(0.01)
            assert not task.done()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

        asyncio.run(run())

    def test_nobody_there_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(NotRunning, match=r"status\.sock"):
            ask(tmp_path)


async def _http(port: int, request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    try:
        return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()
