"""A topic names a tenant, a gateway, a direction and a kind, or it is not ours."""

import pytest

from gateway.contract.topics import Address, Down, MalformedTopic, Up, down, down_filter, parse, up


class TestParse:
    @pytest.mark.parametrize("kind", list(Up))
    def test_reads_back_what_goes_up(self, kind: Up) -> None:
        assert parse(up("gxu", "gw_1", kind)) == Address("gxu", "gw_1", "up", kind.value)

    @pytest.mark.parametrize("kind", list(Down))
    def test_reads_back_what_goes_down(self, kind: Down) -> None:
        assert parse(down("gxu", "gw_1", kind)) == Address("gxu", "gw_1", "down", kind.value)

    @pytest.mark.parametrize(
        "topic",
        [
            "", "ct/v1/gxu/gw_1/up", "ct/v2/gxu/gw_1/up/event", "ct/v1/gxu/gw_1/up/command", "ct/v1/gxu/+/up/event",
            "ct/v1/gxu/gw_1/sideways/event", "ct/v1//gw_1/up/event", "ct/v1/gxu/gw_1/up/event/x", "ct/v1/GX/g/up/event",
        ],
    )  # fmt: skip
    def test_refuses_what_is_not_ours(self, topic: str) -> None:
        with pytest.raises(MalformedTopic):
            parse(topic)


class TestBuild:
    @pytest.mark.parametrize("part", ["#", "+", "a/b", "", "A", "x" * 65, "ü"])
    def test_refuses_parts_that_would_widen_a_topic(self, part: str) -> None:
        with pytest.raises(MalformedTopic):
            up(part, "gw_1", Up.EVENT)
        with pytest.raises(MalformedTopic):
            down_filter("gxu", part)
