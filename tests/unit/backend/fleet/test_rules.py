"""An outlet opens only on fresh, good news."""

from dataclasses import replace
from datetime import timedelta

import pytest

from backend.fleet.rules import opening_obstacle
from backend.fleet.types import Gateway
from tests.factories import NOW
from tests.unit.backend.fleet.helpers import outlet

GOOD = replace(outlet(), state="online", health_received_at=NOW, last_answer_at=NOW)
CONNECTED = Gateway("gxu", "gw_1", "pl_b1", "key", connected=True)


class TestOpeningObstacle:
    def test_is_none_when_all_is_well(self) -> None:
        assert opening_obstacle(GOOD, CONNECTED, NOW + timedelta(seconds=60)) is None

    @pytest.mark.parametrize(
        ("device", "gateway", "age_s", "obstacle"),
        [
            (GOOD, replace(CONNECTED, connected=False), 0, "outlet_offline"),
            (GOOD, CONNECTED, 61, "outlet_offline"),
            (replace(GOOD, state="silent"), CONNECTED, 0, "outlet_offline"),
            (replace(GOOD, state="unknown"), CONNECTED, 0, "outlet_offline"),
            (outlet(), CONNECTED, 0, "outlet_offline"),
            (replace(GOOD, state="mismatch"), CONNECTED, 0, "outlet_faulty"),
            (replace(GOOD, faults=("stuck_open",)), CONNECTED, 0, "outlet_faulty"),
            (replace(GOOD, faults=("low_supply", "no_flow")), CONNECTED, 0, None),
        ],
    )
    def test_names_what_is_in_the_way(self, device, gateway, age_s: int, obstacle: str | None) -> None:  # type: ignore[no-untyped-def]
        assert opening_obstacle(device, gateway, NOW + timedelta(seconds=age_s)) == obstacle
