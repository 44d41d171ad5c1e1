"""
The language spoken over MQTT between a gateway and the backend.

Commands go down, events come up, nothing else crosses. Imports nothing of ours; the only part of the gateway that
others import. Fields are only ever added, with defaults: the previous version still parses (the edge is upgraded last).
"""

CONTRACT_VERSION = "1.0"
