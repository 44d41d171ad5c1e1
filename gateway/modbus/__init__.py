"""Field bus: the one door to pymodbus, and the codec that turns map and registers into values."""
