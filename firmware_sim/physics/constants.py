"""
Every number of the model, with its source. "Choice" says that nobody measured it: it is a value we picked.

Units last: lpm liters a minute, degc degrees Celsius, kpa kilopascals, l liters, s seconds.
"""

# -- people: when and how long

#: showers a person a day; student residences 7.5-7.75 a week (Appl. Sci. 2024, 14, 7559 §3.1.1), households 0.63-0.72
#: (KWR pysimdeum, REUWS 1999)
SHOWERS_PER_PERSON_DAY = 1.0
#: shares, centers and spreads in hours of the daily curve, the rest uniform; ~18 % in the morning and up to 45 % in the
#: evening are measured (Energies 2025, 18, 4578); the weight of the evening here is a choice: dormitories open late
DAY_PEAKS = ((0.18, 7.2, 0.7), (0.10, 12.7, 0.8), (0.62, 21.4, 1.3))
#: hours of hot water; choice
SERVICE_HOURS = (6.0, 24.0)
#: more before weekends (Otrubina et al., ERIS 5 (2025) 015022); the factor is a choice
BEFORE_WEEKEND_FACTOR, BEFORE_WEEKEND_DAYS = 1.1, (3, 4)
#: households draw 77 % in August (Energies 2025, 18, 4578); a dormitory in the holidays is nearly empty: choice
AUGUST_FACTOR = 0.1
#: minutes of a shower, lognormal: mean of adults (KWR pysimdeum NL: chi-square 9.3), spread chosen to match its 95th
DURATION_MEAN_S, DURATION_SIGMA = 558.0, 0.5
DURATION_MIN_S, DURATION_MAX_S = 20.0, 3_600.0
#: who stops the water while soaping, and for how long; choice
PAUSE_SHARE, PAUSES_MAX = 0.35, 2
PAUSE_MEDIAN_S, PAUSE_SIGMA = 60.0, 0.5

# -- flow

#: 7.4-9.2 L/min measured (KWR pysimdeum, REUWS, Appl. Sci. 2024, 14, 7559); spread and bounds are a choice
DEMAND_LPM_MEDIAN, DEMAND_SIGMA = 8.5, 0.25
DEMAND_LPM_MIN, DEMAND_LPM_MAX = 3.0, 15.0
#: an outlet gives no more, whatever the pressure; choice
RESTRICTOR_LPM = 15.0
#: at the foot of a riser; choice, usual for booster pumps
PRESSURE_KPA = 300.0
PRESSURE_KPA_MIN = 40.0
#: Hazen-Williams: 30 m of DN 50 with C = 130 lose 58 kPa at 340 L/min, hence kPa per (L/min)^1.852
RISER_LOSS_KPA, RISER_EXPONENT = 0.0012, 1.852
#: share of the way to the new pressure that one step goes; choice
PRESSURE_RELAXATION = 0.5
HEAD_KPA_PER_M = 9.8
FLOOR_HEIGHT_M = 3.0
#: valve travel: solenoid 0.3 s, ball 5 s (makers' sheets)
SOLENOID_TRAVEL_S, BALL_TRAVEL_S = 0.3, 5.0
#: a riser's cold side loses this share of its pressure when a cistern fills, and recovers so fast; choice
FLUSH_DIP, FLUSH_RECOVERY_S = 0.35, 5.0

# -- warmth

#: 35.5-40.4 °C measured (Energies 2021, 14, 3314)
MIXED_DEGC = 40.0
#: stored at 60 °C at least, 50 °C on its way back (HSG274); the point at the mixers between them is a choice
HOT_DEGC = 55.0
#: cold water 5-25 °C over the year, coldest at the end of January; choice
COLD_DEGC_MEAN, COLD_DEGC_SWING, COLDEST_DAY = 15.0, 10.0, 30
AMBIENT_DEGC = 20.0
#: cold water between loop and outlet, 0.5-4 L: 3-20 m of pipe of 14 mm; choice
DEAD_LEG_L = (0.5, 4.0)
WARM_UP_S, COOL_DOWN_S = 4.0, 900.0
#: below this above ambient, what stands in the pipe counts as cold again; choice
STALE_K = 5.0
#: 4 m³ and 45 kW of electricity for 400 beds; choice that covers the evening (sanity figures in the tests)
TANK_M3_PER_BED, HEAT_PUMP_KW_PER_BED = 4.0 / 400, 45.0 / 400
#: the smallest plant anybody builds, 1 m³; choice
TANK_BEDS_MIN = 100.0
#: line through usual air-to-water heat pumps; choice
COP_AT, COP_PER_AMBIENT_K, COP_PER_TANK_K, COP_MIN, COP_MAX = 3.8, 0.06, 0.05, 1.6, 5.5
TANK_ON_DEGC, TANK_OFF_DEGC = 52.0, 58.0
#: 100 mm of foam around 4 m³; choice
TANK_LOSS_KW_PER_K = 0.01
WATER_KJ_PER_L_K = 4.18

# -- meter: ISO 4064-1 / OIML R49, class 2, Q3 2.5 m³/h, R80

Q1_LPM, Q2_LPM, Q3_LPM, Q4_LPM = 0.52, 0.83, 41.67, 52.08
#: largest permissible error below Q2, and above it in hot water
MPE_LOW, MPE_HIGH = 0.05, 0.03
#: how meters of one batch differ: mean and spread; choice within the class
ERROR_LOW_MEAN, ERROR_LOW_SIGMA, ERROR_HIGH_SIGMA = -0.01, 0.015, 0.007
#: drift a year; choice. In service OIML R49 lets a meter err twice as much as when new
DRIFT_PER_YEAR, MPE_IN_SERVICE_FACTOR = 0.002, 2.0
#: Hall sensors: 450 pulses a liter, ±1 % (FS200A); pulses per cubic meter as an integer
K_FACTOR_PULSES_PER_M3, K_FACTOR_SPREAD = 450_000, 0.01
#: a pulse doubled by contact bounce, or missed; choice
BOUNCE_SHARE, MISS_SHARE = 1e-6, 1e-6
#: air in the water shakes the flow by this much; choice
AIR_NOISE = 0.3

# -- what breaks; all choices: they set how often, tests and scenarios set where

LEAK_SHARE, LEAK_LPM_MEDIAN, LEAK_SIGMA = 0.01, 0.05, 1.0
BURSTS_PER_DAY, BURST_LPM = 1e-5, 40.0
STUCK_OPEN_PER_CYCLE, STUCK_CLOSED_PER_CYCLE = 1e-5, 3e-5
HALF_OPEN = 0.5
TOO_HOT_DEGC = 55.0
FREEZING_DEGC = 0.0

# -- power and clocks; choices

CUTS_PER_MONTH, CUT_S = 0.2, (1.0, 600.0)
CLOCK_DRIFT_PPM_SIGMA = 20.0
