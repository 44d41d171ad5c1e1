"""Why water stopped: the device's word turned into the contract's, and back."""

from gateway.contract.events import StopReason

#: The device's close reasons (enum `close_reason` of `hardware/register_maps/chw.hwo1.toml`), one to one.
BY_DEVICE: dict[str, StopReason] = {
    "VOLUME_LIMIT": StopReason.VOLUME_LIMIT,
    "TIME_LIMIT": StopReason.TIME_LIMIT,
    "LEASE": StopReason.LEASE,
    "COMM_WATCHDOG": StopReason.COMM_WATCHDOG,
    "NO_FLOW": StopReason.NO_FLOW,
    "SCALD": StopReason.SCALD,
    "LEAK": StopReason.FAULT,
    "POWER_LOSS": StopReason.POWER_LOSS,
    "REBOOT": StopReason.REBOOT,
    "REMOTE": StopReason.REMOTE,
    "USER": StopReason.USER,
    "FAULT": StopReason.FAULT,
    "HANDOVER": StopReason.HANDOVER,
    "CARD": StopReason.CARD,
    "REVOKED": StopReason.REVOKED,
}

#: What the device writes when it closes because it was told to.
_TOLD = frozenset({StopReason.REMOTE, StopReason.HANDOVER, StopReason.CARD, StopReason.REVOKED})


def stop_reason(*, device_reason: str, asked: StopReason | None) -> StopReason:
    """
    Return the reason a record will carry.

    When the device closed because it was told to, the reason is why we told it; in every other case the device was
    first and its own word stands. An unknown word is a fault.
    """
    reason = BY_DEVICE.get(device_reason, StopReason.FAULT)
    return asked if asked is not None and reason in _TOLD else reason


def asked_reason(text: str) -> StopReason:
    """Return the reason a CloseValve gives; a word of a later contract version counts as remote."""
    try:
        return StopReason(text)
    except ValueError:
        return StopReason.REMOTE


def word_for_device(reason: StopReason) -> str:
    """Return what to have the device write into its log; a reason it has no word for is REMOTE there."""
    return reason.name if reason in _TOLD else "REMOTE"
