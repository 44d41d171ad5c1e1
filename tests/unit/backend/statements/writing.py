"""
Writes the statement files byte by byte, from the published field lists alone: nothing of the readers is used.

A `Said` is what a file should come to say; the writers turn a list of them into bytes, with knobs for what is unusual.
"""

import gzip
import io
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

DAY = date(2026, 11, 21)
UNIONPAY_MERCHANT = "777290058110048"
WECHAT_MERCHANT = "1900000109"
ALIPAY_SELLER = "2088102146225135"
BANK_ACCOUNT = "6222020200012345678"

#: Widths in bytes as published: 40 fields that all ZM versions share, and what follows in each.
ZM_COMMON = "3,11,11,6,10,19,12,4,2,21,2,32,2,6,10,13,13,4,15,2,2,6,2,4,32,1,21,15,1,15,32,13,13,8,32,13,13,12,2,1"
ZM_TAILS = {41: "131", 42: "32,98", 46: "32,13,2,1,12,67"}
ZME_WIDTHS = "3,11,11,6,10,19,12,4,2,2,6,10,4,12,13,13,15,15,1,12,2,135"

WECHAT_HEADER = (
    "交易时间,公众账号ID,商户号,特约商户号,设备号,微信订单号,商户订单号,用户标识,交易类型,交易状态,付款银行,货币种类,"
    "应结订单金额,代金券金额,微信退款单号,商户退款单号,退款金额,充值券退款金额,退款类型,退款状态,商品名称,商户数据包,"
    "手续费,费率,订单金额,申请退款金额,费率备注"
)
WECHAT_TOTALS = "总交易单数,应结订单总金额,退款总金额,充值券退款总金额,手续费总金额,订单总金额,申请退款总金额"
ALIPAY_HEADER = (
    "支付宝交易号,商户订单号,业务类型,商品名称,创建时间,完成时间,门店编号,门店名称,操作员,终端号,对方账户,订单金额（元）,"
    "商家实收（元）,支付宝红包（元）,集分宝（元）,支付宝优惠（元）,商家优惠（元）,券核销金额（元）,券名称,商家红包消费金额（元）,"
    "卡消费金额（元）,退款批次号/请求号,服务费（元）,分润（元）,备注"
)


@dataclass(frozen=True, slots=True)
class Said:
    """One transaction. `wall` is China's clock without a zone; amounts as the slice counts them."""

    kind: str
    order_no: str
    operation_no: str
    provider_ref: str
    amount_minor: int
    fee_e5: int
    wall: datetime
    status: str
    name: str = "热水"

    @property
    def happened_at(self) -> datetime:
        """Return the moment."""
        return self.wall.replace(tzinfo=UTC) - timedelta(hours=8)


def yuan(units: int, decimals: int = 2) -> str:
    """Return an amount with its point."""
    whole, rest = divmod(abs(units), 10**decimals)
    return f"{'-' if units < 0 else ''}{whole}.{rest:0{decimals}d}"


def cut(text: str, byte_count: int) -> bytes:
    """Return GBK text in a fixed width as terminals do it: cut wherever the width ends, half characters included."""
    return text.encode("gbk")[:byte_count].ljust(byte_count, b" ")


def signed(fen: int) -> bytes:
    """Return X+n12: C for what the merchant gets, D for what it gives."""
    return f"{'D' if fen < 0 else 'C'}{abs(fen):012d}".encode()


def _joined(fields: Sequence[bytes], widths: str) -> bytes:
    numbers = [int(width) for width in widths.split(",")]
    assert [len(field) for field in fields] == numbers
    return b" ".join(fields)


def zm_line(said: Said, *, fields: int = 42, merchant: str = UNIONPAY_MERCHANT, number: int = 1) -> bytes:
    """Return one ZM record. `status` is the transaction type."""
    sign = {"01": 1, "02": 0, "03": 1, "04": -1, "31": -1, "32": 0, "33": -1}[said.status]
    amount, fee = abs(said.amount_minor), said.fee_e5 // 1000
    about_another = said.status not in ("01", "02")
    settled = signed(sign * amount - fee)
    tails = {
        41: [b" " * 131],
        42: [cut(said.order_no if about_another else "", 32), b" " * 98],
        46: [
            *(cut(said.order_no if about_another else "", 32), settled, b"03", b"1", b"112122334455", b" " * 67),
        ],
    }
    return _joined(
        [
            {"01": b"S22", "04": b"S30"}.get(said.status, b"S24"),
            *(cut("48021000", 11), cut("00049992", 11), f"{number:06d}".encode()[-6:]),
            said.wall.strftime("%m%d%H%M%S").encode(),
            cut("6216261****0018", 19),
            f"{amount:012d}".encode(),
            *(b"8220", b"08", cut(said.provider_ref, 21), b"  "),
            cut(said.operation_no or said.order_no, 32),
            *(b"02", b"      ", b"          ", signed(-fee), settled, b"0201", b" " * 15),
            *(said.status.encode(), b"01", b"000201", b"01", b"    ", b" " * 32, b"0"),
            cut("2" + said.provider_ref[1:] if about_another else "", 21),
            *(cut(merchant, 15), b" ", b" " * 15, cut(said.name, 32), b" " * 13, settled, cut("终端一号", 8)),
            *(cut(said.name, 32), signed(0), signed(0), b"C" + b"0" * 11, b"  ", b" "),
            *tails[fields],
        ],
        f"{ZM_COMMON},{ZM_TAILS[fields]}",
    )


