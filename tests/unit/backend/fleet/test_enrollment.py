from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from backend.db import Database
from backend.fleet import device_ca, enrollment, enrollment_answers, service
from backend.kit.clock import epoch_ms
from backend.tenants import service as tenants
from gateway.contract.provisioning import EnrollRequest
from gateway.contract.signing import Signed, public_text, sign
from tests.factories import NOW
from tests.unit.backend.fleet.helpers import TENANT, add_campus

KEY = Ed25519PrivateKey.generate()
TLS_KEY = ec.generate_private_key(ec.SECP256R1())


def csr(name: str = f"{TENANT}/gw_1", key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey = TLS_KEY) -> str:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    made = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    return made.public_bytes(Encoding.PEM).decode()


def asking(
    code: str = "", *, key: Ed25519PrivateKey = KEY, signer: Ed25519PrivateKey | None = None, **changes: object
) -> Signed:
    """Return what a gateway asks, signed; `signer` forges, `changes` spoil."""
    asked = EnrollRequest(
        tenant=TENANT, gateway="gw_1", public_key=public_text(key.public_key()), csr_pem=csr(), claim_code=code,
        at_ms=epoch_ms(NOW),
    )  # fmt: skip
    return sign(msgspec.structs.replace(asked, **changes), key=signer or key, kid="gw_1")


@pytest.fixture
def authority(tmp_path: Path) -> device_ca.Authority:
    return device_ca.device_authority(tmp_path, TENANT, NOW)


@pytest.fixture
def campus(database: Database) -> Database:
    with database.write() as conn:
        add_campus(conn)
        service.add_gateway(conn, service.Gateway(TENANT, "gw_1", "pl_b1", ""))
        service.add_gateway(conn, service.Gateway(TENANT, "gw_2", "pl_b1", ""))
    return database


def code_for(campus: Database, gateway_id: str = "gw_1", **more: bool) -> str:
    with campus.write() as conn:
        return enrollment.claim_code(conn, TENANT, gateway_id, NOW, **more).claim_code


class TestClaimCode:
    def test_is_kept_as_a_digest_only(self, campus: Database) -> None:
        code = code_for(campus)

        with campus.read() as conn:
            stored = str(conn.exec_driver_sql("SELECT * FROM fleet_claim_codes").all())
        assert code not in stored
        assert code.replace("-", "") not in stored
        assert len(code.replace("-", "")) * 5 >= 80

    def test_needs_a_gateway(self, campus: Database) -> None:
        with campus.write() as conn, pytest.raises(service.GatewayUnknown):
            enrollment.claim_code(conn, TENANT, "gw_9", NOW)

    def test_needs_a_name_that_fits_a_certificate(self, campus: Database) -> None:
        long = "gw_" + "x" * 61
        with campus.write() as conn:
            service.add_gateway(conn, service.Gateway(TENANT, long, "pl_b1", ""))
            with pytest.raises(enrollment.NameTooLong):
                enrollment.claim_code(conn, TENANT, long, NOW)


