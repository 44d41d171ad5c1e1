"""Builds the providers. Which school is a merchant where is read from its folder when it is first needed."""

from collections.abc import Mapping
from pathlib import Path

from backend.kit.clock import Clock, utc_now
from backend.payments.port import Provider
from backend.payments.rails import merchants
from backend.payments.rails.alipay import Alipay
from backend.payments.rails.unionpay import UnionPay
from backend.payments.rails.wechat import WeChat
from backend.payments.rails.wire import Wire

#: Longer than a provider takes, shorter than the process that sends an order has it to itself.
TIMEOUT_MS = 5_000


def build(
    provider_url: str,
    secrets_dir: Path,
    *,
    public_url: str,
    timeout_ms: int = TIMEOUT_MS,
    clock: Clock = utc_now,
    wire: Wire | None = None,
) -> Mapping[str, Provider]:
    """
    Return a provider for each external method.

    With a `provider_url` everything goes to `<provider_url>/<method>`, otherwise to the address in a school's merchant
    file. `clock` is the time on the wire: signatures are only good for minutes. A `wire` given has its own limit.
    """
    wire = wire or Wire(timeout_ms=timeout_ms)
    unionpay = merchants.Merchants("unionpay", secrets_dir, merchants.load_unionpay, provider_url=provider_url)
    alipay = merchants.Merchants("alipay", secrets_dir, merchants.load_alipay, provider_url=provider_url)
    wechat = merchants.Merchants("wechat", secrets_dir, merchants.load_wechat, provider_url=provider_url)
    built: tuple[Provider, ...] = (
        UnionPay(unionpay, wire, public_url=public_url, clock=clock),
        Alipay(alipay, wire, public_url=public_url, clock=clock),
        WeChat(wechat, wire, public_url=public_url, clock=clock),
    )
    return {provider.method: provider for provider in built}
