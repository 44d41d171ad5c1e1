"""A real Mosquitto with the files `campustap broker files` writes: who comes in, and who may say and hear what."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from backend.fleet import device_ca
from gateway.care import certificates
from gateway.care.certificates import identity_path
from gateway.uplink.client import Broker, probe
from tests.fakes.gateway_site import wait_until
from tests.fakes.tls_site import TENANT, TlsSite
from tests.patience import PATIENCE_S

NOT_AUTHORIZED = 0x87
OWN, OTHER = f"ct/v1/{TENANT}/gw_a", f"ct/v1/{TENANT}/gw_b"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsSite]:
    site = TlsSite(tmp_path_factory.mktemp("tls"))
    site.enroll("gw_a")
    site.enroll("gw_b")
    site.write_broker_files()
    site.start_broker()
    yield site
    site.stop_broker()


def forged(site: TlsSite, folder: Path, authority: device_ca.Authority, name: str, now: datetime) -> Path:
    """Return a state folder with a certificate for any name, by any authority, of any time."""
    pem = certificates.request_pem(folder, TENANT, "gw_a")
    made = device_ca.sign_gateway(authority, x509.load_pem_x509_csr(pem.encode()), name, now)
    ca = (site.folder / "broker" / "broker-ca.pem").read_text()
    if name == f"{TENANT}/gw_a":
        certificates.install(folder, TENANT, "gw_a", certificate_pem=device_ca.pem_of(made), ca_pem=ca)
        return folder
    key = (folder / "broker" / "pending.key.pem").read_bytes()
    certificates.write(certificates.ca_path(folder), ca.encode())
    certificates.write(identity_path(folder), key + device_ca.pem_of(made).encode(), is_secret=True)
    return folder


def authority(site: TlsSite) -> device_ca.Authority:
    return device_ca.device_authority(site.folder / "secrets", TENANT, datetime.now(UTC))


class TestGateway:
    def test_may_use_its_own_topics(self, site: TlsSite) -> None:
        server, box = site.server_client(), site.client(site.state("gw_a"), "ct-school-gw_a")
        assert server.is_in
        assert box.is_in
        server.subscribe("$share/campustap-event/ct/v1/+/+/up/event")
        box.subscribe(f"{OWN}/down/#")

        assert box.publish(f"{OWN}/up/event", b"record") in (0, 0x10)
        assert server.publish(f"{OWN}/down/ack", b"ack") == 0

        wait_until(lambda: (f"{OWN}/up/event", b"record") in server.received)
        wait_until(lambda: (f"{OWN}/down/ack", b"ack") in box.received)
        server.close()
        box.close()

    @pytest.mark.parametrize(
        "topic",
        [f"{OTHER}/up/event", f"{OTHER}/down/command", f"{OWN}/down/command", "ct/v1/other/gw_a/up/event", "$SYS/x"],
    )
    def test_may_not_publish_elsewhere(self, site: TlsSite, topic: str) -> None:
        box = site.client(site.state("gw_a"), "ct-school-gw_a-2")

        assert box.publish(topic) == NOT_AUTHORIZED
        box.close()

    @pytest.mark.parametrize("filter_", [f"{OTHER}/down/#", "ct/v1/#", "#", f"ct/v1/{TENANT}/+/down/command"])
    def test_hears_nothing_of_others(self, site: TlsSite, filter_: str) -> None:
        server, box = site.server_client(), site.client(site.state("gw_a"), "ct-school-gw_a-3")
        box.subscribe(filter_)
        box.subscribe(f"{OWN}/down/#")

        server.publish(f"{OTHER}/down/command", b"secret")
        server.publish(f"{OWN}/down/ack", b"after")

        wait_until(lambda: any(payload == b"after" for _, payload in box.received))
        assert all(payload != b"secret" for _, payload in box.received)
        server.close()
        box.close()

    def test_without_a_certificate_is_refused(self, site: TlsSite) -> None:
        assert not site.client(None, "nobody").is_in

    def test_with_a_certificate_of_another_authority_is_refused(self, site: TlsSite, tmp_path: Path) -> None:
        stranger = device_ca.device_authority(tmp_path / "secrets", TENANT, datetime.now(UTC))
        state = forged(site, tmp_path / "box", stranger, f"{TENANT}/gw_a", datetime.now(UTC))

        assert not site.client(state, "forger").is_in

    def test_with_an_expired_certificate_is_refused(self, site: TlsSite, tmp_path: Path) -> None:
        then = datetime.now(UTC) - timedelta(days=device_ca.GATEWAY_DAYS + 1)
        state = forged(site, tmp_path / "box", authority(site), f"{TENANT}/gw_a", then)

        assert not site.client(state, "late").is_in

    def test_nobody_put_into_the_rules_may_nothing(self, site: TlsSite, tmp_path: Path) -> None:
        state = forged(site, tmp_path / "box", authority(site), f"{TENANT}/gw_gone", datetime.now(UTC))
        box = site.client(state, "gone")

        assert box.is_in
        assert box.publish(f"ct/v1/{TENANT}/gw_gone/up/event") == NOT_AUTHORIZED
        box.close()

    def test_a_retained_message_is_refused(self, site: TlsSite) -> None:
        server = site.server_client()

        server._client.publish(f"{OWN}/down/command", b"x", qos=1, retain=True)

        wait_until(lambda: 0x9A in server.reasons, why="for 'retain not supported'")
        server.close()


class TestProbe:
    def test_says_whether_the_broker_takes_us(self, site: TlsSite) -> None:
        state = site.state("gw_a")
        tls = {
            "ca": str(certificates.ca_path(state)),
            "cert": str(identity_path(state)),
            "key": str(identity_path(state)),
        }

        def said(**changes: object) -> str:
            values = {"host": "127.0.0.1", "port": site.port, "client_id": "doctor", "subscription": "", "tls": tls}
            return probe(Broker(will_topic="", will_payload=b"", **{**values, **changes}), timeout_s=PATIENCE_S)  # type: ignore[arg-type]

        assert said() == ""
        assert "certificate" in said(tls={"ca": tls["ca"]})
        assert said(tls={}) != ""
        assert "refused" in said(port=1)


class TestRevocation:
    def test_keeps_a_box_out_once_the_broker_has_read_the_list(self, tmp_path: Path) -> None:
        site = TlsSite(tmp_path, ("gw_a",))
        stolen = site.enroll("gw_a")
        assert "gw_a" not in site.say("gateway", "certificates", TENANT, "gw_b")
        assert len(site.say("gateway", "revoke", TENANT, "gw_a")) > 0
        box = site.enroll("gw_a", state=tmp_path / "replaced", new_key=True)
        site.write_broker_files()
        site.start_broker()
        try:
            assert not site.client(stolen, "stolen").is_in
            client = site.client(box, "replaced")
            assert client.is_in
            assert client.publish(f"{OWN}/up/event") in (0, 0x10)
            client.close()
        finally:
            site.stop_broker()
