"""The `campustap` command: serve, worker, migrate, tenant seed, reconcile, books, gateways, statements, stickers."""

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy.exc import OperationalError, SQLAlchemyError

from backend import worker
from backend.bootstrap import container
from backend.bootstrap.plan import PlanMalformed
from backend.bootstrap.seed import seed
from backend.commands import books, brokers, gateways, receipts, statements, stickers
from backend.config import Config, ConfigError, load
from backend.errors import BackendError
from backend.migrations import runner
from backend.mqtt.telemetry import BrokerTelemetry
from backend.reconciliation import service as reconciliation
from backend.tenants import service as tenants

_USAGE_ERROR = 2


class CommandFailed(Exception):
    """The command cannot be carried out; the message says what to do about it."""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="campustap", description="CampusTap's server. Settings: CAMPUSTAP_* variables."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("serve", help="serve pages and the API over HTTP")
    commands.add_parser("worker", help="handle what gateways send and send what they must do")
    commands.add_parser("migrate", help="bring the database to the present schema")
    tenant = commands.add_parser("tenant", help="schools").add_subparsers(dest="action", required=True)
    seeding = tenant.add_parser("seed", help="fill the database from a plan; may be repeated")
    seeding.add_argument("plan", type=Path, metavar="PLAN", help="plan.json")
    seeding.add_argument("--out", type=Path, required=True, metavar="DIR", help="for gateway files and demo.json")
    tenant.add_parser("list", help="list schools")
    reconcile = commands.add_parser("reconcile", help="prove the books of a school and print the run as JSON")
    reconcile.add_argument("tenant", metavar="TENANT")
    gateway = commands.add_parser("gateway", help="gateways").add_subparsers(dest="action", required=True)
    listing = gateway.add_parser("list", help="list a school's gateways")
    listing.add_argument("tenant", metavar="TENANT")
    gateways.add_to(gateway)
    books.add_to(commands)
    brokers.add_to(commands)
    receipts.add_to(commands)
    statements.add_to(commands)
    stickers.add_to(commands)
    return parser


def _print(value: Any) -> None:
    print(json.dumps(value, ensure_ascii=False, indent=2, default=_plain))


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value)


def _ready(config: Config) -> container.Backend:
    """Return the backend over a database that is at the newest schema."""
    backend = container.open_backend(config)
    if not runner.is_current(backend.db.engine):
        raise CommandFailed("the database is not at the present schema; run: campustap migrate")
    return backend


def _serve(config: Config) -> None:
    import uvicorn

    from backend.app import create_app

    telemetry = BrokerTelemetry(config.broker_host, config.broker_port, config.broker_tls)
    app = create_app(_ready(config), telemetry)
    uvicorn.run(app, host=config.http_host, port=config.http_port, timeout_graceful_shutdown=2, log_level="warning")


def _seed(config: Config, plan: Path, out: Path) -> None:
    try:
        content = json.loads(plan.read_text(encoding="utf-8"))
    except OSError as error:
        raise CommandFailed(f"{plan} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise CommandFailed(f"{plan} is not JSON: {error}") from error
    out.mkdir(parents=True, exist_ok=True)
    backend = container.open_backend(config)
    for path in seed(backend.db, config, content, out).files:
        print(path)


def _reconcile(config: Config, tenant_id: str) -> None:
    backend = container.open_backend(config)
    with backend.db.write(snapshot=True) as conn:
        tenants.get(conn, tenant_id)
        made = reconciliation.run(conn, tenant_id, backend.context.clock())
        late = [asdict(each) for each in reconciliation.late(conn, tenant_id, made.run_id)]
        _print(asdict(made) | {"late": late})


def _list(config: Config, args: argparse.Namespace) -> None:
    with container.open_backend(config).db.read() as conn:
        if args.command == "tenant":
            _print([asdict(tenant) for tenant in tenants.list_all(conn)])
            return
        tenants.get(conn, args.tenant)
        _print(gateways.described(conn, args.tenant))


def _run(args: argparse.Namespace) -> int:
    config = load()
    if "run" in args:
        return args.run(config, args) or 0
    if args.command == "serve":
        _serve(config)
    elif args.command == "worker":
        worker.run(_ready(config))
    elif args.command == "migrate":
        runner.upgrade(config.database_url)
    elif args.command == "reconcile":
        _reconcile(config, args.tenant)
    elif args.command == "tenant" and args.action == "seed":
        _seed(config, args.plan, args.out)
    else:
        _list(config, args)
    return 0


class _WithFigures(logging.Formatter):
    """Appends what a record carries beside its message, as key=value."""

    _plain = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "color_message"}

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        figures = [f"{key}={value}" for key, value in vars(record).items() if key not in self._plain]
        return " ".join([super().format(record), *figures])


def _log_to_stderr() -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(_WithFigures("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    logging.getLogger("alembic").setLevel(logging.WARNING)
    logging.getLogger("httpx").setLevel(logging.WARNING)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status: 0, or 2 with one line on standard error that says what to do."""
    args = _parser().parse_args(arguments)
    _log_to_stderr()
    try:
        return _run(args)
    except (CommandFailed, ConfigError, PlanMalformed, BackendError) as error:
        print(f"campustap: {error}", file=sys.stderr)
        return _USAGE_ERROR
    except OperationalError as error:
        print(f"campustap: the database cannot be used ({error.orig}); is it there, and migrated?", file=sys.stderr)
        return _USAGE_ERROR
    except SQLAlchemyError as error:
        if "no such table" not in str(error) and "does not exist" not in str(error):
            raise
        print("campustap: the database has no tables yet; run: campustap migrate", file=sys.stderr)
        return _USAGE_ERROR


if __name__ == "__main__":
    sys.exit(main())
