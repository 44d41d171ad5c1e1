"""Keys are made once, by whoever comes first, and readable by nobody else."""

import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from cryptography import x509

from firmware_sim import sandbox_keys


def contents(folder: Path) -> dict[str, bytes]:
    """Return every file below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


class TestMake:
    def test_makes_every_file_once_for_many_at_once(self, tmp_path: Path) -> None:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda _: sandbox_keys.make(tmp_path, "gxu", "http://127.0.0.1:1"), range(4)))
        first = contents(tmp_path)

        sandbox_keys.make(tmp_path, "gxu", "http://127.0.0.1:1")

        assert contents(tmp_path) == first
        names = {name.removeprefix("providers/gxu/") for name in first if name.startswith("providers/gxu/")}
        assert names == {
            "unionpay/merchant.toml", "unionpay/merchant.key.pem", "unionpay/merchant.cert.pem",
            "unionpay/provider.cert.pem", "unionpay/sm3.secret", "alipay/merchant.toml", "alipay/app.key.pem",
            "alipay/provider.pub.pem", "wechat/merchant.toml", "wechat/merchant.key.pem", "wechat/platform.pub.pem",
            "wechat/apiv3.key",
        }  # fmt: skip
        assert all(path.stat().st_mode & 0o077 == 0 for path in tmp_path.rglob("*.*") if path.name != "making.lock")

    def test_renews_nothing_but_the_address(self, tmp_path: Path) -> None:
        sandbox_keys.make(tmp_path, "gxu", "http://127.0.0.1:1")
        before = contents(tmp_path)

        assert sandbox_keys.main(["--secrets", str(tmp_path), "--tenant", "gxu", "--url", "http://127.0.0.1:2/"]) == 0

        changed = {name for name, content in contents(tmp_path).items() if before[name] != content}
        assert changed == {f"providers/gxu/{brand}/merchant.toml" for brand in sandbox_keys.BRANDS}
        values = tomllib.loads((tmp_path / "providers/gxu/alipay/merchant.toml").read_text())
        assert values["url"] == "http://127.0.0.1:2/alipay"

    def test_mends_what_was_left_half_done(self, tmp_path: Path) -> None:
        sandbox_keys.make(tmp_path, "gxu", "http://127.0.0.1:1")
        (tmp_path / "providers/gxu/unionpay/merchant.toml").unlink()

        sandbox_keys.make(tmp_path, "gxu", "http://127.0.0.1:1")

        folder = tmp_path / "providers/gxu/unionpay"
        certificate = x509.load_pem_x509_certificate((folder / "merchant.cert.pem").read_bytes())
        assert tomllib.loads((folder / "merchant.toml").read_text())["cert_id"] == str(certificate.serial_number)

    def test_tenants_are_different_merchants(self, tmp_path: Path) -> None:
        numbers = {sandbox_keys.merchant_number(brand, f"t{i}") for brand in sandbox_keys.BRANDS for i in range(200)}

        assert len(numbers) == 600
