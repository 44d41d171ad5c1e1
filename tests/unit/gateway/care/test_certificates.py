from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from backend.fleet import device_ca
from gateway.care import certificates
from gateway.care.certificates import CertificateRefused, Held

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


def given(box: Path, folder: Path, name: str = "school/gw_1") -> tuple[str, str]:
    """Return a certificate for the request of a box, and the authority's own."""
    authority = device_ca.device_authority(folder / "secrets", "school", NOW)
    csr = x509.load_pem_x509_csr(certificates.request_pem(box, "school", "gw_1").encode())
    return device_ca.pem_of(device_ca.sign_gateway(authority, csr, name, NOW)), authority.pem


class TestInstall:
    def test_keeps_certificate_and_key_together_for_nobody_else(self, tmp_path: Path) -> None:
        box = tmp_path / "box"
        certificate, ca = given(box, tmp_path)

        kept = certificates.install(box, "school", "gw_1", certificate_pem=certificate, ca_pem=ca)

        path = certificates.identity_path(box)
        assert certificates.held(path) == kept
        assert kept.common_name == "school/gw_1"
        assert path.stat().st_mode & 0o077 == 0
        assert not (box / "broker" / "pending.key.pem").exists()

    def test_asks_again_for_the_same_key_until_it_is_answered(self, tmp_path: Path) -> None:
        first, again = (
            x509.load_pem_x509_csr(certificates.request_pem(tmp_path, "school", "gw_1").encode()) for _ in range(2)
        )

        assert first.public_key() == again.public_key()

    @pytest.mark.parametrize(
        ("spoil", "word"),
        [
            ("other_key", "another key"),
            ("name", "names"),
            ("text", "read"),
            ("ca", "read"),
            ("no_request", "no request"),
        ],
    )
    def test_refuses_what_is_not_for_this_box(self, tmp_path: Path, spoil: str, word: str) -> None:
        box = tmp_path / "box"
        certificate, ca = given(box, tmp_path, "school/gw_2" if spoil == "name" else "school/gw_1")
        if spoil == "other_key":
            certificate, _ = given(tmp_path / "other", tmp_path)
        if spoil == "no_request":
            (box / "broker" / "pending.key.pem").unlink()
        certificate, ca = ("x" if spoil == "text" else certificate), ("x" if spoil == "ca" else ca)

        with pytest.raises(CertificateRefused, match=word):
            certificates.install(box, "school", "gw_1", certificate_pem=certificate, ca_pem=ca)
        assert not certificates.identity_path(box).exists()


class TestHeld:
    @pytest.mark.parametrize(("days", "due"), [(0, False), (59, False), (60, True), (89, True), (91, True)])
    def test_is_due_in_the_last_third(self, days: int, due: bool) -> None:
        held = Held("x", NOW, NOW + timedelta(days=90), "1")

        assert held.is_due(NOW + timedelta(days=days)) is due

    @pytest.mark.parametrize("content", [None, b"", b"nonsense"])
    def test_of_what_is_no_certificate_is_refused(self, tmp_path: Path, content: bytes | None) -> None:
        path = tmp_path / "x.pem"
        if content is not None:
            path.write_bytes(content)

        with pytest.raises(CertificateRefused, match=r"x\.pem"):
            certificates.held(path)
