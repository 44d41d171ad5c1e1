"""Places, gateways and devices: what hangs where, and what is known of its health, with evidence and age."""
