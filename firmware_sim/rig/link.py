"""The rig's way to the simulator's control port: one JSON line out, one back."""

import asyncio
import json
from typing import Any

_WITHIN_S = 5.0
_LINE_BYTES_MAX = 4 * 1024 * 1024


class SimulatorGone(Exception):
    """The simulator does not answer."""


class ControlLink:
    """Asks a control port on this machine."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def ask(self, **request: Any) -> dict[str, Any]:
        """
        Return the simulator's answer.

        :raises SimulatorGone: when there is none in time.
        """
        try:
            async with asyncio.timeout(_WITHIN_S):
                reader, writer = await asyncio.open_connection("127.0.0.1", self._port, limit=_LINE_BYTES_MAX)
                try:
                    writer.write(json.dumps(request).encode() + b"\n")
                    await writer.drain()
                    answer: dict[str, Any] = json.loads(await reader.readline())
                finally:
                    writer.close()
        except (OSError, TimeoutError, ValueError) as error:
            raise SimulatorGone(str(error)) from error
        return answer
