"""
The outlet controller HWO-1 as data: its parts, and which pins each net joins.

24 V comes in on the bus terminal and goes on to the next outlet. Behind the fuse it feeds the valve directly; behind a
diode it feeds the logic from a capacitor that outlasts the supply, so a falling supply is seen in time to store the
running session. The valve is normally closed and its transistor's gate is pulled down: without a running program
nothing flows. The FRAM symbol stands for FM24CL64B: same pins, but for 3.3 V. A BAT54S has its anode on 1, its
cathode on 2, the joint on 3.
"""

from dataclasses import dataclass

_R, _C = "Resistor_SMD:R_0805_2012Metric", "Capacitor_SMD:C_0805_2012Metric"
_SOT23, _SMA, _SO8 = "Package_TO_SOT_SMD:SOT-23", "Diode_SMD:D_SMA", "Package_SO:SOIC-8_3.9x4.9mm_P1.27mm"
_SIP3 = "Converter_DCDC:Converter_DCDC_RECOM_R-78HB-0.5_THT"
_PINS2, _PINS5 = (f"Connector_PinHeader_2.54mm:PinHeader_1x{ways:02}_P2.54mm_Vertical" for ways in (2, 5))


@dataclass(frozen=True, slots=True)
class Component:
    """One part: the symbol it is drawn with and the footprint it is soldered to."""

    ref: str
    library: str
    symbol: str
    value: str
    footprint: str


@dataclass(frozen=True, slots=True)
class Board:
    """What is on a board and what is joined: net to pins as `ref.pin`; `driven` nets get their power from outside."""

    components: tuple[Component, ...]
    nets: dict[str, tuple[str, ...]]
    unconnected: tuple[str, ...]
    driven: tuple[str, ...]


def _resistors() -> list[Component]:
    values = {
        "R1": "100k", "R2": "6k8", "R3": "10k", "R4": "100R", "R5": "10k", "R6": "10k", "R7": "120R", "R8": "620R",
        "R9": "620R", "R10": "4k7", "R11": "4k7", "R12": "2k2 0.1%", "R13": "1k", "R14": "4k7", "R15": "1k",
        "R16": "100R", "R17": "10k", "R18": "100R", "R19": "10k", "R20": "10k", "R21": "1k", "R22": "10k",
        "R23": "10k", "R24": "1k", "R25": "220R", "R26": "220R", "R27": "1k", "R28": "1M", "R30": "1k",
    }  # fmt: skip
    return [Component(ref, "Device", "R", value, _R) for ref, value in values.items()]


def _capacitors() -> list[Component]:
    small = {
        "C1": "1u", "C3": "10u", "C4": "10u", "C5": "100n", "C6": "100n", "C7": "100n", "C8": "100n", "C9": "100n",
        "C10": "100n", "C11": "10n", "C12": "100n", "C13": "47p", "C14": "10n", "C15": "100n",
    }  # fmt: skip
    bulk = Component("C2", "Device", "C_Polarized", "220u", "Capacitor_THT:CP_Radial_D10.0mm_P5.00mm")
    backup = Component("C16", "Device", "C_Polarized", "47m", "Capacitor_THT:CP_Radial_D12.5mm_P5.00mm")
    return [*(Component(ref, "Device", "C", value, _C) for ref, value in small.items()), bulk, backup]


def _terminal(ref: str, ways: int, value: str) -> Component:
    footprint = f"TerminalBlock_Phoenix:TerminalBlock_Phoenix_MKDS-1,5-{ways}-5.08_1x{ways:02}_P5.08mm_Horizontal"
    return Component(ref, "Connector", f"Screw_Terminal_01x{ways:02}", value, footprint)


