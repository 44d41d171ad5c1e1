"""Static files under an address that names their content, so that a browser may keep them forever."""

import hashlib
from importlib.resources import as_file, files
from pathlib import Path

from starlette.staticfiles import StaticFiles
from starlette.types import Message, Receive, Scope, Send


def static_folder() -> Path:
    """Return the folder of styles and scripts as installed."""
    with as_file(files("backend.web").joinpath("static")) as folder:
        return folder


def digest(folder: Path) -> str:
    """Return 12 hex digits over names and contents of all files in a folder."""
    state = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            state.update(str(path.relative_to(folder)).encode() + b"\0" + path.read_bytes())
    return state.hexdigest()[:12]


class ImmutableFiles(StaticFiles):
    """Serves files with a cache lifetime of a year: their address changes when they do."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one file."""

        async def send_immutable(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] in (200, 304):
                message["headers"].append((b"cache-control", b"public, max-age=31536000, immutable"))
            await send(message)

        await super().__call__(scope, receive, send_immutable)
