"""A plan whose devices cannot be built is refused with the device and the reason, before anything is built."""

from pathlib import Path
from typing import Any

import pytest

from firmware_sim.arguments import PlanWrong
from firmware_sim.site_plan import check_site

VALVE = {"device_id": "dev_v", "line_id": "a", "unit": 1, "map_id": "waveshare.relay8"}
METER = {"device_id": "dev_m", "line_id": "a", "unit": 2, "map_id": "wirenboard.wbmcm8", "behind": ["dev_v"]}


class TestCheckSite:
    def test_accepts_valve_and_meter(self) -> None:
        check_site(Path("plan.json"), {"devices": [VALVE, METER]})

    @pytest.mark.parametrize(
        ("changes", "said"),
        [
            ({"map_id": "waveshare.relay9"}, "no register map is called 'waveshare.relay9' (did you mean 'waveshare."),
            ({"map_id": "zzz"}, "no register map is called 'zzz' (there are chw.acr1, chw.hwo1,"),
            ({"unit": None}, "device 'dev_v' needs 'unit', a whole number"),
            ({"unit": True}, "device 'dev_v' needs 'unit', a whole number"),
            ({"line_id": 4}, "device 'dev_v' needs 'line_id', a text"),
            ({"unit": 248}, "unit must be from 1 to 247, not 248"),
            ({"unit": 2}, "device 'dev_m': unit 2 of line a is dev_v's"),
            ({"device_id": "dev_m"}, "device 'dev_m' is there twice"),
            ({"device_id": "dev_w"}, "device 'dev_m': behind names 'dev_v', which lets no water run (there are dev_w)"),
        ],
    )
    def test_names_device_and_reason(self, changes: dict[str, Any], said: str) -> None:
        with pytest.raises(PlanWrong) as refused:
            check_site(Path("plan.json"), {"devices": [{**VALVE, **changes}, METER]})

        assert str(refused.value).startswith("plan.json: device ")
        assert said in str(refused.value)
