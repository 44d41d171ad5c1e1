"""What one piece of work can cause and its neighbors must survive."""

from sqlalchemy.exc import DataError, IntegrityError

from backend.errors import BackendError

#: A lost database is not among it: then nothing else would work either.
POISON = (
    BackendError,
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    TypeError,
    ValueError,
    DataError,
    IntegrityError,
)