def zme_line(said: Said, *, merchant: str = UNIONPAY_MERCHANT) -> bytes:
    """Return one ZME record; `provider_ref` is trace, time, "/" and those of what it corrects."""
    own, original = said.provider_ref.split("/")
    fee = said.fee_e5 // 1000
    return _joined(
        [
            *(said.status.encode(), cut("48021000", 11), cut("00049992", 11), own[:6].encode()),
            *(said.wall.strftime("%m%d%H%M%S").encode(), cut("6216261****0018", 19)),
            f"{abs(said.amount_minor):012d}".encode(),
            *(b"8220", b"08", b"02", original[:6].encode(), original[6:].encode(), original[6:10].encode()),
            *(f"{abs(said.amount_minor):012d}".encode(), signed(-fee), signed(said.amount_minor - fee)),
            *(b" " * 15, cut(merchant, 15), b" ", b"C" + b"0" * 11, b"  ", cut("差错", 135)),
        ],
        ZME_WIDTHS,
    )


def zm(rows: Sequence[Said], *, fields: int = 42, merchant: str = UNIONPAY_MERCHANT, newline: bytes = b"\r\n") -> bytes:
    """Return a plain ZM file."""
    return b"".join(zm_line(row, fields=fields, merchant=merchant, number=i) + newline for i, row in enumerate(rows, 1))


