"""
An outlet that is only glanced at as long as nothing has changed.

A cycle of `OutletWatch` is what leads to something: it drains, renews, closes, tells. Most cycles lead to nothing. So
between two of them the outlet is glanced at: what is as it was counts as an answer, and is sampled while water runs.
Whatever else a glance finds is news, and is handed to a cycle at once.
"""

from operator import attrgetter

from gateway.contract.faults import FaultCode
from gateway.contract.units import volume_ml
from gateway.devices.ports import Flags, Glimpse, OutletStatus
from gateway.devices.water_outlet import WaterOutlet
from gateway.modbus.bus import Priority
from gateway.modbus.glances import Glance, Sight
from gateway.sessions.cutoff import cutoff, grant_lives, renewal_due
from gateway.sessions.machine import State
from gateway.sessions.watch import OutletWatch
from gateway.uplink.state import SessionMemory

#: in the spare time of a line flags are read so many times as often as they have to be, and never more often than this
SPARE_TIMES, SPARE_PERIOD_S_MIN = 5, 0.2
#: looks come due by a clock that ticks: one that is due within this share of its period is due
_DUE = 0.9
#: flags that call for a cycle whatever the last one did
_CALLING = frozenset({"log_pending", "mbx_pending"})
#: what of a status does not move while water runs
_steady_of = attrgetter(
    "state", "close_reason", "faults", "session_u32", "log_head", "mail_sequence", "boot_id", "valve"
)


class GlancingOutlet(OutletWatch):
    """Adds glances to the watch of an outlet; without `glance_with` it has cycles only."""

    _glance: Glance | None = None
    #: what a glance found that calls for a cycle
    _found: Flags | OutletStatus | None = None

    def glance_with(self, glance: Glance, outlet: WaterOutlet) -> None:
        """Glance at an outlet from now on."""
        self._glance, self._profile = glance, outlet
        self._flags_sight = outlet.flags_sight(self._see_flags)
        self._status_sight = outlet.status_sight(self._see_status)
        self._steady: tuple[int, ...] = ()
        self._last_flags = Flags(names=frozenset())
        self._flagged_at = self._asked_at = -1e9
        self._health = self._in.registry.device(self.device_id)

    # -- instead of cycles

    async def rest(self) -> None:
        """
        Return when a cycle is due again.

        :raises BusError: if a glance failed.
        """
        if self._glance is None or not self._may_glance():
            await super().rest()
            return
        self._steady = ()
        await self._sleep_until(self._glance.start(self._glance_period_s(), self._choose))

    def _may_glance(self) -> bool:
        """Return whether the last cycle left nothing that is to be done or tried again."""
        status = self._status
        if status is None or self.identity is None or self.is_broken or self.stopping:
            return False
        if self._closing() or self._closed_since is not None:
            return False
        if list(self.sessions) != ([status.session_u32] if status.is_open else []):
            return False
        # the status of an idle outlet does not say whether its newest mail has been taken: its flags do
        flags = self._profile.flags_of(status) if self.sessions else self._last_flags
        if not _CALLING.isdisjoint(flags.names):
            return False
        return self._present == {FaultCode(fault) for fault in self.memory.faults}

    def _glance_period_s(self) -> float:
        if self.sessions or not self._is_slow:
            return self.period_s()
        return max(SPARE_PERIOD_S_MIN, self._period_s / SPARE_TIMES)

    def _choose(self) -> tuple[Sight, Priority] | None:
        """Return what to glance at now; None when a cycle must look."""
        now = self._now()
        if self.sessions:
            if now - max(self._looked_at, self._asked_at) < _DUE * self._hot_period_s:
                return self._flags_sight, Priority.FLAGS
            self._asked_at = now
            return self._status_sight, Priority.HOT
        if now - self._looked_at >= self._idle_period_s or self._is_clock_due():
            return None
        if self._is_slow and now - self._flagged_at < _DUE * self._period_s:
            return self._flags_sight, Priority.SPARE
        self._flagged_at = now
        return self._flags_sight, Priority.FLAGS

    # -- what a glance finds

    def _see_flags(self, data: bytes) -> bool:
        """Return whether flags call for a cycle."""
        if self._lock.locked():
            return True  # an order is under way: what was read may already be otherwise
        flags = self._profile.flags_in(data)
        is_steady = ("valve_open" in flags) == bool(self.sessions) and not self._fault_changed(flags)
        if is_steady and _CALLING.isdisjoint(flags.names):
            self._note_answer()
            return False
        self._found = flags
        return True

    def _see_status(self, data: bytes) -> bool:
        """Return whether a status calls for a cycle."""
        glimpse = self._profile.glimpse_in(data)
        session = next(iter(self.sessions.values()), None)
        if self._lock.locked() or glimpse is None or session is None:
            return True
        if not self._is_steady(glimpse, data) or self._is_due(session, glimpse):
            self._found = self._profile.status_in(data)
            return True
        self._looked_at = self._now()
        self._health.register_pulses = glimpse.total_pulses
        self._health.temperature_decidegc = glimpse.temperature_decidegc
        self._note_answer()
        self._sample(session, glimpse)
        return False

    def _is_steady(self, glimpse: Glimpse, data: bytes) -> bool:
        """Return whether all that does not move is as the last cycle left it."""
        if glimpse.steady == self._steady:
            return True
        if _steady_of(self._profile.status_in(data)) != _steady_of(self._status):
            return False
        self._steady = glimpse.steady
        return True

    def _is_due(self, session: SessionMemory, glimpse: Glimpse) -> bool:
        """Return whether a session wants more than a sample: another state, its end, a renewal of the lease."""
        assert self._status is not None
        flows = self._status.state != "PAUSED" and glimpse.flow_ml_per_min > 0
        k_factor = session.k_factor_pulses_per_m3
        if session.state != (State.FLOWING if flows else State.PAUSED) or k_factor <= 0:
            return True
        now, elapsed_s = self._now(), glimpse.session_elapsed_s
        limits = {"volume_limit_ml": session.volume_limit_ml, "duration_limit_s": session.duration_limit_s}
        volume = volume_ml(pulses=glimpse.session_pulses, k_factor_pulses_per_m3=k_factor)
        if cutoff(volume_ml=volume, elapsed_s=max(elapsed_s, int(now - self._begun_at)), **limits) is not None:
            return True
        is_renewal_due = renewal_due(since_renewal_s=now - self._renewed_at, lease_s=session.lease_s)
        return is_renewal_due and grant_lives(elapsed_s=elapsed_s, volume_ml=volume, **limits)

    def _note_answer(self) -> None:
        self._failures = 0
        self._health.last_answer_at_ms = self._in.clock()

    # -- the cycle that a glance called for

    async def connect(self) -> None:
        """Bring the outlet up, and forget what was seen of it before."""
        self._found = None
        await super().connect()

    async def look(self, flags: Flags) -> None:
        """Do what the flags call for, and remember them."""
        self._last_flags = flags
        await super().look(flags)

    async def flags(self) -> Flags:
        """Return the flags a glance found, or those of now."""
        found, self._found = self._found, None
        if isinstance(found, Flags):
            self._seen = None
            return found
        if found is not None and not self._lock.locked():
            async with self._lock:
                self._seen = await self._take_in(found)
            flags = self._outlet.flags_of(found)
            if flags is not None:
                return flags
        return await super().flags()
