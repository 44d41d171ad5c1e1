"""The provider's own keys and the merchants it knows, from the files `sandbox_keys` makes."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from firmware_sim.sandbox_keys import BRANDS, make_provider

_NUMBER = re.compile(r"[0-9A-Za-z]{1,32}")


@dataclass(frozen=True, slots=True)
class Merchant:
    """A merchant of one brand. `values` are the public settings of its file and its shared secrets."""

    brand: str
    tenant_id: str
    merchant_id: str
    public_key: RSAPublicKey
    values: dict[str, str]


class Keyring:
    """All keys of the provider's side. Merchants made while it runs are found too."""

    def __init__(self, secrets_dir: Path) -> None:
        self._folder = make_provider(secrets_dir)
        self._keys: dict[str, RSAPrivateKey] = {}
        for brand in BRANDS:
            pem = (self._folder / f"{brand}.key.pem").read_bytes()
            key = load_pem_private_key(pem, None, unsafe_skip_rsa_key_validation=True)  # our own; checking is slow
            assert isinstance(key, RSAPrivateKey)
            self._keys[brand] = key
        self.unionpay_certificate = (self._folder / "unionpay.cert.pem").read_text(encoding="ascii")
        self.wechat_serial = (self._folder / "wechat.serial").read_text(encoding="ascii")
        self._merchants: dict[tuple[str, str], Merchant] = {}

    def key(self, brand: str) -> RSAPrivateKey:
        """Return the key a brand signs with."""
        return self._keys[brand]

    def merchant(self, brand: str, merchant_id: str) -> Merchant | None:
        """Return a merchant by its number, or None."""
        known = self._merchants.get((brand, merchant_id))
        path = self._folder / "merchants" / f"{brand}_{merchant_id}.json"
        if known is not None or not _NUMBER.fullmatch(merchant_id) or not path.exists():
            return known
        values: dict[str, str] = json.loads(path.read_text(encoding="utf-8"))
        public_key = load_pem_public_key(values["public_key"].encode())
        assert isinstance(public_key, RSAPublicKey)
        found = Merchant(brand, values["tenant_id"], merchant_id, public_key, values)
        self._merchants[brand, merchant_id] = found
        return found
