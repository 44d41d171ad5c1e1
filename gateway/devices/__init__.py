"""Devices behind ports that speak in units: outlets, access readers, and what is known of their health."""
