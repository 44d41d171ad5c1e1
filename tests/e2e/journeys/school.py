"""A running school for end-to-end tests: real processes, and short words for what people and bad luck do."""

import json
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx

from firmware_sim.demo import passwords, read_device_log
from firmware_sim.plan import TENANT_ID
from firmware_sim.report import Report, build_report
from firmware_sim.stack import Stack, control
from tests.patience import PATIENCE_S

T = TypeVar("T")
ENDED = {"settled", "voided", "refused"}


def eventually(what: str, find: Callable[[], T], *, within_s: float = PATIENCE_S) -> T:
    """Return the first truthy answer; fail when there is none in time. A refused connection counts as no answer yet."""
    deadline = time.monotonic() + within_s
    last: Exception | None = None
    while time.monotonic() < deadline:
        try:
            found = find()
        except (httpx.TransportError, OSError) as error:
            last = error
        else:
            if found:
                return found
        time.sleep(0.05)
    raise AssertionError(f"{what}: not within {within_s} s ({last})")


@dataclass(slots=True)
class School:
    """One stack and its people."""

    stack: Stack
    http: httpx.Client
    tokens: dict[str, str] = field(default_factory=dict)
    used: int = 0

    def token(self, login: str) -> str:
        """Return the login's bearer token, signing in the first time."""
        if login not in self.tokens:
            answer = self.http.post(
                "/api/v1/sign-in",
                json={
                    "tenant_id": TENANT_ID,
                    "login": login,
                    "password": passwords(self.stack.demo)[login],
                },
            )
            answer.raise_for_status()
            self.tokens[login] = answer.json()["token"]
        return self.tokens[login]

    def ask(self, verb: str, path: str, login: str, **body: Any) -> httpx.Response:
        """Return the API's answer to a signed-in person, whatever its status."""
        headers = {"Authorization": f"Bearer {self.token(login)}"}
        return self.http.request(verb, f"/api/v1{path}", headers=headers, json=body or None)

    def get(self, path: str, login: str) -> Any:
        """Return the API's JSON; fail on a refusal."""
        answer = self.ask("GET", path, login)
        assert answer.is_success, answer.text
        return answer.json()

    def start(self, login: str, device_id: str, *, method: str = "wallet", request_id: str = "") -> httpx.Response:
        """Return the answer to a start from the page."""
        request_id = request_id or f"req_{uuid.uuid4().hex}"
        return self.ask("POST", "/water-sessions", login, device_id=device_id, method=method, request_id=request_id)

    def started(self, login: str, device_id: str, *, method: str = "wallet") -> str:
        """Return the id of a session whose water has run for a moment."""
        answer = self.start(login, device_id, method=method)
        assert answer.is_success, answer.text
        session_id = str(answer.json()["water_session_id"])
        self.reaches(login, session_id, {"flowing"})
        eventually("water", lambda: self.device(device_id)["sess_pulses"] > 60)
        return session_id

    def session(self, login: str, session_id: str) -> dict[str, Any]:
        """Return a session as it is now."""
        found: dict[str, Any] = self.get(f"/water-sessions/{session_id}", login)
        return found

    def reaches(self, login: str, session_id: str, states: set[str], *, within_s: float = PATIENCE_S) -> dict[str, Any]:
        """Return the session once it is in one of the states; fail at once when it ended otherwise."""

        last: dict[str, Any] = {}

        def look() -> dict[str, Any] | None:
            session = self.session(login, session_id)
            last.update(session)
            if session["state"] in ENDED - states:
                raise AssertionError(f"{session_id} ended as {session['state']}: {session['refusal']}")
            return session if session["state"] in states else None

        try:
            return eventually(f"{session_id} in {states}", look, within_s=within_s)
        except AssertionError as error:
            raise AssertionError(f"{error}; it is {last}") from error

    def settled(self, login: str, session_id: str, *, within_s: float = PATIENCE_S) -> dict[str, Any]:
        """Return the session once it is settled."""
        return self.reaches(login, session_id, {"settled"}, within_s=within_s)

    def live(self, login: str) -> dict[str, Any] | None:
        """Return a person's running session."""
        found: dict[str, Any] | None = self.get("/me/water-session", login)["water_session"]
        return found

    def stop(self, login: str, session_id: str) -> None:
        """Stop from the page."""
        answer = self.ask("POST", f"/water-sessions/{session_id}/stop", login)
        assert answer.is_success, answer.text

    def device(self, device_id: str) -> dict[str, Any]:
        """Return what the simulated device says of itself."""
        found: dict[str, Any] = control(self.stack.control_port, do="state", device=device_id)["devices"][0]
        return found

    def do(self, what: str, device_id: str | None, **more: Any) -> dict[str, Any]:
        """Do something at a device: tap, code, tap_flow, power_cut, pass, silent, fault."""
        answer = control(self.stack.control_port, do=what, device=device_id, **more)
        assert answer.get("ok", True) is not False, answer
        return answer

    def valve_open(self, device_id: str) -> bool:
        """Return whether water can run there now, by the device's own word."""
        return bool(self.device(device_id).get("valve_open"))

    def card(self, login: str) -> str:
        """Return a person's card number."""
        return str(next(person["card_uid"] for person in self.stack.plan["people"] if person["login"] == login))

    def wallet(self, login: str) -> dict[str, int]:
        """Return posted, held and available sums of a person's wallet."""
        found: dict[str, int] = self.get("/wallet", login)
        return found

    def fresh(self) -> str:
        """Return a student nobody has used yet in this run."""
        self.used += 1
        students = [person["login"] for person in self.stack.plan["people"] if "student" in person["roles"]]
        return str(students[self.used % len(students)])

    def outlet(self, device_id: str) -> dict[str, Any]:
        """Return what the backend knows of an outlet."""
        found: list[dict[str, Any]] = self.get("/outlets", "facilities")
        return next(outlet for outlet in found if outlet["device_id"] == device_id)

    def devices_online(self, within_s: float = PATIENCE_S) -> None:
        """Wait until every outlet is online."""

        def look() -> bool:
            outlets = self.get("/outlets", "facilities")
            return bool(outlets) and all(outlet["is_online"] for outlet in outlets)

        eventually("all outlets online", look, within_s=within_s)

    def restart(self, name: str) -> None:
        """Start a killed part again."""
        self.stack.parts[name].start()

    def report(self, *, within_s: float = PATIENCE_S) -> Report:
        """Return the report once it has no violation; the last one, with its violations, when time is up."""
        deadline = time.monotonic() + within_s
        while True:
            run = self.ask("POST", "/reconciliations", "finance")
            assert run.is_success, run.text
            report = build_report(
                seed=self.stack.seed,
                plan=self.stack.plan,
                device_log=read_device_log(self.stack.device_log),
                sessions=self.all_sessions(),
                ledger=self.get("/ledger/sums", "finance"),
                breaks=len(run.json()["breaks"]),
            )
            if not report.violations or time.monotonic() > deadline:
                return report
            time.sleep(0.3)

    def all_sessions(self) -> list[dict[str, Any]]:
        """Return every session of the school."""
        ended: list[dict[str, Any]] = self.get("/water-sessions?limit=10000", "facilities")
        known = {session["water_session_id"] for session in ended}
        live = self.get("/water-sessions/live", "facilities")
        return ended + [session for session in live if session["water_session_id"] not in known]


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Return the JSON lines of a file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []
