"""What cores look like, how thin and how long they may be."""

#: what a net's core looks like everywhere
COLORS = {
    "+24V": "RD", "+24V_P": "RD", "+24V_F": "RD", "GND": "BK", "RS485_A": "WH", "RS485_B": "BN", "+5V": "OG",
    "VALVE_K": "BU", "PE": "GNYE", "N": "BU", "L": "BN", "L_F": "BN",
}  # fmt: skip
#: colors that no other net may have
RESERVED = {"GNYE": ("PE",), "RD": ("+24V", "+24V_P", "+24V_F"), "BK": ("GND",), "OG": ("+5V",)}
#: the thinnest core a net may have; RS485 for strength, mains by the usual rule
GAUGE_MM2_MIN = {
    "+24V": 0.5, "+24V_F": 0.75, "VALVE_K": 0.75, "+24V_P": 1.5, "RS485_A": 0.5, "RS485_B": 0.5, "L": 1.5, "L_F": 1.5,
    "N": 1.5, "PE": 1.5,
}  # fmt: skip
GAUGE_MM2_MIN_ELSE = 0.25
#: the longest cable with a net in it, end to end
LENGTH_M_MAX = {
    "L": 2.0, "L_F": 2.0, "N": 2.0, "PE": 2.0, "VALVE_K": 5.0, "RS485_A": 20.0, "RS485_B": 20.0, "SHIELD": 20.0,
    "+24V": 20.0, "GND": 20.0,
}  # fmt: skip
#: sensors, panel and reader: no farther than the same wall
LENGTH_M_MAX_ELSE = 5.0
