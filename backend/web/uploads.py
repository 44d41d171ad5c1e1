"""
Forms that bring a file. Their bodies are counted while they come in, and read only for whoever may send one.

What other forms may hold is in `intake`; its limit is too small for a provider's daily file, and its check for text
means nothing for a packed one.
"""

from dataclasses import dataclass

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException
from starlette.requests import Request

from backend.web.intake import Malformed
from backend.web.signed_in import Form, proven_form

_FIELDS_MAX = 20
_NAME_CHARS_MAX = 240


@dataclass(frozen=True, slots=True)
class Upload:
    """A form of ours with the file it brought; an empty name means that none was chosen."""

    form: Form
    name: str
    data: bytes


async def upload_of(request: Request) -> Upload:
    """
    Return a form with its file.

    :raises Malformed: if it is none.
    :raises backend.web.intake.TooLarge: if it holds more than its address takes.
    :raises backend.web.security.FormRefused: if it did not come from a page of ours in this browser session.
    """
    try:
        body = await request.form(max_files=1, max_fields=_FIELDS_MAX)
    except (UnicodeError, MultiPartException) as error:
        raise Malformed("the form is not readable") from error
    try:
        fields = [(name, value) for name, value in body.multi_items() if isinstance(value, str)]
        form = proven_form(request, fields)
        files = [value for _, value in body.multi_items() if isinstance(value, UploadFile)]
        data = await files[0].read() if files else b""
        name = (files[0].filename or "") if files else ""
    finally:
        await body.close()
    plain = "".join(letter for letter in name if letter.isprintable()).replace("\\", "/").rpartition("/")[2]
    return Upload(form, plain[:_NAME_CHARS_MAX], data)
