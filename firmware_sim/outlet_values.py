"""The points only an outlet has."""

from collections.abc import Mapping

from firmware_sim.common_values import Getter, code
from firmware_sim.outlet_state import ENERGY_UNITS_PER_WH, OutletState


def _session_id(outlet: OutletState) -> int:
    return outlet.dispense.session_id if outlet.dispense else outlet.last_session_id


OUTLET_GETTERS: Mapping[str, Getter] = {
    "k_factor": lambda outlet: outlet.config["cfg_cal_k"],
    "close_reason": lambda outlet: code(outlet.map, "close_reason", outlet.close_reason),
    "session_id": _session_id,
    "sess_pulses": lambda outlet: outlet.session_pulses() & 0xFFFFFFFF,
    "sess_volume": lambda outlet: outlet.volume_ml(outlet.session_pulses()) & 0xFFFFFFFF,
    "sess_elapsed": lambda outlet: outlet.session_elapsed_ms() // 100 & 0xFFFFFFFF,
    "flow": OutletState.flow_centilpm,
    "temp_out": lambda outlet: outlet.temp,
    "total_pulses": lambda outlet: outlet.total_pulses,
    "lease_left": OutletState.lease_left_ms,
    "valve_pos": OutletState.valve_position,
    "total_volume": lambda outlet: outlet.volume_ml(outlet.total_pulses),
    "reverse_pulses": lambda outlet: outlet.reverse_pulses & 0xFFFFFFFF,
    "energy": lambda outlet: outlet.energy_units // ENERGY_UNITS_PER_WH & 0xFFFFFFFF,
    "valve_cycles": lambda outlet: outlet.valve_cycles & 0xFFFFFFFF,
    "open_time": lambda outlet: outlet.open_time_ms // 1000 & 0xFFFFFFFF,
    "temp_in": lambda outlet: outlet.inputs.temp_in_decidegc,
    "valve_open": lambda outlet: int(outlet.valve_drive or outlet.state == "CLOSING"),
    "flowing": lambda outlet: int(bool(outlet.recent)),
    "in_session": lambda outlet: int(outlet.dispense is not None),
    "leak": lambda outlet: int(bool(outlet.faults & outlet.fault_bit("LEAK_CLOSED"))),
    "over_temp": lambda outlet: int(bool(outlet.faults & outlet.fault_bit("OVER_TEMP"))),
}
