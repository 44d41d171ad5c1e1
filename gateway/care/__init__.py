"""A gateway's life beside its devices: certificate, remote configuration, what it says of itself on the box."""