def zipped(members: dict[str, bytes], *, encoding: str = "ascii", method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """
    Return a ZIP written by hand: names in an encoding, without the UTF-8 flag that `zipfile` would set.
    """
    out, directory = io.BytesIO(), b""
    for name, content in members.items():
        raw_name, crc, offset = name.encode(encoding), zlib.crc32(content), out.tell()
        packer = zlib.compressobj(6, zlib.DEFLATED, -15)
        packed = packer.compress(content) + packer.flush() if method else content
        head = (20).to_bytes(2, "little") + bytes(2) + method.to_bytes(2, "little") + bytes.fromhex("0000 6d5b")
        head += crc.to_bytes(4, "little") + len(packed).to_bytes(4, "little") + len(content).to_bytes(4, "little")
        head += len(raw_name).to_bytes(2, "little") + bytes(2)
        out.write(b"PK\x03\x04" + head + raw_name + packed)
        directory += b"PK\x01\x02" + (20).to_bytes(2, "little") + head + bytes(10) + offset.to_bytes(4, "little")
        directory += raw_name
    start = out.tell()
    end = b"PK\x05\x06" + bytes(4) + len(members).to_bytes(2, "little") * 2
    end += len(directory).to_bytes(4, "little") + start.to_bytes(4, "little") + bytes(2)
    return out.getvalue() + directory + end


def unionpay_zip(rows: Sequence[Said], adjustments: Sequence[Said] = (), *, day: date = DAY, fields: int = 42) -> bytes:
    """Return the ZIP of a day."""
    members = {f"INN{day:%y%m%d}88ZM_{UNIONPAY_MERCHANT}": zm(rows, fields=fields)}
    members[f"INN{day:%y%m%d}88ZME_{UNIONPAY_MERCHANT}"] = b"".join(zme_line(row) + b"\r\n" for row in adjustments)
    return zipped(members)


def wechat_line(said: Said, *, merchant: str = WECHAT_MERCHANT) -> str:
    """Return one row. A refund repeats the order's columns and says nothing settled for the order again."""
    gives_back = said.kind == "refund"
    amount = yuan(abs(said.amount_minor))
    values = [
        *(said.wall.strftime("%Y-%m-%d %H:%M:%S"), "wx2421b1c4370ec43b", merchant, "0", ""),
        "4200000" + said.provider_ref[-18:] if gives_back else said.provider_ref,
        *(said.order_no, "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o", "MICROPAY", "REFUND" if gives_back else "SUCCESS"),
        *("OTHERS", "CNY", "0.00" if gives_back else amount, "0.00"),
        *((said.provider_ref, said.operation_no, amount) if gives_back else ("0", "0", "0.00")),
        *("0.00", "ORIGINAL" if gives_back else "", said.status if gives_back else "", said.name, ""),
        *(yuan(said.fee_e5, 5), "0.60%", "0.00" if gives_back else amount, amount if gives_back else "0.00", ""),
    ]
    assert len(values) == 27
    return ",".join("`" + value for value in values)


def wechat(rows: Sequence[Said], *, merchant: str = WECHAT_MERCHANT, newline: str = "\r\n") -> bytes:
    """Return a plain bill."""
    paid = sum(row.amount_minor for row in rows if row.kind == "payment")
    back = -sum(row.amount_minor for row in rows if row.kind == "refund")
    totals = [
        str(len(rows)),
        yuan(paid),
        yuan(back),
        "0.00",
        yuan(sum(r.fee_e5 for r in rows), 5),
        yuan(paid),
        yuan(back),
    ]
    lines = [
        *(WECHAT_HEADER, *(wechat_line(row, merchant=merchant) for row in rows)),
        *(WECHAT_TOTALS, ",".join("`" + value for value in totals)),
    ]
    return b"\xef\xbb\xbf" + "".join(line + newline for line in lines).encode()


def wechat_gzip(rows: Sequence[Said]) -> bytes:
    """Return a packed bill."""
    return gzip.compress(wechat(rows), mtime=0)


def alipay_line(said: Said) -> str:
    """Return one row."""
    amount = yuan(said.amount_minor)
    values = [
        *(said.provider_ref + "\t", said.order_no + "\t", said.status + "\t", said.name),
        *(said.wall.strftime("%Y-%m-%d %H:%M:%S"), said.wall.strftime("%Y-%m-%d %H:%M:%S")),
        *("\t", "\t", "\t", "\t", "*津水(602***@qq.com)\t", amount, amount, "0.00", "0.00", "0.00", "0.00", "0.00"),
        *("", "0.00\t", "0.00", said.operation_no + "\t", yuan(-said.fee_e5 // 1000), "0.00", said.name),
    ]
    assert len(values) == 25
    return ",".join(values)


def alipay(
    rows: Sequence[Said],
    *,
    day: date = DAY,
    seller: str = ALIPAY_SELLER,
    refunds_line: bool = True,
    newline: str = "\n",
) -> bytes:
    """Return the plain detail."""
    after = day + timedelta(days=1)
    paid, back = ([row for row in rows if row.kind == kind] for kind in ("payment", "refund"))
    lines = [
        "#支付宝业务明细查询",
        f"#账号：[{seller}0156]",
        f"#起始日期：[{day:%Y年%m月%d日} 00:00:00]   终止日期：[{after:%Y年%m月%d日} 00:00:00]",
        "#-----------------------------------------业务明细列表----------------------------------------",
        ALIPAY_HEADER,
        *(alipay_line(row) for row in rows),
        "#-----------------------------------------业务明细列表结束------------------------------------",
        f"#交易合计：{len(paid)}笔，商家实收共{yuan(sum(row.amount_minor for row in paid))}元，商家优惠共0.00元",
    ]
    if refunds_line:
        amount = yuan(sum(row.amount_minor for row in back))
        lines.append(f"#退款合计：{len(back)}笔，商家实收退款共{amount}元，商家优惠退款共0.00元")
    lines.append(f"#导出时间：[{after:%Y年%m月%d日} 05:46:49]")
    return "".join(line + newline for line in lines).encode("gbk")


def bank_line(said: Said) -> str:
    """Return one row. `status` is the way the money went."""
    wall = said.wall.strftime("%Y-%m-%d %H:%M:%S")
    return ",".join((wall, said.status, yuan(abs(said.amount_minor)), said.order_no, said.provider_ref))


def bank(rows: Sequence[Said], *, day: date = DAY, account: str = BANK_ACCOUNT, newline: str = "\n") -> bytes:
    """Return a plain day of the account that leavers are paid from."""
    totals = ["#合计"]
    for way in "付退收":
        amounts = [abs(row.amount_minor) for row in rows if row.status == way]
        totals += [way, str(len(amounts)), yuan(sum(amounts))]
    lines = [
        *("#银行账户流水,campustap-bank-1", f"#账号,{account}", f"#日期,{day.isoformat()}"),
        *("记账时间,收付,金额,参考号,银行流水号", *map(bank_line, rows), ",".join(totals)),
    ]
    return "".join(line + newline for line in lines).encode()


def bank_zip(rows: Sequence[Said], *, day: date = DAY) -> bytes:
    """Return the ZIP of a day."""
    return zipped({"account.csv": bank(rows, day=day)})


def alipay_zip(rows: Sequence[Said], *, day: date = DAY) -> bytes:
    """Return the ZIP of a day, with the summary beside the detail."""
    stem = f"{ALIPAY_SELLER}0156_{day:%Y%m%d}_业务明细"
    return zipped(
        {f"{stem}(汇总).csv": "#支付宝业务汇总查询\n".encode("gbk"), f"{stem}.csv": alipay(rows, day=day)},
        encoding="gbk",
    )
