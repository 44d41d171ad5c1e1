"""The same requests in one batch, in several, or one by one leave identical books."""

import random
from typing import Any

from sqlalchemy import select

from backend.db import Database
from backend.ledger import service
from backend.ledger.batcher import Batcher
from backend.ledger.listing_repository import list_new
from backend.ledger.memory import Memory
from backend.ledger.models import accounts, books, lines, listings, residues, transfers
from backend.ledger.rules import TransferKind, TransferRequest
from tests.factories import NOW
from tests.unit.backend.ledger.requests import pending, resolve, single

_WALLETS = [f"cardholder_wallet/ch_{number}" for number in range(4)]
_STAYS = {"tenant_id", "stamp"}


def _requests(chance: random.Random) -> list[TransferRequest]:
    made = [single(f"o{index}", "opening_equity", wallet, 60) for index, wallet in enumerate(_WALLETS)]
    for number in range(60):
        one = f"t{chance.randrange(40)}"
        wallet = chance.choice(_WALLETS)
        what = chance.randrange(5)
        if what < 2:
            made.append(pending(one, wallet, "payment_clearing/wallet", chance.randrange(0, 40), reference=f"ws_{one}"))
        elif what == 2:
            made.append(resolve(f"{one}.v", TransferKind.VOID, one))
        else:
            amount_minor = chance.randrange(1, 30)
            made.append(resolve(f"{one}.p{number % 2}", TransferKind.POST, one, amount_minor, linked=True))
            clearing, reference = "payment_clearing/wallet", f"ws_{one}"
            made.append(single(f"{one}.r{number % 2}", clearing, "water_revenue", amount_minor, reference=reference))
    return made


def _cut(requests: list[TransferRequest], size: int) -> list[list[TransferRequest]]:
    batches: list[list[TransferRequest]] = [[]]
    for request in requests:
        batches[-1].append(request)
        if len(batches[-1]) >= size and not request.linked:
            batches.append([])
    return [batch for batch in batches if batch]


def _books(database: Database, tenant_id: str) -> list[list[dict[str, Any]]]:
    with database.write() as conn:
        list_new(conn, tenant_id)
        return [
            [
                {name: value for name, value in row._mapping.items() if name not in _STAYS}
                for row in conn.execute(
                    select(table).where(table.c.tenant_id == tenant_id).order_by(*table.primary_key.columns)
                )
            ]
            for table in (accounts, transfers, residues, books, lines, listings)
        ]


def _through_batcher(database: Database, tenant_id: str, requests: list[TransferRequest]) -> Any:
    with Batcher(database, tenant_id, clock=lambda: NOW) as batcher:
        promises = [batcher.submit(batch) for batch in _cut(requests, 2)]
        codes = [result.code for promise in promises for result in promise.result(20)]
    return codes, _books(database, tenant_id)


class TestExecute:
    def test_batches_of_any_size_leave_identical_books(self, database: Database) -> None:
        for seed in range(6):
            requests = _requests(random.Random(seed))
            outcomes = []
            for size in (1, 7, 500):
                tenant_id = f"t{seed}-{size}"
                memory = Memory() if size == 7 else None
                codes = []
                for batch in _cut(requests, size):
                    with database.write() as conn:
                        results = service.execute(conn, tenant_id, batch, now=NOW, memory=memory)
                    codes += [result.code for result in results]
                outcomes.append((codes, _books(database, tenant_id)))
            outcomes.append(_through_batcher(database, f"t{seed}-batcher", requests))
            assert outcomes[0] == outcomes[1] == outcomes[2] == outcomes[3]
            assert len(set(outcomes[0][0])) > 4, "the requests try little"
