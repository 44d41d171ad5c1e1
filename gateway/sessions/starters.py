"""
Which credential started a session, as far as an outlet's own reader saw it: while nobody can be asked, the same card
closes what it opened.

Opening needs the backend's word, closing does not: it is always safe. A number is kept only as a digest with a key that
dies with the process. What shows something else each time, a dynamic code or chip, cannot be recognized; a button stops
whoever runs, as it does when the backend is asked. A start that came to nothing may leave its card to the next one who
starts within a minute from elsewhere: that card can close, and nothing else.
"""

import hashlib
import hmac
from collections import OrderedDict
from dataclasses import dataclass

from gateway.contract.messages import CredentialKind, CredentialPresented, Decision

QUESTIONS_MAX = 8
#: an opening comes so soon after the tap that asked for it, or after the hand-over it waits for
START_S_MAX = 45.0
#: answers of the backend after which an outlet is opened for whoever asked
_STARTS = frozenset({"ok", "handover"})


@dataclass(frozen=True, slots=True)
class _Shown:
    digest: bytes
    at_s: float


class Starters:
    """The credentials of one outlet. Times are of a clock that never jumps."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._questions: OrderedDict[str, _Shown] = OrderedDict()
        #: whose start was granted, and is still to come
        self._granted: _Shown | None = None
        self._of: dict[int, bytes] = {}
        self._began_s: dict[int, float] = {}

    def _digest(self, presented: CredentialPresented) -> bytes:
        shown = f"{presented.kind.value}:{presented.value}".encode()
        return hmac.new(self._key, shown, hashlib.sha256).digest()

    def asked(self, presented: CredentialPresented, now_s: float) -> None:
        """Note what was shown when the backend was asked."""
        self._questions[presented.request_id] = _Shown(self._digest(presented), now_s)
        while len(self._questions) > QUESTIONS_MAX:
            self._questions.popitem(last=False)

    def decided(self, decision: Decision) -> None:
        """Note whose start was granted; the opening comes before or after this answer."""
        shown = self._questions.pop(decision.request_id, None)
        if shown is None or not decision.granted or decision.reason not in _STARTS:
            return
        since = [u32 for u32, began_s in self._began_s.items() if began_s >= shown.at_s and u32 not in self._of]
        if decision.reason == "ok" and since:
            self._of[since[-1]] = shown.digest
        else:
            self._granted = shown

    def opened(self, session_u32: int, now_s: float) -> None:
        """Note a session that begins."""
        self._began_s = {session_u32: now_s}
        self._of.clear()
        if self._granted is not None and now_s - self._granted.at_s <= START_S_MAX:
            self._of[session_u32] = self._granted.digest
        self._granted = None

    def may_stop(self, session_u32: int, presented: CredentialPresented) -> bool:
        """Return whether what is shown now may close a session without asking."""
        if presented.kind is CredentialKind.BUTTON:
            return True
        started = self._of.get(session_u32)
        return started is not None and hmac.compare_digest(started, self._digest(presented))