class TestEnroll:
    def test_gives_a_certificate_and_learns_the_key(self, campus: Database, authority: device_ca.Authority) -> None:
        code = code_for(campus)

        with campus.write() as conn:
            given = enrollment.enroll(conn, authority, asking(code.lower().replace("-", " ")), NOW)

        made = x509.load_pem_x509_certificate(given.certificate_pem.encode())
        made.verify_directly_issued_by(authority.certificate)
        assert made.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value == f"{TENANT}/gw_1"
        assert made.public_key() == TLS_KEY.public_key()
        assert given.not_after == NOW + timedelta(days=device_ca.GATEWAY_DAYS)
        with campus.read() as conn:
            assert service.gateway(conn, TENANT, "gw_1").public_key == public_text(KEY.public_key())

    def test_answers_a_repeat_as_before(self, campus: Database, authority: device_ca.Authority) -> None:
        code = code_for(campus)

        with campus.write() as conn:
            first, again = (enrollment.enroll(conn, authority, asking(code), NOW) for _ in range(2))

        assert first.serial == again.serial
        with campus.read() as conn:
            assert len(enrollment.certificates(conn, TENANT)) == 1

    def test_refuses_a_used_code_for_another_key(self, campus: Database, authority: device_ca.Authority) -> None:
        code = code_for(campus, allows_new_key=True)
        with campus.write() as conn:
            enrollment.enroll(conn, authority, asking(code), NOW)

        other_tls = csr(key=ec.generate_private_key(ec.SECP256R1()))
        for other in (asking(code, key=Ed25519PrivateKey.generate()), asking(code, csr_pem=other_tls)):
            with campus.write() as conn, pytest.raises(enrollment.ClaimCodeRefused) as refused:
                enrollment.enroll(conn, authority, other, NOW)
            assert refused.value.details["reason"] == "used"

    @pytest.mark.parametrize(
        ("later", "reason"), [(timedelta(hours=24), "expired"), (timedelta(hours=23, minutes=59), "")]
    )
    def test_refuses_an_expired_code(
        self, campus: Database, authority: device_ca.Authority, later: timedelta, reason: str
    ) -> None:
        signed = asking(code_for(campus), at_ms=epoch_ms(NOW + later))

        with campus.write() as conn:
            if not reason:
                assert enrollment.enroll(conn, authority, signed, NOW + later).cause == "enrolled"
                return
            with pytest.raises(enrollment.ClaimCodeRefused) as refused:
                enrollment.enroll(conn, authority, signed, NOW + later)
            assert refused.value.details["reason"] == reason

    def test_refuses_a_code_of_another_gateway(self, campus: Database, authority: device_ca.Authority) -> None:
        code = code_for(campus, "gw_2")

        with campus.write() as conn, pytest.raises(enrollment.ClaimCodeRefused) as refused:
            enrollment.enroll(conn, authority, asking(code), NOW)
        assert refused.value.details["reason"] == "unknown"

    @pytest.mark.parametrize("code", ["", "0000", "0" * 16, "\ud800", "0" * 10_000])
    def test_refuses_what_is_no_code(self, campus: Database, authority: device_ca.Authority, code: str) -> None:
        signed = asking()
        payload = msgspec.json.decode(signed.payload, type=EnrollRequest)
        assert payload.claim_code == ""
        if code != "\ud800":
            signed = asking(code)

        with campus.write() as conn, pytest.raises(enrollment.ClaimCodeRefused):
            enrollment.enroll(conn, authority, signed, NOW)

    def test_refuses_another_box_unless_the_code_allows_it(
        self, campus: Database, authority: device_ca.Authority
    ) -> None:
        other = Ed25519PrivateKey.generate()
        first, strict, free = code_for(campus), code_for(campus), code_for(campus, allows_new_key=True)
        with campus.write() as conn:
            enrollment.enroll(conn, authority, asking(first), NOW)
        with campus.write() as conn, pytest.raises(enrollment.GatewayKeyRefused):
            enrollment.enroll(conn, authority, asking(strict, key=other), NOW)

        with campus.write() as conn:
            enrollment.enroll(conn, authority, asking(free, key=other), NOW)
            assert service.gateway(conn, TENANT, "gw_1").public_key == public_text(other.public_key())

    def test_refuses_a_forged_request(self, campus: Database, authority: device_ca.Authority) -> None:
        forged = asking(code_for(campus), signer=Ed25519PrivateKey.generate())

        for signed in (
            forged,
            Signed(kid="gw_1", payload="{", signature=""),
            Signed(kid="x", payload="", signature="x"),
        ):
            with campus.write() as conn, pytest.raises(enrollment.GatewayKeyRefused):
                enrollment.enroll(conn, authority, signed, NOW)

    @pytest.mark.parametrize(
        ("pem", "reason"),
        [
            ("", "unreadable"),
            ("-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n", "unreadable"),
            (csr("other/gw_1"), "name"),
            (csr(key=ec.generate_private_key(ec.SECP384R1())), "key_kind"),
            (csr(key=rsa.generate_private_key(65_537, 2_048)), "key_kind"),
        ],
    )
    def test_refuses_a_bad_certificate_request(
        self, campus: Database, authority: device_ca.Authority, pem: str, reason: str
    ) -> None:
        code = code_for(campus)

        with campus.write() as conn, pytest.raises(device_ca.CsrRefused) as refused:
            enrollment.enroll(conn, authority, asking(code, csr_pem=pem), NOW)
        assert refused.value.details["reason"] == reason

    def test_refuses_a_request_signed_by_another_key_than_it_is_for(
        self, campus: Database, authority: device_ca.Authority
    ) -> None:
        der = bytearray(x509.load_pem_x509_csr(csr().encode()).public_bytes(Encoding.DER))
        der[-1] ^= 1  # the last byte of its own signature
        try:
            spoiled = x509.load_der_x509_csr(bytes(der)).public_bytes(Encoding.PEM).decode()
        except ValueError:
            spoiled = ""
        code = code_for(campus)

        with campus.write() as conn, pytest.raises(device_ca.CsrRefused):
            enrollment.enroll(conn, authority, asking(code, csr_pem=spoiled), NOW)

    def test_refuses_a_request_of_another_time(self, campus: Database, authority: device_ca.Authority) -> None:
        code = code_for(campus)

        for at in (NOW - timedelta(hours=1), NOW + timedelta(hours=1)):
            with campus.write() as conn, pytest.raises(enrollment.RequestTooOld):
                enrollment.enroll(conn, authority, asking(code, at_ms=epoch_ms(at)), NOW)


