"""Whether a 24 V feed can carry its outlets: `budget` is the arithmetic, `python -m hardware.power` says why not."""
