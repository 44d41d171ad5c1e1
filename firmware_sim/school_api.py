"""The backend's public HTTP API as people's phones and the operator's report use it."""

import asyncio
import time
from typing import Any

import httpx


class Refused(Exception):
    """The backend said no. `code` is the stable refusal code."""

    def __init__(self, status: int, code: str) -> None:
        super().__init__(f"{code} ({status})")
        self.status = status
        self.code = code


class SchoolApi:
    """One school's API. Signs people in once and remembers their tokens; close it after use."""

    def __init__(self, base_url: str, tenant_id: str, passwords: dict[str, str], *, patience_s: float = 0.0) -> None:
        """`patience_s` is how long people try again when nobody answers; everything they ask for may be repeated."""
        self._patience_s = patience_s
        self._client = httpx.AsyncClient(base_url=f"{base_url}/api/v1", timeout=15)
        self._tenant_id = tenant_id
        self._passwords = passwords
        self._tokens: dict[str, str] = {}

    async def close(self) -> None:
        """Close all connections."""
        await self._client.aclose()

    async def _call(self, verb: str, path: str, *, login: str = "", body: dict[str, Any] | None = None) -> Any:
        headers = {"Authorization": f"Bearer {await self._token(login)}"} if login else {}
        answer = await self._answer(verb, path, headers, body)
        if answer.is_error:
            try:
                code = str(answer.json()["code"])
            except (ValueError, KeyError, TypeError):
                code = f"http_{answer.status_code}"
            raise Refused(answer.status_code, code)
        return answer.json()

    async def _answer(self, verb: str, path: str, headers: dict[str, str], body: dict[str, Any] | None) -> Any:
        deadline = time.monotonic() + self._patience_s
        while True:
            try:
                return await self._client.request(verb, path, headers=headers, json=body)
            except httpx.TransportError:
                if time.monotonic() >= deadline:
                    raise
                await asyncio.sleep(0.3)

    async def _token(self, login: str) -> str:
        if login not in self._tokens:
            credentials = {"tenant_id": self._tenant_id, "login": login, "password": self._passwords[login]}
            signed_in = await self._call("POST", "/sign-in", body=credentials)
            self._tokens[login] = str(signed_in["token"])
        return self._tokens[login]

    async def start(
        self, login: str, *, device_id: str, method: str, request_id: str, payer_code: str = ""
    ) -> dict[str, Any]:
        """
        Return the water session that a start made, or the one an earlier start with this id made.

        `payer_code` is the one-time code that the person shows, for those who pay by code.

        :raises Refused: with the refusal's code.
        """
        found: dict[str, Any] = await self._call(
            "POST",
            "/water-sessions",
            login=login,
            body={"device_id": device_id, "method": method, "request_id": request_id}
            | ({"payer_code": payer_code} if payer_code else {}),
        )
        return found

    async def stop(self, login: str, water_session_id: str) -> None:
        """
        Ask for a session's end.

        :raises Refused: when it is not theirs.
        """
        await self._call("POST", f"/water-sessions/{water_session_id}/stop", login=login)

    async def session(self, login: str, water_session_id: str) -> dict[str, Any]:
        """Return one session of this person, as it is now."""
        found: dict[str, Any] = await self._call("GET", f"/water-sessions/{water_session_id}", login=login)
        return found

    async def sessions(self, staff_login: str) -> list[dict[str, Any]]:
        """Return every session of the school: those that ended, oldest first, then those that run."""
        ended: list[dict[str, Any]] = await self._call("GET", "/water-sessions?limit=10000", login=staff_login)
        live: list[dict[str, Any]] = await self._call("GET", "/water-sessions/live", login=staff_login)
        known = {session["water_session_id"] for session in ended}
        return ended + [session for session in live if session["water_session_id"] not in known]

    async def outlets(self, staff_login: str) -> list[dict[str, Any]]:
        """Return every outlet with its state."""
        found: list[dict[str, Any]] = await self._call("GET", "/outlets", login=staff_login)
        return found

    async def ledger_sums(self, finance_login: str) -> dict[str, int]:
        """Return posted and pending sums of debits and credits."""
        found: dict[str, int] = await self._call("GET", "/ledger/sums", login=finance_login)
        return found

    async def reconcile(self, finance_login: str) -> dict[str, Any]:
        """Return a reconciliation run made now, with its breaks."""
        found: dict[str, Any] = await self._call("POST", "/reconciliations", login=finance_login)
        return found

    async def live_sessions(self, staff_login: str) -> list[dict[str, Any]]:
        """Return the sessions that occupy an outlet now."""
        found: list[dict[str, Any]] = await self._call("GET", "/water-sessions/live", login=staff_login)
        return found

    async def code(self, login: str) -> str:
        """Return a fresh student code."""
        return str((await self._call("GET", "/me/code", login=login))["text"])

    async def freeze_cards(self, login: str) -> None:
        """Freeze every card of a person, as one does who has lost it."""
        await self._call("POST", "/me/cards/freeze", login=login)

    async def live(self, login: str) -> dict[str, Any] | None:
        """Return this person's session that has not ended, or None."""
        found: dict[str, Any] | None = (await self._call("GET", "/me/water-session", login=login))["water_session"]
        return found
