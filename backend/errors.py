"""Refusals: expected, coded, told to the user in words they can act on."""


class BackendError(Exception):
    """
    A refusal. Subclasses are defined above the function that raises them and set a code and an HTTP status.

    The code is stable and machine-readable; the web layer turns it into words in the user's language
    (`backend/web/refusals.py`). `details` holds figures for those words and never a secret.
    """

    code = "refused"
    status = 400

    def __init__(self, message: str = "", **details: str | int | None) -> None:
        super().__init__(message or (self.__doc__ or self.code).strip().splitlines()[0])
        self.details = details


class NotFound(BackendError):
    """Nothing of that name exists for you."""

    code = "not_found"
    status = 404


class Conflict(BackendError):
    """The thing changed in the meantime."""

    code = "conflict"
    status = 409


class Forbidden(BackendError):
    """Your role does not allow this."""

    code = "forbidden"
    status = 403
