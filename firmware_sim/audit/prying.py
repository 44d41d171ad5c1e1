"""People of one school who look for what is the other's, through every door of the API that is open to them."""

import time
from typing import Any

import httpx

from firmware_sim import neighbor as neighbors
from firmware_sim.demo import passwords
from firmware_sim.plan import TENANT_ID
from firmware_sim.school_api import Refused, SchoolApi
from firmware_sim.stack import Stack

_STRANGER, _NOBODY = "ws_00000000000000000000000000", "dev_nowhere"


class Prying:
    """Both schools' people; each asks for its own, and the neighbor's for what is the first school's."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._own = SchoolApi(stack.base_url, TENANT_ID, passwords(stack.demo))
        self._next = SchoolApi(stack.base_url, neighbors.TENANT_ID, passwords(stack.neighbor_demo))
        self.looks = 0

    @property
    def neighbor(self) -> SchoolApi:
        """Return the API as the people next door use it."""
        return self._next

    async def close(self) -> None:
        """Close all connections."""
        await self._own.close()
        await self._next.close()

    async def look(self) -> list[str]:
        """Return what one school could see or do of the other; nothing while the server is away."""
        try:
            found = await self._lists() + await self._strangers()
        except (httpx.TransportError, Refused):
            return []
        self.looks += 1
        return found

    async def _lists(self) -> list[str]:
        """Ask both schools' staff for all outlets and sessions."""
        found = []
        for api, tenant, plan in ((self._own, TENANT_ID, self._stack.plan),
                                  (self._next, neighbors.TENANT_ID, self._stack.neighbor)):  # fmt: skip
            assert plan is not None
            devices = {raw["device_id"] for raw in plan["devices"]}
            seen = [*await api.outlets("facilities"), *await api.sessions("facilities")]
            for device in sorted({row["device_id"] for row in seen} - devices):
                found.append(f"tenants_apart: staff of {tenant} are shown {device}")
            for row in seen:
                if row.get("tenant_id", tenant) != tenant:
                    found.append(f"tenants_apart: staff of {tenant} are shown a row of {row['tenant_id']}")
        return found

    async def _strangers(self) -> list[str]:
        """Let the neighbor's people ask for a session and an outlet of the first school, and for ones there are not."""
        found = []
        sessions = await self._own.sessions("facilities")
        device = next(raw["device_id"] for raw in self._stack.plan["devices"] if raw["kind"] == "outlet")
        for login in ("s001", "facilities"):
            if sessions:
                theirs = sessions[-1]["water_session_id"]
                found += self._same(
                    f"{login} next door reads {theirs}",
                    await self._said(self._next.session(login, theirs)),
                    await self._said(self._next.session(login, _STRANGER)),
                )
                found += self._same(
                    f"{login} next door stops {theirs}",
                    await self._said(self._next.stop(login, theirs)),
                    await self._said(self._next.stop(login, _STRANGER)),
                )
            number = time.monotonic_ns()
            found += self._same(
                f"{login} next door starts {device}",
                await self._said(self._start(login, device, f"req_pry_{number}")),
                await self._said(self._start(login, _NOBODY, f"req_pry_{number + 1}")),
            )
        return found

    async def _start(self, login: str, device: str, request_id: str) -> Any:
        return await self._next.start(login, device_id=device, method="wallet", request_id=request_id)

    async def _said(self, asked: Any) -> str:
        """Return the refusal of something that is asked for, or that it was granted."""
        try:
            await asked
        except Refused as refusal:
            return f"{refusal.status} {refusal.code}"
        return "granted"

    def _same(self, what: str, theirs: str, nobodys: str) -> list[str]:
        """Return a finding unless what is another's is answered as what is not there."""
        if theirs == nobodys and theirs != "granted":
            return []
        return [f"tenants_apart: {what}: {theirs}; what is not there is {nobodys}"]
