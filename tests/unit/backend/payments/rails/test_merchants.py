"""Merchants' folders: loaded when needed, wrong ones named, keys never shown."""

import logging
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from backend.payments.rails import merchants
from backend.payments.rails.merchants import MerchantFileWrong, Merchants
from tests.unit.backend.payments.rails.parties import APIV3_KEY, TENANT, folder, private_pem

LOADERS: dict[str, Callable[[Path], object]] = {
    "unionpay": merchants.load_unionpay,
    "alipay": merchants.load_alipay,
    "wechat": merchants.load_wechat,
}


def _elliptic() -> bytes:
    return ec.generate_private_key(ec.SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


class TestLoad:
    @pytest.mark.parametrize("method", LOADERS)
    def test_shows_no_key_and_no_secret(self, tmp_path: Path, method: str) -> None:
        merchant = LOADERS[method](folder(tmp_path, method))

        assert "<backend.payments.rails.merchants." in repr(merchant)

    @pytest.mark.parametrize(
        ("method", "field", "value"),
        [
            ("unionpay", "mer_id", ""),
            ("unionpay", "cert_id", "12"),
            ("unionpay", "sign_method", "11"),
            ("alipay", "app_id", "two words"),
            ("alipay", "seller_id", "卖家"),
            ("wechat", "mch_id", ""),
            ("wechat", "serial_no", "xyz"),
            ("wechat", "platform_serial", "PUB_KEY"),
        ],
    )
    def test_names_the_field_that_is_wrong(self, tmp_path: Path, method: str, field: str, value: str) -> None:
        path = folder(tmp_path, method, **{field: value})

        with pytest.raises(MerchantFileWrong, match=rf"merchant\.toml: {field}: ") as caught:
            LOADERS[method](path)
        assert (caught.value.file, caught.value.field) == (path / "merchant.toml", field)

    @pytest.mark.parametrize(
        ("method", "name"),
        [
            ("unionpay", "merchant.key.pem"),
            ("unionpay", "merchant.cert.pem"),
            ("unionpay", "provider.cert.pem"),
            ("alipay", "app.key.pem"),
            ("alipay", "provider.pub.pem"),
            ("wechat", "merchant.key.pem"),
            ("wechat", "platform.pub.pem"),
            ("wechat", "apiv3.key"),
        ],
    )
    @pytest.mark.parametrize("content", [None, b"", b"nonsense", b"\xff\xfe"])
    def test_names_the_file_that_is_wrong(self, tmp_path: Path, method: str, name: str, content: bytes | None) -> None:
        path = folder(tmp_path, method)
        (path / name).unlink() if content is None else (path / name).write_bytes(content)

        with pytest.raises(MerchantFileWrong) as caught:
            LOADERS[method](path)
        assert caught.value.file == path / name

    def test_takes_no_key_of_another_kind_or_of_another_certificate(self, tmp_path: Path) -> None:
        path = folder(tmp_path, "unionpay")
        for wrong in (_elliptic(), private_pem("stranger")):
            (path / "merchant.key.pem").write_bytes(wrong)

            with pytest.raises(MerchantFileWrong, match=r"merchant\.key\.pem"):
                merchants.load_unionpay(path)

    @pytest.mark.parametrize("text", ["= nothing", "url = 1", ""])
    def test_wants_toml(self, tmp_path: Path, text: str) -> None:
        path = folder(tmp_path, "alipay")
        (path / "merchant.toml").write_text(text)

        with pytest.raises(MerchantFileWrong, match=r"merchant\.toml"):
            merchants.load_alipay(path)

    def test_needs_no_keys_for_sm3(self, tmp_path: Path) -> None:
        path = folder(tmp_path, "unionpay", sign_method="12")
        for name in ("merchant.key.pem", "merchant.cert.pem", "provider.cert.pem"):
            (path / name).unlink()

        assert merchants.load_unionpay(path).key is None


class TestFind:
    def test_loads_when_first_needed_and_once(self, tmp_path: Path) -> None:
        known = Merchants("wechat", tmp_path, merchants.load_wechat)
        assert known.find(TENANT) == "method_not_configured"

        folder(tmp_path, "wechat")

        assert known.find(TENANT) is known.find(TENANT)

    @pytest.mark.parametrize("tenant_id", ["", "..", "../north_campus", "a/b", "a" * 101, "北区"])
    def test_never_leaves_the_folder(self, tmp_path: Path, tenant_id: str) -> None:
        folder(tmp_path, "wechat")

        assert Merchants("wechat", tmp_path, merchants.load_wechat).find(tenant_id) == "method_not_configured"

    def test_says_in_the_log_what_is_wrong_without_the_secret(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        path = folder(tmp_path, "wechat")
        (path / "apiv3.key").write_bytes(APIV3_KEY[:31])
        known = Merchants("wechat", tmp_path, merchants.load_wechat)

        with caplog.at_level(logging.DEBUG):
            assert known.find(TENANT) == "method_misconfigured"

        assert "apiv3.key: must be 32 characters" in caplog.text
        assert APIV3_KEY[:31].decode() not in caplog.text


class TestAddress:
    def test_is_the_merchants_unless_the_configuration_names_one(self, tmp_path: Path) -> None:
        merchant = merchants.load_alipay(folder(tmp_path, "alipay", url="http://there/x/"))

        own = Merchants("alipay", tmp_path, merchants.load_alipay)
        named = Merchants("alipay", tmp_path, merchants.load_alipay, provider_url="http://here:1/")

        assert own.address(merchant, "/gateway.do") == "http://there/x/gateway.do"
        assert named.address(merchant, "/gateway.do") == "http://here:1/alipay/gateway.do"
