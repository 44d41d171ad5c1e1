"""Each invariant broken on purpose, one step at a time: the step that breaks it is named, and sound ones are not."""

import zlib
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from firmware_sim.audit.auditor import Auditor
from firmware_sim.audit.rows import Page
from firmware_sim.report import charge_minor
from firmware_sim.scenarios.uplink import Passing
from gateway.contract.commands import Command, OpenValve
from gateway.contract.events import JournalRecord, StopReason, WaterSessionEnded
from gateway.contract.messages import Acknowledged, CommandMessage, EventBatch, MeterSampled, TelemetryBatch
from gateway.contract.signing import sign

KEY, OTHER_KEY = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
TARIFF = {"price_minor_per_m3": 3_200, "fixed_minor": 0, "minimum_minor": 0, "free_below_ml": 100}
PLAN = {"devices": [{"device_id": "dev_1", "gateway_id": "gw_1", "map_id": "chw.hwo1",
                     "k_factor_pulses_per_m3": 450_000}], "tariffs": [TARIFF]}  # fmt: skip
NEXT = {"devices": [{**PLAN["devices"][0], "device_id": "dev_next", "gateway_id": "gw_next"}], "tariffs": [TARIFF]}
TAG = zlib.crc32(b"cmd_1")
PULSES = 1_350
CHARGE = charge_minor(pulses=PULSES, k_factor_pulses_per_m3=450_000, tariff=TARIFF)
ACCOUNT = {"normal_side": "credit", "may_go_negative": False, "credit_limit_minor": 0}
FREE = {**ACCOUNT, "may_go_negative": True}
NOTHING = {"debits_pending": 0, "debits_posted": 0, "credits_pending": 0, "credits_posted": 0}
TRANSFERS: list[dict[str, Any]] = [
    {"number": 1, "transfer_id": "tr_1", "kind": "single", "debit_account_id": "equity", "credit_account_id": "wallet",
     "amount_minor": 500, "pending_id": None},
    {"number": 2, "transfer_id": "hold_1", "kind": "pending", "debit_account_id": "wallet",
     "credit_account_id": "clearing", "amount_minor": 300, "pending_id": None},
    {"number": 3, "transfer_id": "cap_1", "kind": "post", "debit_account_id": "wallet",
     "credit_account_id": "clearing", "amount_minor": CHARGE, "pending_id": "hold_1"},
]  # fmt: skip
ACCOUNTS: dict[str, dict[str, Any]] = {
    "equity": {**FREE, **NOTHING, "debits_posted": 500},
    "wallet": {**ACCOUNT, **NOTHING, "credits_posted": 500, "debits_posted": CHARGE},
    "clearing": {**ACCOUNT, **NOTHING, "credits_posted": CHARGE},
}
SESSION: dict[str, Any] = {
    "tenant_id": "gxu", "water_session_id": "ws_1", "device_id": "dev_1", "gateway_id": "gw_1", "state": "settled",
    "method": "wallet", "auth_id": "auth_1", "hold_minor": 300, "captured_minor": CHARGE, "overrun_minor": 0,
    "charge_minor": CHARGE, "opening_pulses": 0, "closing_pulses": PULSES, "evidence": "device_log",
}  # fmt: skip
AUTHORIZATION: dict[str, Any] = {
    "tenant_id": "gxu", "auth_id": "auth_1", "water_session_id": "ws_1", "method": "wallet", "amount_minor": 300,
    "captured_minor": CHARGE, "state": "captured",
}  # fmt: skip
CURSOR = {"tenant_id": "gxu", "gateway_id": "gw_1", "epoch": "e1", "acked_through": 4}
ORDER: dict[str, Any] = {"order_no": "n1", "brand": "alipay", "status": "taken", "times_taken": 1, "kind": "charge",
                         "amount_minor": 300, "captured_minor": 0, "refunded_minor": 0}  # fmt: skip