COMPONENTS = (
    Component("U1", "Regulator_Switching", "R-78HB5.0-0.5", "R-78HB5.0-0.5", _SIP3),
    Component("U2", "Regulator_Linear", "LD1117S33TR_SOT223", "LD1117S33", "Package_TO_SOT_SMD:SOT-223-3_TabPin2"),
    Component("U3", "MCU_ST_STM32G0", "STM32G071KxT", "STM32G071KBT6", "Package_QFP:LQFP-32_7x7mm_P0.8mm"),
    Component("U4", "Interface_UART", "THVD1400D", "THVD1400D", _SO8),
    Component("U5", "Memory_NVRAM", "FM24C64B", "FM24CL64B", _SO8),
    Component("U6", "Timer_RTC", "RV-1805-C3", "RV-1805-C3", "Package_SON:MicroCrystal_C3_2.5x3.7mm"),
    Component("F1", "Device", "Polyfuse", "0.75A 60V", "Fuse:Fuse_Bourns_MF-RHT070"),
    Component("D1", "Device", "D_TVS", "SMBJ26A", "Diode_SMD:D_SMB"),
    Component("D2", "Device", "D_Schottky", "B1100", _SMA),
    Component("D3", "Device", "D_Schottky", "B1100", _SMA),
    Component("D4", "Diode", "SM712_SOT23", "SM712", _SOT23),
    Component("D5", "Diode", "1N4148W", "1N4148W", "Diode_SMD:D_SOD-123"),
    Component("D6", "Diode", "BAT54S", "BAT54S", _SOT23),
    Component("D7", "Diode", "BAT54S", "BAT54S", _SOT23),
    Component("D8", "Device", "LED", "green", "LED_SMD:LED_0805_2012Metric"),
    Component("Q1", "Transistor_FET", "AO3400A", "AO3422", _SOT23),
    Component("Q2", "Transistor_FET", "AO3400A", "AO3400A", _SOT23),
    Component("Q3", "Transistor_FET", "AO3400A", "AO3400A", _SOT23),
    Component("BZ1", "Device", "Buzzer", "5V", "Buzzer_Beeper:Buzzer_12x9.5RM7.6"),
    Component("JP1", "Jumper", "Jumper_2_Open", "TERMINATE", _PINS2),
    Component("JP2", "Jumper", "Jumper_2_Open", "BIAS A", _PINS2),
    Component("JP3", "Jumper", "Jumper_2_Open", "BIAS B", _PINS2),
    _terminal("J1", 5, "BUS IN"),
    _terminal("J2", 5, "BUS OUT"),
    _terminal("J3", 2, "VALVE"),
    _terminal("J4", 3, "METER"),
    _terminal("J5", 2, "PT1000"),
    _terminal("J6", 4, "READER"),
    _terminal("J7", 4, "PANEL"),
    Component("J8", "Connector_Generic", "Conn_01x05", "SWD", _PINS5),
    _terminal("J9", 3, "COVER"),
    *_resistors(),
    *_capacitors(),
)  # fmt: skip

