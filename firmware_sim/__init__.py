"""Stands in for the devices: the same register maps, a codec of its own."""