FACTS = {"session": 7, "tag": TAG}
START = {"at_ms": 10_000, "step": "START", "where": "dev_1", **FACTS, "count": 0, "total": 0}
OPEN = {"at_ms": 10_000, "step": "valve_open", "where": "dev_1", **FACTS}
SHUT = {"at_ms": 20_000, "step": "valve_shut", "where": "dev_1", **FACTS, "volume_ml": 3_000, "limit_ml": 4_000,
        "open_ms": 10_000, "limit_ms": 60_000, "since_lease_ms": 5_000, "lease_ms": 60_000}  # fmt: skip
END = {"at_ms": 21_000, "step": "END", "where": "dev_1", **FACTS, "count": PULSES, "total": PULSES}
WORLD = [START, OPEN, SHUT, END]


def command(*, key: Ed25519PrivateKey = KEY, **changes: Any) -> bytes:
    body = OpenValve(water_session_id="ws_1", volume_limit_ml=4_000, duration_limit_s=60)
    given = {"cmd_id": "cmd_1", "tenant": "gxu", "gateway": "gw_1", "device": "dev_1", "sequence": 1,
             "issued_at_ms": 9_000, "not_after_ms": 12_000, "body": body, **changes}  # fmt: skip
    return msgspec.json.encode(CommandMessage(signed=sign(Command(**given), key=key, kid="k1")))


def down(payload: bytes, *, kind: str = "command", client: str = "ct-gxu-gw_1", topic: str = "gxu/gw_1") -> Passing:
    return Passing(what="down", client=client, topic=f"ct/v1/{topic}/down/{kind}", payload=payload)


def ack(through: int) -> Passing:
    signed = sign(Acknowledged(epoch="e1", acked_through=through), key=KEY, kid="k1")
    return down(msgspec.json.encode(signed), kind="ack")


def told(closing: int = PULSES, *, sequence: int = 4) -> Passing:
    event = WaterSessionEnded(
        event_id="ev_1", at_ms=21_000, device="dev_1", water_session_id="ws_1", stop_reason=StopReason.REMOTE,
        opening_pulses=0, closing_pulses=closing, k_factor_pulses_per_m3=450_000,
    )  # fmt: skip
    record = JournalRecord(tenant="gxu", gateway="gw_1", epoch="e1", sequence=sequence, previous_sha256="", event=event)
    batch = EventBatch(records=[sign(record, key=OTHER_KEY, kid="gw")])
    return Passing(what="up", client="ct-gxu-gw_1", topic="ct/v1/gxu/gw_1/up/event", payload=msgspec.json.encode(batch))


def sample(pulses: int, *, k_factor: int = 450_000) -> Passing:
    figures = MeterSampled(
        device="dev_1", water_session_id="ws_1", at_ms=15_000, pulses=pulses, k_factor_pulses_per_m3=k_factor,
        flow_ml_per_min=8_000, temperature_decidegc=400, elapsed_s=5,
    )  # fmt: skip
    payload = msgspec.json.encode(TelemetryBatch(samples=[figures]))
    return Passing(what="up", client="ct-gxu-gw_1", topic="ct/v1/gxu/gw_1/up/telemetry", payload=payload)


def page(**changes: Any) -> Page:
    given: dict[str, Any] = {
        "transfers": {"gxu": TRANSFERS, "nhu": []}, "accounts": {"gxu": ACCOUNTS, "nhu": {}}, "sessions": [SESSION],
        "cursors": [CURSOR], "authorizations": [AUTHORIZATION], "operations": [], **changes,
    }  # fmt: skip
    return Page(**given)


def auditor() -> Auditor:
    keys = {"gxu": {"k1": KEY.public_key()}, "nhu": {}}
    marks = {"gxu": frozenset({"dev_1", "gw_1"}), "nhu": frozenset({"dev_next", "gw_next"})}
    return Auditor({"gxu": PLAN, "nhu": NEXT}, keys, marks)


def changed(rows: list[dict[str, Any]], at: int, **changes: Any) -> list[dict[str, Any]]:
    return [{**row, **changes} if number == at else row for number, row in enumerate(rows)]


def transfers(at: int, **changes: Any) -> Page:
    return page(transfers={"gxu": changed(TRANSFERS, at, **changes), "nhu": []})


