"""RSA signatures, SM3 and AES-GCM as the three providers use them."""

import base64
import binascii

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM


def rsa_sign(key: RSAPrivateKey, message: bytes) -> str:
    """Return the RSA-SHA256 signature of a message in base64."""
    return base64.b64encode(key.sign(message, padding.PKCS1v15(), hashes.SHA256())).decode()


def rsa_verify(key: RSAPublicKey, message: bytes, signature: str) -> bool:
    """Return whether a base64 signature is the key's under a message."""
    try:
        key.verify(base64.b64decode(signature, validate=True), message, padding.PKCS1v15(), hashes.SHA256())
    except (InvalidSignature, binascii.Error, ValueError):
        return False
    return True


def _hex(algorithm: hashes.HashAlgorithm, message: bytes) -> str:
    digest = hashes.Hash(algorithm)
    digest.update(message)
    return digest.finalize().hex()


def sha256_hex(message: bytes) -> str:
    """Return the SHA-256 of a message in lower-case hex."""
    return _hex(hashes.SHA256(), message)


def sm3_hex(message: bytes) -> str:
    """Return the SM3 of a message in lower-case hex."""
    return _hex(hashes.SM3(), message)


def seal(key: bytes, nonce: bytes, associated: bytes, text: bytes) -> str:
    """Return AES-256-GCM ciphertext with its tag in base64."""
    return base64.b64encode(AESGCM(key).encrypt(nonce, text, associated)).decode()
