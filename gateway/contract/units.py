"""Units that cross the wire: pulses are the truth, millilitres are derived from them."""


class InvalidKFactor(ValueError):
    """The K-factor is not positive, so pulses mean nothing."""


def volume_ml(*, pulses: int, k_factor_pulses_per_m3: int) -> int:
    """
    Return the volume for a pulse count, in millilitres, rounded down.

    One pulse per litre is 1,000 pulses per cubic metre; HWO-1 register 41 holds exactly this figure.

    :raises InvalidKFactor: if the K-factor is not positive.
    """
    if k_factor_pulses_per_m3 <= 0:
        raise InvalidKFactor(f"K-factor must be positive, not {k_factor_pulses_per_m3}")
    return pulses * 1_000_000 // k_factor_pulses_per_m3
