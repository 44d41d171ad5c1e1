"""
What a gateway and the backend tell each other about its certificate and its configuration.

Requests are signed with the gateway's own key, documents with the tenant's command key (`gateway.contract.signing`).
The document travels on a topic of its own beside the commands.
"""

import re

import msgspec

from gateway.contract import topics
from gateway.contract.messages import Hello

#: The last topic part of a configuration document on its way down.
CONFIGURATION = "configuration"
#: An X.509 common name has at most so many characters.
COMMON_NAME_MAX = 64
CONFIGURATION_BYTES_MAX = 200_000
CONFIRM_S_MIN, CONFIRM_S_MAX = 5, 600
_CODE_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_CODE_LENGTH = 16
_CODE = re.compile(f"[{_CODE_ALPHABET}]{{{_CODE_LENGTH}}}")


class EnrollRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What a gateway asks to have signed. Travels signed by the gateway's own key, under its gateway id."""

    tenant: str
    gateway: str
    #: the key that signs its records, 32 bytes in base 64
    public_key: str
    #: for the connection to the broker; made on the box as well
    csr_pem: str
    #: empty when a certificate is renewed
    claim_code: str = ""
    at_ms: int


class EnrollAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What the backend gives back."""

    tenant: str
    gateway: str
    certificate_pem: str
    broker_ca_pem: str
    not_after_ms: int
    command_keys: dict[str, str]
    broker_host: str
    broker_port: int


class ConfigurationDocument(msgspec.Struct, frozen=True, kw_only=True):
    """The configuration a gateway should have. Signed by the tenant's command key."""

    tenant: str
    gateway: str
    #: strictly greater than every version this gateway has heard of
    version: int
    issued_at_ms: int
    not_after_ms: int
    #: the whole configuration file
    toml: str
    #: the configuration before comes back unless the gateway is healthy within this time
    confirm_s: int = 60


class ConfigurationState(msgspec.Struct, frozen=True, kw_only=True):
    """What a gateway says of its configuration."""

    #: of the document last heard of; 0 when there was none
    version: int = 0
    #: `local`, `waiting` (for running water to end), `trial`, `applied`, `rolled_back` or `refused`
    state: str = "local"
    #: why it was refused or rolled back
    detail: str = ""
    #: of the document in force; 0 is the file on the box
    running_version: int = 0


class Birth(Hello, frozen=True, kw_only=True):
    """A hello with what one box says of itself beyond the contract's fields."""

    #: minted when the process starts: two boxes with one certificate take turns with theirs
    instance: str = ""
    #: how often another client with our name took our connection
    takeovers: int = 0
    certificate_not_after_ms: int = 0
    configuration: ConfigurationState | None = None


def configuration_topic(tenant: str, gateway: str) -> str:
    """Return the topic a gateway receives its configuration on."""
    return topics.down_filter(tenant, gateway).removesuffix("#") + CONFIGURATION


def common_name(tenant: str, gateway: str) -> str:
    """
    Return the name in a gateway's certificate, which is also its account at the broker.

    :raises ValueError: if it is too long for a certificate, or cannot stand in a topic.
    """
    topics.down_filter(tenant, gateway)
    name = f"{tenant}/{gateway}"
    if len(name) > COMMON_NAME_MAX:
        raise ValueError(f"{name!r} is longer than the {COMMON_NAME_MAX} characters a certificate's name may have")
    return name


def tidy_code(text: str) -> str:
    """
    Return a claim code as it was made, from what a person typed.

    :raises ValueError: if it cannot be one.
    """
    code = re.sub(r"[\s-]", "", text).upper().translate(str.maketrans("OIL", "011"))
    if not _CODE.fullmatch(code):
        raise ValueError("a claim code has 16 letters and digits, for example 7K3M-9QX2-D4TV-8ZHP")
    return code


def code_from(random_bytes: bytes) -> str:
    """Return a claim code of 80 bits, in groups of four."""
    value = int.from_bytes(random_bytes[:10].rjust(10, b"\0"))
    code = "".join(_CODE_ALPHABET[value >> shift & 31] for shift in range(5 * (_CODE_LENGTH - 1), -1, -5))
    return "-".join(code[start : start + 4] for start in range(0, _CODE_LENGTH, 4))
