"""Meter registers: readings as evidence, usage between two of them, consumption by place and hour."""
