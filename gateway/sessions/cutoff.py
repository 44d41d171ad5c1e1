"""
The gateway's own limits, a little above the device's: they act only when the device did not.

A device closes at its volume limit within about 0.1 L and at its time limit within its closing time, so what is still
running beyond these margins is a device that failed to stop.
"""

from gateway.contract.events import StopReason

VOLUME_MARGIN_ML = 300
TIME_MARGIN_S = 5


def cutoff(*, volume_ml: int, elapsed_s: int, volume_limit_ml: int, duration_limit_s: int) -> StopReason | None:
    """Return why the gateway must close an open outlet now, or None while it is within the limits and their margins."""
    if volume_ml >= volume_limit_ml + VOLUME_MARGIN_ML:
        return StopReason.VOLUME_LIMIT
    if elapsed_s >= duration_limit_s + TIME_MARGIN_S:
        return StopReason.TIME_LIMIT
    return None


def grant_lives(*, elapsed_s: int, volume_ml: int, volume_limit_ml: int, duration_limit_s: int) -> bool:
    """Return whether the lease may be renewed: the grant has both litres and seconds left."""
    return elapsed_s < duration_limit_s and volume_ml < volume_limit_ml


def renewal_due(*, since_renewal_s: float, lease_s: int) -> bool:
    """Return whether a third of the lease has passed since it was last renewed."""
    return since_renewal_s >= lease_s / 3