def more(*extra: Mapping[str, Any]) -> Page:
    return page(transfers={"gxu": [*TRANSFERS, *extra], "nhu": []})


class TestRound:
    def test_finds_nothing_in_a_sound_shower(self) -> None:
        eyes = auditor()

        found = eyes.round([down(command()), sample(900), told(), ack(4)], page(), WORLD, [])

        assert found == []
        assert eyes.unfinished() == {"nothing_lost": [], "captured_within_hold": [], "every_pulse_explained": []}
        assert eyes.steps["transfer post"] == eyes.steps["world END"] == eyes.steps["session settled"] == 1

    @pytest.mark.parametrize(
        ("name", "stored"),
        [
            ("books_balance", page(accounts={"gxu": {**ACCOUNTS, "equity": {**FREE, **NOTHING}}, "nhu": {}})),
            ("books_balance", transfers(1, number=3)),
            ("books_balance", transfers(0, amount_minor=200)),
            ("books_balance", transfers(2, credit_account_id="equity")),
            ("books_balance", page(accounts={"gxu": {**ACCOUNTS, "extra": {**FREE, **NOTHING, "debits_posted": 1}},
                                             "nhu": {}})),
            ("captured_within_hold", transfers(2, amount_minor=301)),
            ("captured_within_hold", transfers(2, pending_id="hold_9")),
            ("captured_within_hold", more({**TRANSFERS[2], "number": 4, "transfer_id": "void_1", "kind": "void"})),
            ("captured_within_hold", page(sessions=[{**SESSION, "hold_minor": CHARGE - 1}])),
            ("captured_within_hold", page(sessions=[{**SESSION, "state": "voided"}])),
            ("captured_within_hold", page(authorizations=[{**AUTHORIZATION, "amount_minor": CHARGE - 1}])),
            ("billed_as_counted", page(sessions=[{**SESSION, "closing_pulses": PULSES + 5}])),
            ("billed_as_counted", page(sessions=[SESSION, {**SESSION, "water_session_id": "ws_2"}])),
            ("billed_as_counted", page(sessions=[{**SESSION, "overrun_minor": 2}])),
            ("one_price", page(sessions=[{**SESSION, "charge_minor": CHARGE + 1, "captured_minor": CHARGE + 1}])),
            ("charged_once", page(authorizations=[AUTHORIZATION, {**AUTHORIZATION, "auth_id": "auth_2"}])),
        ],
    )  # fmt: skip
    def test_finds_what_is_wrong_with_what_is_stored(self, name: str, stored: Page) -> None:
        found = auditor().round([down(command())], stored, WORLD, [])

        assert name in {each.partition(":")[0] for each in found}, found

    @pytest.mark.parametrize(
        ("name", "steps"),
        [
            ("valves_shut", changed(WORLD, 0, tag=TAG ^ 1)),
            ("valves_shut", changed(WORLD, 0, at_ms=18_000)),
            ("valves_shut", [*WORLD, {**START, "session": 8}]),
            ("valves_shut", changed(WORLD, 1, session=0)),
            ("valves_shut", changed(WORLD, 2, volume_ml=4_600)),
            ("valves_shut", changed(WORLD, 2, open_ms=66_000)),
            ("valves_shut", changed(WORLD, 2, since_lease_ms=66_000)),
            ("valves_shut", changed(WORLD, 2, limit_ml=4_001)),
            ("every_pulse_explained", [*WORLD, {**END, "session": 8, "count": 30, "total": PULSES + 20}]),
        ],
    )
    def test_finds_what_is_wrong_with_what_happened(self, name: str, steps: list[dict[str, Any]]) -> None:
        found = auditor().round([down(command())], page(), steps, [])

        assert name in {each.partition(":")[0] for each in found}, found

    @pytest.mark.parametrize(
        ("name", "passing"),
        [
            ("valves_shut", [down(command(key=OTHER_KEY))]),
            ("valves_shut", [down(command(device="dev_2"))]),
            ("tenants_apart", [down(command(tenant="nhu"))]),
            ("tenants_apart", [down(command(), client="ct-nhu-gw_next")]),
            ("tenants_apart", [down(command(), topic="nhu/gw_next", client="ct-nhu-gw_next")]),
            ("tenants_apart", [down(b'{"dev_next": 1}', kind="configuration")]),
            ("nothing_lost", [down(b"{", kind="ack")]),
            ("nothing_lost", [ack(5)]),
            ("every_pulse_explained", [told(PULSES + 1)]),
            ("one_price", [sample(PULSES + 1)]),
            ("one_price", [sample(900, k_factor=400_000)]),
        ],
    )
    def test_finds_what_is_wrong_with_what_passed(self, name: str, passing: list[Passing]) -> None:
        first = [] if name == "valves_shut" else [down(command())]

        found = auditor().round([*first, *passing], page(), WORLD, [])

        assert name in {each.partition(":")[0] for each in found}, found

    def test_does_not_judge_what_opened_before_it_began_to_listen(self) -> None:
        keys = {"gxu": {"k1": KEY.public_key()}, "nhu": {}}
        eyes = Auditor({"gxu": PLAN, "nhu": NEXT}, keys, {}, since_ms=15_000)

        assert eyes.round([], page(), WORLD, []) == []
        assert eyes.world([{**START, "at_ms": 16_000}]) != []

    def test_judges_a_confirmation_only_by_what_was_read_after_it(self) -> None:
        eyes = auditor()

        found = eyes.round([down(command())], page(cursors=[]), WORLD, [ack(4)])

        assert found == []
        assert eyes.round([], page(transfers={}, accounts={}), [], []) == []

    def test_finds_a_confirmation_that_is_taken_back(self) -> None:
        eyes = auditor()
        eyes.round([down(command())], page(), WORLD, [])

        found = eyes.round([], page(transfers={}, accounts={}, cursors=[{**CURSOR, "acked_through": 3}]), [], [])

        assert found == ["nothing_lost: gw_1 was confirmed up to 4, now only up to 3"]

    def test_finds_a_bill_that_changes(self) -> None:
        eyes = auditor()
        eyes.round([down(command())], page(), WORLD, [])

        found = eyes.round([], page(transfers={}, accounts={}, sessions=[{**SESSION, "captured_minor": 1}]), [], [])

        assert found[0].startswith("charged_once: ws_1 was settled for")

    def test_keeps_confirmations_while_nothing_can_be_read(self) -> None:
        eyes = auditor()
        eyes.round([down(command()), ack(5)], None, WORLD, [])

        assert eyes.round([], page(), [], [])[0].startswith("nothing_lost: gw_1 was told that 5 records are kept")