NETS: dict[str, str] = {
    "+24V": "J1.1 J2.1 F1.1",
    "GND": "J1.2 J2.2 D1.2 C1.2 C2.2 U1.GND C3.2 U2.GND C4.2 U3.VSS/VSSA C5.2 U4.GND C6.2 U5.VSS U5.A0 U5.A1 U5.A2 "
    "U5.WP C7.2 U6.VSS U6.WDI C8.2 R2.2 C9.2 C10.2 R3.2 Q1.S R5.2 D4.common R9.2 J5.2 C12.2 J4.3 C11.2 D6.1 D7.1 "
    "R17.2 Q2.S R19.2 Q3.S C13.2 C16.2 J6.4 J7.4 C14.2 J8.5 J9.3 D8.K C15.2",
    "+24V_F": "F1.2 D1.1 D2.A J3.1 D3.K R1.1 C1.1",
    "+24V_H": "D2.K C2.1 U1.IN",
    "+5V": "U1.OUT C3.1 U2.VI J4.1 J6.1 J7.1 BZ1.+ D5.K",
    "+3V3": "U2.VO C4.1 U3.VDD/VDDA C5.1 U4.VCC C6.1 U5.VDD C7.1 U6.VDD C8.1 R6.2 JP2.A R10.1 R11.1 R12.1 R14.1 "
    "D6.2 D7.2 R20.1 R22.1 R23.1 J8.1",
    "V_SENSE": "R1.2 R2.1 C9.1 U3.PA4",
    "VALVE_GATE": "Q1.G R3.1 R4.2",
    "VALVE_ON": "R4.1 U3.PA8",
    "VALVE_K": "Q1.D J3.2 D3.A",
    "RS485_DE": "U3.PA1 U4.DE U4.~{RE} R5.1",
    "RS485_TX": "U3.PA2 U4.DI",
    "RS485_RX": "U3.PA3 U4.RO R6.1",
    "RS485_A": "J1.3 J2.3 U4.A D4.A1 JP1.A R8.1",
    "RS485_B": "J1.4 J2.4 U4.B D4.A2 R7.1 JP3.A",
    "RS485_TERM": "JP1.B R7.2",
    "RS485_BIAS_A": "JP2.B R8.2",
    "RS485_BIAS_B": "JP3.B R9.1",
    "SHIELD": "J1.5 J2.5",
    "I2C_SCL": "U3.PB8 U5.SCL U6.SCL R10.2",
    "I2C_SDA": "U3.PB9 U5.SDA U6.SDA R11.2",
    "RTC_AF": "U6.Cap_RC C13.1",
    "V_BACKUP": "U6.VBACKUP C16.1 R28.1",
    "V_BACKUP_SENSE": "R28.2 U3.PA5 C15.1",
    "RTD": "J5.1 R12.2 R13.1 D7.3",
    "RTD_IN": "R13.2 C12.1 U3.PA0",
    "PULSE": "J4.2 R14.2 R15.1 D6.3",
    "PULSE_IN": "R15.2 C11.1 U3.PA6",
    "LAMP_ON": "U3.PB1 R16.1",
    "LAMP_GATE": "R16.2 R17.1 Q2.G",
    "LAMP_K": "Q2.D J7.2",
    "BUZZER_ON": "U3.PB2 R18.1",
    "BUZZER_GATE": "R18.2 R19.1 Q3.G",
    "BUZZER_K": "Q3.D BZ1.- D5.A",
    "BUTTON": "J7.3 R20.2 R21.1",
    "BUTTON_IN": "R21.2 C14.1 U3.PA7",
    "TAMPER": "J9.1 R22.2 R24.1",
    "TAMPER_IN": "R24.2 U3.PB0",
    "KEY": "J9.2 R23.2 R30.1",
    "KEY_IN": "R30.2 U3.PA15",
    "READER_TX": "U3.PB6 R25.1",
    "READER_TXD": "R25.2 J6.2",
    "READER_RX": "U3.PB7 R26.1",
    "READER_RXD": "R26.2 J6.3",
    "HEARTBEAT": "U3.PB5 R27.1",
    "HEARTBEAT_A": "R27.2 D8.A",
    "SWDIO": "U3.PA13 J8.2",
    "SWCLK": "U3.PA14/BOOT0 J8.3",
    "NRST": "U3.~{RST}/PF2 J8.4 C10.1",
}

BOARD = Board(
    components=COMPONENTS,
    nets={name: tuple(pins.split()) for name, pins in NETS.items()},
    unconnected=(
        "U3.OSC32_IN/PC14", "U3.OSC32_OUT/PC15", "U3.PA9", "U3.PA10", "U3.PC6", "U3.PA11_[PA9]", "U3.PA12_[PA10]",
        "U3.PB3", "U3.PB4", "U6.CLK/~{INT}", "U6.~{RST}", "U6.PSW",
    ),
    driven=("+24V_H", "GND", "V_BACKUP"),
)  # fmt: skip
