import ssl
import time
from pathlib import Path

import pytest
from cryptography import x509

from backend.fleet import device_ca
from gateway.care import certificates
from gateway.config import ConfigRefused
from gateway.uplink.client import RECONNECT_S_MAX, SHORT_MAX, TAKEN_OVER, Broker, MqttClient, probe, tls_context
from tests.fakes.gateway_site import free_port
from tests.unit.gateway.care.test_certificates import NOW

UNSPECIFIED = 0x80


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    """Return the files of a box that enrolled."""
    authority = device_ca.device_authority(tmp_path / "secrets", "school", NOW)
    csr = x509.load_pem_x509_csr(certificates.request_pem(tmp_path, "school", "gw").encode())
    made = device_ca.sign_gateway(authority, csr, "school/gw", NOW)
    pem = device_ca.pem_of(made)
    certificates.install(tmp_path, "school", "gw", certificate_pem=pem, ca_pem=authority.pem)
    identity = str(certificates.identity_path(tmp_path))
    return {"ca": str(certificates.ca_path(tmp_path)), "cert": identity, "key": identity}


def client(tls: dict[str, str] | None = None) -> MqttClient:
    broker = Broker(
        host="127.0.0.1", port=1, client_id="x", subscription="a/#", will_topic="w", will_payload=b"", tls=tls or {}
    )
    return MqttClient(broker, on_received=lambda _: None, on_connection=lambda _: None)


class TestTlsContext:
    def test_knows_whom_to_believe_and_who_we_are(self, files: dict[str, str]) -> None:
        context = tls_context(files)

        assert context.verify_mode is ssl.CERT_REQUIRED
        assert context.check_hostname
        assert len(context.get_ca_certs()) == 1

    @pytest.mark.parametrize("name", ["ca", "cert", "key"])
    @pytest.mark.parametrize("spoil", ["missing", "nonsense"])
    def test_names_a_file_that_cannot_be_used(
        self, files: dict[str, str], tmp_path: Path, name: str, spoil: str
    ) -> None:
        bad = tmp_path / "bad.pem"
        if spoil == "nonsense":
            bad.write_text("nonsense")

        with pytest.raises(ConfigRefused, match=r"\[broker\]"):
            client({**files, name: str(bad)})


class TestPace:
    """A broker that comes back after a power cut must not be met by all gateways at once."""

    def test_is_each_gateways_own(self) -> None:
        waits = [(c._reconnect_min_delay, c._reconnect_max_delay) for c in (client()._client for _ in range(40))]

        assert len({shortest for shortest, _ in waits}) > 30
        assert len({longest for _, longest in waits}) > 30
        assert all(0.2 <= shortest <= 0.6 for shortest, _ in waits)
        assert all(0.7 * RECONNECT_S_MAX <= longest <= RECONNECT_S_MAX for _, longest in waits)


class TestTakeover:
    def connect_for(self, one: MqttClient, seconds: float, reason: int) -> None:
        one._connected_at = time.monotonic() - seconds
        one._look_for_twin(reason)

    def test_is_counted_when_the_broker_says_so(self) -> None:
        one = client()

        self.connect_for(one, 1_000, TAKEN_OVER)

        assert one.takeovers == 1
        assert "another client with our certificate" in one.last_trouble

    def test_is_suspected_when_connections_end_as_soon_as_they_begin(self) -> None:
        one = client()

        for _ in range(SHORT_MAX + 1):
            self.connect_for(one, 1, UNSPECIFIED)

        assert one.takeovers == 2
        assert "may have" in one.last_trouble

    def test_is_not_suspected_of_a_line_that_was_lost_now_and_then(self) -> None:
        one = client()

        for _ in range(10):
            self.connect_for(one, 1, UNSPECIFIED)
            self.connect_for(one, 60, UNSPECIFIED)
            one._look_for_twin(UNSPECIFIED)  # no connection came about

        assert one.takeovers == 0

    def test_lets_us_come_back_later_each_time_and_soon_again_after_peace(self) -> None:
        one = client()
        waits = []
        for _ in range(6):
            self.connect_for(one, 1, TAKEN_OVER)
            waits.append(one._client._reconnect_min_delay)

        assert waits[0] <= 3
        assert waits[-1] >= 30
        self.connect_for(one, 100, UNSPECIFIED)
        assert one._client._reconnect_min_delay < 1


class TestProbe:
    def test_says_why_nobody_answers(self, files: dict[str, str]) -> None:
        broker = Broker(
            host="127.0.0.1",
            port=free_port(),
            client_id="x",
            subscription="",
            will_topic="",
            will_payload=b"",
            tls=files,
        )

        assert "refused" in probe(broker, timeout_s=1)
