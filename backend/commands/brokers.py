"""`campustap broker …`: access rules from the fleet, certificates, and a ready configuration of Mosquitto."""

import argparse
import os
from pathlib import Path
from typing import Any

from backend.commands.common import CommandRefused, ready, show, write_text
from backend.config import Config
from backend.fleet import broker_acl, device_ca, enrollment
from backend.fleet import service as fleet
from backend.fleet.broker_acl import Account
from backend.tenants import service as tenants


def add_to(commands: Any) -> None:
    """Add `broker` to the parser of commands."""
    actions = commands.add_parser("broker", help="the MQTT broker").add_subparsers(dest="action", required=True)
    rules = actions.add_parser("acl", help="print the access rules that follow from the fleet")
    rules.add_argument("--kind", choices=broker_acl.KINDS, default="mosquitto")
    rules.set_defaults(run=_acl)
    conf = actions.add_parser("mosquitto-conf", help="print a ready configuration over the files of `broker files`")
    conf.add_argument("--folder", type=Path, default=Path("/etc/mosquitto/campustap"), metavar="DIR")
    _listener(conf)
    conf.set_defaults(run=_conf)
    files = actions.add_parser("files", help="write all the broker needs: certificates, lists, rules, configuration")
    files.add_argument("--out", type=Path, required=True, metavar="DIR")
    files.add_argument("--host", action="append", metavar="NAME", help="name or address it is reached by; repeatable")
    files.add_argument("--kind", choices=broker_acl.KINDS, default="mosquitto")
    _listener(files)
    files.set_defaults(run=_files)


def _listener(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--port", type=int, default=broker_acl.PORT_TLS)
    parser.add_argument("--address", default="", metavar="ADDRESS", help="to listen on; all when left out")


def _port(args: argparse.Namespace) -> int:
    if not 1 <= args.port <= 65_535:
        raise CommandRefused("--port: write a whole number from 1 to 65535")
    return int(args.port)


def accounts(config: Config) -> list[Account]:
    """Return the account of every gateway of every school."""
    with ready(config).db.read() as conn:
        return [
            Account(tenant.tenant_id, gateway.gateway_id)
            for tenant in tenants.list_all(conn)
            for gateway in fleet.gateways(conn, tenant.tenant_id)
        ]


def _acl(config: Config, args: argparse.Namespace) -> None:
    print(broker_acl.acl(args.kind, accounts(config)), end="")


def _conf(_config: Config, args: argparse.Namespace) -> None:
    as_root = os.geteuid() == 0
    print(broker_acl.mosquitto_conf(args.folder, port=_port(args), address=args.address, runs_as_root=as_root), end="")


def _files(config: Config, args: argparse.Namespace) -> None:
    """Write the files; the broker's key and our own are made once and kept."""
    folder: Path = args.out.resolve()
    backend = ready(config)
    now = backend.context.clock()
    own = device_ca.broker_authority(config.secrets_dir, now)
    authorities, lists = [own], [device_ca.revocation_list(own, [], now)]
    with backend.db.read() as conn:
        for tenant in tenants.list_all(conn):
            authority = device_ca.device_authority(config.secrets_dir, tenant.tenant_id, now)
            authorities.append(authority)
            lists.append(enrollment.revocation_list(conn, authority, tenant.tenant_id, now))
    hosts = args.host or [config.broker_host]
    if args.host or not (folder / "broker.cert.pem").exists():
        key, certificate = device_ca.make_server(own, hosts, now)
        write_text(folder / "broker.key.pem", key, is_secret=True)
        write_text(folder / "broker.cert.pem", certificate + own.pem)
    if not (folder / "server.cert.pem").exists():
        key, certificate = device_ca.make_client(own, broker_acl.SERVER_ACCOUNT, now)
        write_text(folder / "server.key.pem", key, is_secret=True)
        write_text(folder / "server.cert.pem", certificate)
    write_text(folder / "broker-ca.pem", own.pem)
    write_text(folder / "clients-ca.pem", "".join(authority.pem for authority in authorities))
    write_text(folder / "clients-crl.pem", "".join(lists))
    name = "acl" if args.kind == "mosquitto" else "acl.conf"
    write_text(folder / name, broker_acl.acl(args.kind, accounts(config)))
    if args.kind == "mosquitto":
        (folder / "state").mkdir(exist_ok=True)
        as_root = os.geteuid() == 0
        conf = broker_acl.mosquitto_conf(folder, port=_port(args), address=args.address, runs_as_root=as_root)
        write_text(folder / "mosquitto.conf", conf)
    show(
        {
            "folder": folder,
            "accounts": len(accounts(config)),
            "server": "CAMPUSTAP_BROKER_TLS names the folder with broker-ca.pem, server.cert.pem, server.key.pem",
        }
    )
