"""
Alipay's daily file of trades (业务明细): GBK CSV in a ZIP whose member names are GBK without saying so.

Four lines that begin with #, a header of 25 columns, one line a movement, a footer with the totals. Numbers end in a
TAB so that spreadsheets leave them alone; refunds are negative, fees negative for payments. Amounts have two decimals.
"""

import io
import zipfile
from datetime import date, timedelta

from firmware_sim.sandbox_provider.keyring import Merchant
from firmware_sim.sandbox_provider.kit import readable, yuan
from firmware_sim.sandbox_provider.rows import Row, fee_minor, rows
from firmware_sim.sandbox_provider.store import Store

HEADER = (
    "支付宝交易号,商户订单号,业务类型,商品名称,创建时间,完成时间,门店编号,门店名称,操作员,终端号,对方账户,订单金额（元）,商家实收（元）,"
    "支付宝红包（元）,集分宝（元）,支付宝优惠（元）,商家优惠（元）,券核销金额（元）,券名称,商家红包消费金额（元）,卡消费金额（元）,"
    "退款批次号/请求号,服务费（元）,分润（元）,备注"
)
_EPOCH = (1980, 1, 1, 0, 0, 0)
_RULE = "#-----------------------------------------业务明细列表----------------------------------------"
_RULE_END = "#-----------------------------------------业务明细列表结束------------------------------------"


class _GbkName(zipfile.ZipInfo):
    """A member whose name is written in GBK and not marked as UTF-8."""

    def _encodeFilenameFlags(self) -> tuple[bytes, int]:
        return self.filename.encode("gbk"), self.flag_bits & ~0x800


def _cells(row: Row) -> list[str]:
    order, operation = row.order, row.operation
    is_payment = row.kind in ("charge", "capture")
    amount = row.amount_minor if is_payment else -row.amount_minor
    fee = fee_minor("alipay", row.amount_minor)
    if is_payment and operation is not None:
        trade_no, number, request_no = operation.reference, operation.operation_no, ""
    elif is_payment or operation is None:
        trade_no, number, request_no = order.reference, order.order_no, ""
    else:
        trade_no, number = operation.details["trade_no"], operation.details["out_trade_no"]
        request_no = operation.details["request_no"]
    subject = str((operation or order).details.get("subject", "")).replace(",", " ").replace("\n", " ")
    return [
        f"{trade_no}\t", f"{number}\t", "交易" if is_payment else "退款", subject,
        readable((operation or order).created_ms), readable(row.at_ms), "\t", "\t", "\t", "\t", "*师(138****0001)\t",
        yuan(amount), yuan(amount), "0.00", "0.00", "0.00", "0.00", "0.00", "\t", "0.00", "0.00",
        f"{request_no}\t", yuan(-fee if is_payment else fee), "0.00", "",
    ]  # fmt: skip


def _text(account: str, day: date, found: list[Row]) -> str:
    end = day + timedelta(days=1)
    lines = [
        "#支付宝业务明细查询",
        f"#账号：[{account}]",
        f"#起始日期：[{day:%Y年%m月%d日} 00:00:00]   终止日期：[{end:%Y年%m月%d日} 00:00:00]",
        _RULE,
        HEADER,
        *(",".join(_cells(row)) for row in found),
        _RULE_END,
    ]
    payments = [row for row in found if row.kind in ("charge", "capture")]
    refunds = [row for row in found if row.kind not in ("charge", "capture")]
    taken, returned = sum(row.amount_minor for row in payments), sum(row.amount_minor for row in refunds)
    lines += [
        f"#交易合计：{len(payments)}笔，商家实收共{yuan(taken)}元，商家优惠共0.00元",
        f"#退款合计：{len(refunds)}笔，商家实收退款共{yuan(-returned)}元，商家优惠退款共0.00元",
        f"#导出时间：[{end:%Y年%m月%d日} 08:00:00]",
    ]
    return "".join(f"{line}\r\n" for line in lines)


def statement(store: Store, merchant: Merchant, day: date) -> tuple[str, bytes]:
    """Return the name and bytes of the ZIP of a day; the same day gives the same bytes."""
    wanted = ("charge", "capture", "refund", "cancel")
    found = [row for row in rows(store, "alipay", merchant.merchant_id, day) if row.kind in wanted]
    account = merchant.values["seller_id"]
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        info = _GbkName(f"{account}_{day:%Y%m%d}_业务明细.csv", _EPOCH)
        info.compress_type = zipfile.ZIP_DEFLATED
        archive.writestr(info, _text(f"{account}0156", day, found).encode("gbk"))
        summary = _GbkName(f"{account}_{day:%Y%m%d}_业务明细(汇总).csv", _EPOCH)
        summary.compress_type = zipfile.ZIP_DEFLATED
        archive.writestr(summary, _summary(f"{account}0156", day, found).encode("gbk"))
    return f"{account}_{day:%Y%m%d}.csv.zip", packed.getvalue()


def _summary(account: str, day: date, found: list[Row]) -> str:
    payments = [row for row in found if row.kind in ("charge", "capture")]
    refunds = [row for row in found if row.kind not in ("charge", "capture")]
    net = sum(row.amount_minor for row in payments) - sum(row.amount_minor for row in refunds)
    fees = sum(fee_minor("alipay", row.amount_minor) for row in payments)
    fees -= sum(fee_minor("alipay", row.amount_minor) for row in refunds)
    total = ["合计\t", "\t", str(len(payments)), str(len(refunds)), yuan(net), yuan(net), "0.00", "0.00"]
    lines = [
        "#支付宝业务汇总查询",
        f"#账号：[{account}]",
        f"#起始日期：[{day:%Y年%m月%d日} 00:00:00]   终止日期：[{day + timedelta(days=1):%Y年%m月%d日} 00:00:00]",
        "门店编号,门店名称,交易订单总笔数,退款订单总笔数,订单金额（元）,商家实收（元）,支付宝优惠（元）,商家优惠（元）,服务费（元）,实收净额（元）",
        ",".join([*total, yuan(-fees), yuan(net - fees)]),
    ]
    return "".join(f"{line}\r\n" for line in lines)