class TestOrders:
    def test_finds_an_order_taken_twice(self) -> None:
        assert auditor().orders([{**ORDER, "times_taken": 2}]) == ["charged_once: alipay took n1 2 times"]

    def test_finds_two_orders_for_one_session(self) -> None:
        eyes = auditor()
        operations = [{"tenant_id": "gxu", "number": each, "order_id": "auth_1", "kind": "authorize"}
                      for each in ("n1", "n2")]  # fmt: skip
        eyes.round([down(command())], page(operations=operations), WORLD, [])

        assert eyes.orders([ORDER, {**ORDER, "order_no": "n2", "refunded_minor": 300}]) == []
        assert eyes.orders([ORDER, {**ORDER, "order_no": "n2"}]) == [
            "charged_once: auth_1 was paid by 2 orders of the provider"
        ]

    def test_knows_nothing_while_the_provider_is_down(self) -> None:
        assert auditor().orders(None) == []


class TestUnfinished:
    def test_names_what_is_left(self) -> None:
        eyes = auditor()

        eyes.round([down(command()), told(sequence=5)], page(
            sessions=[], transfers={"gxu": TRANSFERS[:2], "nhu": []},
            accounts={"gxu": ACCOUNTS, "nhu": {}}), WORLD, [])  # fmt: skip

        assert eyes.unfinished() == {
            "nothing_lost": ["gw_1 told 5 records, 4 are kept"],
            "captured_within_hold": ["hold_1 of 300 has not ended"],
            "every_pulse_explained": [f"dev_1: {PULSES} pulses of ended sessions are on no bill"],
        }