class TestRenew:
    def enrolled(self, campus: Database, authority: device_ca.Authority) -> None:
        code = code_for(campus)
        with campus.write() as conn:
            enrollment.enroll(conn, authority, asking(code), NOW)

    def test_gives_the_next_one(self, campus: Database, authority: device_ca.Authority) -> None:
        self.enrolled(campus, authority)
        later = NOW + timedelta(days=60)

        with campus.write() as conn:
            given = enrollment.renew(conn, authority, asking(at_ms=epoch_ms(later)), later)

        assert given.cause == "renewed"
        assert given.not_after == later + timedelta(days=device_ca.GATEWAY_DAYS)

    def test_refuses_another_key_and_who_never_enrolled(self, campus: Database, authority: device_ca.Authority) -> None:
        with campus.write() as conn, pytest.raises(enrollment.GatewayKeyRefused):
            enrollment.renew(conn, authority, asking(), NOW)
        self.enrolled(campus, authority)
        with campus.write() as conn, pytest.raises(enrollment.GatewayKeyRefused):
            enrollment.renew(conn, authority, asking(key=Ed25519PrivateKey.generate()), NOW)

    def test_refuses_who_was_revoked(self, campus: Database, authority: device_ca.Authority) -> None:
        self.enrolled(campus, authority)
        with campus.write() as conn:
            (serial,) = enrollment.revoke(conn, TENANT, "gw_1", NOW)

        with campus.write() as conn, pytest.raises(enrollment.GatewayKeyRefused):
            enrollment.renew(conn, authority, asking(), NOW)
        with campus.read() as conn:
            listed = x509.load_pem_x509_crl(enrollment.revocation_list(conn, authority, TENANT, NOW).encode())
        assert listed.get_revoked_certificate_by_serial_number(int(serial, 16)) is not None
        assert listed.is_signature_valid(authority.key.public_key())


class TestAnswer:
    def test_makes_no_authority_for_strangers(self, campus: Database, tmp_path: Path) -> None:
        desk = enrollment_answers.Desk(campus, lambda: NOW, tmp_path / "secrets", "broker", 8883)

        with pytest.raises(tenants.TenantUnknown):
            enrollment_answers.answer(desk, asking(tenant="nowhere", csr_pem=csr("nowhere/gw_1")), is_renewal=False)
        assert not (tmp_path / "secrets").exists()

    def test_names_whom_to_obey(self, campus: Database, tmp_path: Path) -> None:
        desk = enrollment_answers.Desk(campus, lambda: NOW, tmp_path / "secrets", "broker", 8883)

        answer = enrollment_answers.answer(desk, asking(code_for(campus)), is_renewal=False)

        assert list(answer.command_keys) == [f"{TENANT}-1"]
        assert (answer.broker_host, answer.broker_port) == ("broker", 8883)
        for secret in (tmp_path / "secrets").glob("*.pem"):
            assert secret.stat().st_mode & 0o077 == 0
