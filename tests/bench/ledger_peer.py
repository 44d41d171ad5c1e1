"""
A peer from the package index, in an environment of its own below build/: django-hordak, double entry on PostgreSQL.

The same traffic in its words: a movement from one of many accounts to one of fifty, each a transaction with two legs,
first one at a time and then many in one database transaction with bulk inserts.
"""

import json
import subprocess
import sys
import venv
from pathlib import Path

from tests.bench.ledger_server import Server

_PACKAGES = ("django-hordak==2.0.0", "psycopg[binary]")
_HOME = Path("build/bench-peer")

_SCRIPT = """
import json, random, sys, time
import django
from django.conf import settings

name, host, accounts, seconds, size = sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4]), int(sys.argv[5])
settings.configure(
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "mptt", "hordak"],
    DATABASES={"default": {"ENGINE": "django.db.backends.postgresql", "NAME": name, "HOST": host, "PORT": "5432",
                           "USER": "postgres"}},
    DEFAULT_AUTO_FIELD="django.db.models.AutoField", USE_TZ=True, SECRET_KEY="x",
    HORDAK_DECIMAL_PLACES=2, HORDAK_MAX_DIGITS=13, DEFAULT_CURRENCY="EUR", CURRENCIES=["EUR"],
)
django.setup()
from django.core.management import call_command
from django.db import transaction
call_command("migrate", verbosity=0)
from hordak.models import Account, AccountType, Leg, Transaction
from moneyed import Money

root = Account.objects.create(name="wallets", code="1", type=AccountType.liability, currencies=["EUR"])
shops = Account.objects.create(name="shops", code="2", type=AccountType.liability, currencies=["EUR"])
owed = {"type": AccountType.liability, "currencies": ["EUR"]}
wallets = [Account.objects.create(name=f"w{i}", code=f"{i}", parent=root, **owed) for i in range(accounts)]
merchants = [Account.objects.create(name=f"m{i}", code=f"{i}", parent=shops, **owed) for i in range(50)]
chance = random.Random(1)

def sides():
    return chance.choice(wallets), merchants[0] if chance.random() < 0.5 else chance.choice(merchants)

def one():
    wallet, shop = sides()
    with transaction.atomic():
        made = Transaction.objects.create()
        Leg.objects.create(transaction=made, account=wallet, debit=Money(1, "EUR"))
        Leg.objects.create(transaction=made, account=shop, credit=Money(1, "EUR"))

def bulk():
    with transaction.atomic():
        made = Transaction.objects.bulk_create([Transaction() for _ in range(size)])
        legs = []
        for each in made:
            wallet, shop = sides()
            legs += [Leg(transaction=each, account=wallet, debit=Money(1, "EUR")),
                     Leg(transaction=each, account=shop, credit=Money(1, "EUR"))]
        Leg.objects.bulk_create(legs)

out = {}
for label, run, count in (("one", one, 1), ("bulk", bulk, size)):
    run()
    began, done = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        run()
        done += count
    out[label] = done / (time.perf_counter() - began)
print(json.dumps(out))
"""


def prepare() -> Path:
    """Return the peer's Python, installing it at first use."""
    python = _HOME / "bin" / "python"
    if not (_HOME / "ready").exists():
        venv.create(_HOME, with_pip=True, clear=True)
        subprocess.run([python, "-m", "pip", "install", "-q", *_PACKAGES], check=True)
        (_HOME / "ready").touch()
    (_HOME / "script.py").write_text(_SCRIPT, encoding="utf-8")
    return python


def per_s(python: Path, database: str, server: Server, seconds: float, size: int) -> dict[str, float]:
    """Return movements per second, one at a time and in bulk, in a fresh database."""
    command = [str(python), str(_HOME / "script.py"), database, str(server.folder), "200", str(seconds), str(size)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        print(done.stderr[-2_000:], file=sys.stderr)
        raise RuntimeError("the peer failed")
    found: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return found
