"""
Sentences that are written into records in English, with their Chinese: why a break is one, why a file was refused.

A record keeps one sentence, made where the figures are; the page says it in the reader's language. `{}` stands for a
figure. A test finds every sentence of both slices here. A sentence nobody has translated is shown as it is.
"""

# ruff: noqa: E501 - a sentence is easiest to review with both languages on one line

import re
from functools import cache

#: English → Chinese; the figures keep their order unless numbered.
BREAKS: dict[str, str] = {
    "a meter reading is missing": "缺少一次水表读数",
    "session says {} to {}, readings say {} to {}": "用水记录为 {} 至 {}，水表读数为 {} 至 {}",
    "billed {} pulses, the registers say {}": "计费 {} 个脉冲，水表为 {} 个",
    "billed {} ml, it was {}": "计费 {} 毫升，实际 {} 毫升",
    "charged {}, the tariff says {}": "收取 {} 分，按价应为 {} 分",
    "session says {} captured, the ledger {}": "用水记录扣费 {} 分，账簿为 {} 分",
    "session says {} lost, the ledger {}": "用水记录损失 {} 分，账簿为 {} 分",
    "captured {} of a hold of {}": "扣费 {} 分，预授权只有 {} 分",
    "captured {} and lost {} are not the charge {}": "扣费 {} 分加损失 {} 分，不等于应收 {} 分",
    "the meter fell from {} to {}: reset or replaced": "水表从 {} 降到 {}：被复位或更换",
    "flow while closed, reported by the gateway: {} to {}": "关阀后有水流，网关已报告：{} 至 {}",
    "flow that nothing reported: {} to {}": "无人报告的水流：{} 至 {}",
    "opened at {}, the one before closed at {}": "开始读数 {}，上一次结束读数 {}",
    "billed and explained {} pulses, the register moved {}": "计费与已说明的共 {} 个脉冲，水表走了 {} 个",
    "sessions of a device that is not there": "这些用水所属的设备不存在",
    "revenue under the name of no ended session": "收入没有对应的已结束用水",
    "money left in clearing": "清算账户里还有钱",
    "held for more than a day for {}": "预授权超过一天未了结：{}",
    "{} has not said for more than a day what became of it": "{} 超过一天没有答复结果",
    "in payout clearing since {}, and no bank statement lists it": "自 {} 起在结清清算账户里，银行流水没有这笔",
    "transfer {} of {} is for no payout of ours; it names {}": "银行流水 {}（{}）不是我方的结清转账，附言为 {}",
    "transfer {} of {} is for a payout that goes in cash": "银行流水 {}（{}）对应的结清应付现金",
    "transfer {} of {} is for a payout that no second person has agreed to": "银行流水 {}（{}）对应的结清未经第二人批准",
    "transfer {} of {} is over {}, the payout {}": "银行流水 {}（{}）为 {} 分，结清应付 {} 分",
    "transfer {} of {} is for a payout that was settled before": "银行流水 {}（{}）对应的结清此前已付清",
    "transfer {} of {} came back, and none of this number and amount had gone out": "银行流水 {}（{}）退汇，此前没有相同参考号和金额的转出",
    "running sums {}, transfers add up to {}": "账户合计 {}，逐笔相加 {}",
    "debits are not credits": "借方不等于贷方",
}
FILES: dict[str, str] = {
    "no statement layout is known for {}": "没有 {} 的对账单格式",
    "{} is before {}; no file is of such a day": "{} 早于 {}，没有这一天的对账单文件",
    "{} is not over yet; its file is whole when the next day begins": "{} 还没有结束，次日开始后文件才完整",
    "{} {} is listed twice; ask the provider for a correct file": "{} {} 出现了两次，请向渠道索取正确的文件",
    "a file for this day is already imported, and {} of its rows are missing or different here; the first is {} {} (line {} there). A correction must hold every earlier row": "这一天的文件已导入，其中 {} 行在这里缺失或不同；第一处是 {} {}（原文件第 {} 行）。更正文件必须包含原有的每一行",
    "the header has {} columns, not {}": "表头有 {} 栏，应为 {} 栏",
    "the column is called {}": "这一栏的栏名是 {}",
    "{} is not an amount with {} decimals": "{} 不是带 {} 位小数的金额",
    "{} is not a number of an order or merchant": "{} 不是订单号或商户号",
    "{} is not {}": "{} 不符合 {}",
    "the ZIP file must hold one bill": "压缩文件里必须正好有一份账单",
    "the bill ends without its totals; download it again": "账单没有合计就结束了，请重新下载",
    "the line has {} values behind back-ticks, not {}": "这一行有 {} 个带反引号的值，应为 {} 个",
    "{} is not a state this layout knows": "格式中没有 {} 这种状态",
    "merchant {} is not {}": "商户 {} 不是 {}",
    "the currency is not {}": "币种不是 {}",
    "{} fen are settled of {} fen with {} fen of coupons": "订单 {1} 分、优惠 {2} 分，结算却是 {0} 分",
    "a payment gives nothing back": "收款行里不应有退款",
    "the fee is more than the amount": "手续费大于金额",
    "{} is not a time YYYY-MM-DD hh:mm:ss": "{} 不是“年-月-日 时:分:秒”的时间",
    "{} is not on {}": "{} 不在 {} 这一天",
    "{} is not a state of a refund": "{} 不是退款的状态",
    "more follows after the totals": "合计之后还有内容",
    "it says {}, the rows are {}": "合计为 {}，明细有 {} 行",
    "it says {}, the rows add up to {} (in units of the last decimal)": "合计为 {}，明细相加为 {}（以最末一位小数为单位）",
    "the file is cut off or damaged ({}); download it again": "文件残缺或损坏（{}），请重新下载",
    "the file is larger than {} bytes": "文件大于 {} 字节",
    "the ZIP file is packed in a way no provider packs": "压缩方式不是渠道会用的",
    "an empty file says nothing unless it is packed": "空文件不能说明什么，除非是渠道打包的",
    "the ZIP file holds more than any statement does": "压缩文件里的内容多于任何对账单",
    "the line does not end": "这一行没有结束",
    "the file unpacks to more than {} bytes": "文件解压后大于 {} 字节",
    "the line ends unlike the first one": "这一行的换行与第一行不同",
    "the record does not fit the layout": "记录不符合格式",
    "the record has {} bytes, not {}": "记录有 {} 字节，应为 {} 字节",
    "the file's name says {}, not {}": "文件名是 {}，不是 {}",
    "the file's name is not about merchant {}": "文件名不属于商户 {}",
    "records of {} bytes are no known version (known: {})": "{} 字节的记录不是已知版本（已知：{}）",
    "transaction type {} is not one a statement may hold": "对账单里不应有交易类型 {}",
    "type {} {} an original transaction": "交易类型 {0} 的原交易填写不对",
    "settled {} fen is not {} and fee {}": "结算 {} 分不等于 {} 分与手续费 {} 分",
    "part of it is settled to a second merchant, which is not supported": "部分金额结算给二级商户，暂不支持",
    "the net is not what is settled, {} fen": "清算净额不等于结算金额 {} 分",
    "{} has a blank inside": "{} 中间有空格",
    "the amount is nothing": "金额为零",
    "{} is not a time MMDDhhmmss": "{} 不是“月日时分秒”的时间",
    "{} is not in the clearing day {}": "{} 不在清算日 {} 内",
    "the ZIP file must hold one INN…ZM_… file and at most one INN…ZME_… file": "压缩文件里必须正好有一个 INN…ZM_… 文件，至多一个 INN…ZME_… 文件",
    "no blank stands behind the field": "这一栏后面没有空格",
    "the file ends without its totals; download it again": "文件没有合计就结束了，请重新下载",
    "the ZIP file must hold one 业务明细 file": "压缩文件里必须正好有一个“业务明细”文件",
    "account {} is not {}": "账号 {} 不是 {}",
    "the period is not {}": "账期不是 {}",
    "the line {} of the layout is missing": "缺少格式规定的行 {}",
    "the row has {} columns, not {}": "这一行有 {} 栏，应为 {} 栏",
    "{} is not a kind of row this layout knows": "格式中没有 {} 这种业务类型",
    "{} of {} fen goes the wrong way": "{} 的 {} 分方向不对",
    "{} fen are received of {} fen with discounts of {} fen": "订单 {1} 分、优惠 {2} 分，实收却是 {0} 分",
    "a fee of {} fen cannot be": "手续费 {} 分不可能",
    "a payment has no number of a refund": "收款行里不应有退款号",
    "it says (count, fen received, fen of discounts) {}, the rows add up to {}": "合计（笔数、实收分、优惠分）为 {}，明细相加为 {}",
    "the ZIP file must hold one account's day": "压缩文件里必须正好有一天的账户流水",
    "{} is no known version (known: {})": "{} 不是已知的格式版本（已知：{}）",
    "{} is not the number of an account": "{} 不是账号",
    "the file is of {}, not {}": "文件是 {} 的，不是 {} 的",
    "it says {} rows and {} yuan, the rows are {} and {} fen": "合计为 {} 笔 {} 元，明细为 {} 笔 {} 分",
    "no TAB stands behind the number": "单号后面没有制表符",
}


@cache
def _patterns() -> tuple[tuple[re.Pattern[str], str], ...]:
    """Return each sentence as a pattern with its Chinese; those with more words of their own come first."""
    known = sorted({**BREAKS, **FILES}.items(), key=lambda pair: -len(pair[0].replace("{}", "")))
    return tuple(
        (re.compile("(.*?)".join(map(re.escape, english.split("{}"))), re.DOTALL), chinese)
        for english, chinese in known
    )


def phrase(text: str, language: str) -> str:
    """Return a recorded sentence in a language; one that nobody has translated as it is."""
    if language == "en":
        return text
    for pattern, chinese in _patterns():
        found = pattern.fullmatch(text)
        if found is not None:
            return chinese.format(*found.groups())
    return text
