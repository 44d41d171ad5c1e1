"""
The words for coded values, Chinese and English side by side: states, stop reasons, faults, methods, roles.

Codes come from the contract and the slices. A test walks the contract's enumerations and finds each of them here.
"""

from backend.web import finance_words

Pair = tuple[str, str]

SESSION: dict[str, Pair] = {
    "requested": ("核实付款", "Checking payment"),
    "authorized": ("正在开阀", "Opening"),
    "opening": ("正在开阀", "Opening"),
    "flowing": ("您正在使用", "Running"),
    "paused": ("已暂停", "Paused"),
    "closing": ("正在停水", "Stopping"),
    "metered": ("正在结算", "Settling"),
    "settled": ("已结算", "Settled"),
    "refused": ("未开始", "Refused"),
    "voided": ("未扣费", "Not charged"),
    "disputed": ("争议处理中", "Disputed"),
}
STOP: dict[str, Pair] = {
    "user": ("在龙头处关水", "closed at the tap"),
    "card": ("再次刷卡", "card tapped again"),
    "remote": ("手机停水", "stopped from the phone"),
    "handover": ("下一位同学开始使用", "handed over to the next person"),
    "revoked": ("授权已收回", "grant withdrawn"),
    "volume_limit": ("达到水量上限", "volume limit reached"),
    "time_limit": ("达到时间上限", "time limit reached"),
    "no_flow": ("长时间无水流", "no flow for a while"),
    "lease": ("控制器与网关失联自动关阀", "closed by itself: the gateway was not heard"),
    "comm_watchdog": ("通信中断自动关阀", "closed by itself: line down"),
    "scald": ("水温过高自动关阀", "closed: water too hot"),
    "fault": ("设备故障", "device fault"),
    "power_loss": ("停电", "power cut"),
    "reboot": ("控制器重启", "controller restarted"),
    "gateway_restart": ("网关重启", "gateway restarted"),
    "not_opened": ("阀门未打开", "the valve did not open"),
}
FAULT: dict[str, Pair] = {
    "stuck_open": ("阀门关不上", "Valve stuck open"),
    "stuck_closed": ("阀门打不开", "Valve stuck closed"),
    "leak_closed": ("关阀后仍有水流（疑似漏水）", "Flow while closed (suspected leak)"),
    "no_flow": ("开阀无水流", "Open but no flow"),
    "over_temp": ("水温过高", "Water too hot"),
    "temp_sensor": ("温度传感器故障", "Temperature sensor fault"),
    "flow_sensor": ("流量传感器故障", "Flow sensor fault"),
    "reverse_flow": ("水流倒流", "Reverse flow"),
    "tamper": ("外壳被打开", "Tamper"),
    "low_supply": ("供电电压低", "Low supply voltage"),
    "low_backup": ("后备电池低", "Backup battery low"),
    "nvm_crc": ("存储校验失败", "Memory check failed"),
    "log_full": ("设备日志已满", "Device log full"),
    "clock_unset": ("设备时钟未校准", "Device clock not set"),
    "comm_timeout": ("通信超时", "Communication timeout"),
    "lease_expired": ("租约到期", "Lease expired"),
    "burst_flow": ("流量异常偏大", "Burst flow"),
    "freeze": ("有结冰风险", "Freeze risk"),
    "reader_offline": ("读卡器离线", "Reader offline"),
    "cal_invalid": ("水表校准无效", "Calibration invalid"),
    "device_silent": ("设备无应答", "Device silent"),
    "device_unknown": ("未登记的设备", "Unknown device"),
    "device_mismatch": ("设备与登记不符", "Device differs from its record"),
    "register_gap": ("水表读数不连续", "Gap in the meter register"),
    "clock_skew": ("时钟偏差过大", "Clock skew"),
    "journal_full": ("网关日志已满", "Gateway journal full"),
    "store_damaged": ("网关存储文件损坏，损坏的行已隔离", "Gateway's file damaged, bad rows set aside"),
    "certificate_shared": ("两台网关使用同一证书", "Two gateways use one certificate"),
    "door_forced": ("门被强行打开", "Door forced"),
    "door_held": ("门未关好", "Door held open"),
}
DEVICE: dict[str, Pair] = {
    "online": ("在线", "Online"),
    "silent": ("离线", "Silent"),
    "mismatch": ("不符", "Mismatch"),
    "unknown": ("未知", "Unknown"),
}
METHOD: dict[str, Pair] = {
    "wallet": ("校园钱包", "Campus wallet"),
    "unionpay": ("云闪付（银联）", "UnionPay"),
    "alipay": ("支付宝", "Alipay"),
    "wechat": ("微信支付", "WeChat Pay"),
    "bank": ("银行账户", "Bank account"),
}
ROLE: dict[str, Pair] = {
    "student": ("学生", "Student"),
    "facilities": ("后勤", "Facilities"),
    "admin": ("管理员", "Administrator"),
    "approver": ("审批人", "Approver"),
    "gate_desk": ("门禁值守", "Gate desk"),
    "finance": ("财务", "Finance"),
}
GRANT: dict[str, Pair] = {
    "draft": ("草稿", "Draft"),
    "submitted": ("待审批", "Awaiting approval"),
    "approved": ("已批准", "Approved"),
    "scheduled": ("未开始", "Scheduled"),
    "active": ("生效中", "Active"),
    "expired": ("已到期", "Expired"),
    "terminated": ("已终止", "Terminated"),
    "exclusive": ("独家", "Exclusive"),
    "preferred": ("优先", "Preferred"),
}
PERSON: dict[str, Pair] = {
    "student": ("学生", "Student"),
    "staff": ("教职工", "Staff"),
    "visitor": ("访客", "Visitor"),
}
SCENARIO: dict[str, Pair] = {"hot_water": ("热水", "Hot water"), "access": ("门禁", "Access")}
PASSAGE: dict[str, Pair] = {
    "ok": ("准许通行", "Admitted"),
    "unknown_credential": ("无法识别", "Not recognized"),
    "frozen": ("已挂失", "Frozen"),
    "expired": ("码已过期", "Code expired"),
    "replayed": ("码已用过", "Code already used"),
    "visitor_not_valid": ("访客证不在有效期", "Pass not valid"),
    "wrong_zone": ("无此门权限", "Not your zone"),
    "low_assurance": ("请出示学生码", "Show your code instead"),
    "outside_hours": ("非开放时间", "Closed now"),
    "door_faulty": ("闸机故障", "Door out of order"),
    "no_grant": ("未经授权", "Without a grant"),
    "granted": ("允许通过", "Granted"),
    "pending": ("等待通过", "Waiting"),
    "passed": ("已通过", "Passed"),
    "timeout": ("未通过（超时）", "Not used in time"),
    "forced": ("强行通过", "Forced"),
    "tailgate": ("尾随", "Tailgating"),
    "fire_free": ("消防释放", "Fire release"),
    "in": ("进", "In"),
    "out": ("出", "Out"),
    "uid": ("校园卡", "Card"),
    "sun": ("校园卡", "Card"),
    "code": ("学生码", "Code"),
    "button": ("按钮", "Button"),
    "refused": ("拒绝", "Refused"),
}
ENTRY: dict[str, Pair] = {
    "top_up": ("充值", "Top-up"),
    "hot_water": ("热水", "Hot water"),
    "opening": ("期初余额", "Opening balance"),
    "hold": ("预授权", "Hold"),
    "capture": ("扣费", "Charge"),
    "refund": ("退款", "Refund"),
    "top-up": ("充值", "Top-up"),
    "cash top-up": ("现金充值", "Cash top-up"),
    "entry by finance": ("财务入账", "Entry by finance"),
    "payout": ("结清支付", "Payout"),
    "between purses": ("钱包间转账", "Between purses"),
    "debt settled": ("抵还欠款", "Debt settled"),
    "other": ("其他", "Other"),
}
PURSE: dict[str, Pair] = {
    "wallet": ("校园钱包", "Campus wallet"),
    "subsidy": ("补助", "Subsidy"),
    "voucher": ("代金券", "Vouchers"),
    "unionpay": METHOD["unionpay"],
    "alipay": METHOD["alipay"],
    "wechat": METHOD["wechat"],
}
TOP_UP: dict[str, Pair] = {
    "checking": ("待确认", "Not confirmed"),
    "succeeded": ("已到账", "Arrived"),
    "declined": ("未扣款", "Declined"),
}
REFUND: dict[str, Pair] = {
    "requested": ("退款中", "on its way"),
    "done": ("已退回", "given back"),
    "refused": ("渠道拒绝，改由财务退还", "refused by the provider: finance pays it"),
}
BACK: dict[str, Pair] = {
    "done": ("已退回", "given back"),
    "requested": ("退回中", "on its way back"),
    "refused": ("渠道未退，财务正在处理", "not given back by the provider: finance sees to it"),
}
DISPUTE: dict[str, Pair] = {
    "open": ("财务正在查看", "Finance is looking at it"),
    "upheld": ("认可，等待第二人批准退款", "Upheld: the refund awaits a second person"),
    "refunded": ("已退款", "Refunded"),
    "rejected": ("未认可", "Not upheld"),
}
DISPUTE_SHORT: dict[str, Pair] = {
    "open": ("处理中", "Being looked at"),
    "upheld": ("待批准退款", "Refund awaits approval"),
    "refunded": ("已退款", "Refunded"),
    "rejected": ("未认可", "Not upheld"),
}
DISPUTE_REASON: dict[str, Pair] = {
    "no_water": ("没有出水", "No water came"),
    "wrong_amount": ("金额不对", "The amount is wrong"),
    "not_me": ("不是我用的", "It was not me"),
    "too_cold": ("水太凉", "The water was cold"),
    "other": ("其他", "Something else"),
}
OBSTACLE: dict[str, Pair] = {
    "session_open": ("用水还没有结束：请先停水并等结算", "A shower has not ended: stop it and wait for the bill"),
    "payment_unknown": ("有一笔付款结果待确认：会自动了结", "A payment is not confirmed yet: it settles by itself"),
    "top_up_checking": ("有一笔充值待确认：会自动了结", "A top-up is not confirmed yet: it settles by itself"),
    "money_held": ("还有预授权未释放：请稍候", "Money is still held: wait a moment"),
    "refund_open": ("有退款在途：请等到账", "A refund is on its way: wait until it arrives"),
    "dispute_open": ("有申诉未处理完：请等财务答复", "A dispute is open: wait for finance's answer"),
    "entry_open": ("财务有一笔入账待批准", "An entry by finance awaits approval"),
}
PAYOUT: dict[str, Pair] = {
    "waiting": ("结清已提议，等待批准", "Payout proposed, awaiting approval"),
    "payable": ("结清未获批准，款项为您保留", "Payout not approved; the money is kept for you"),
    "paid": ("已结清支付", "Paid out"),
    "owes": ("已离校，尚有欠款", "Left, and still owes"),
}
CAUSE: dict[str, Pair] = {
    "register_gap": ("水表读数不连续", "Gap in the meter register"),
    "register_overlap": ("水表读数重叠", "Overlap in the meter register"),
    "reading_missing": ("缺少水表读数", "Meter reading missing"),
    "reading_mismatch": ("读数与用水不符", "Reading differs from session"),
    "usage_mismatch": ("用量不符", "Usage differs"),
    "volume_mismatch": ("水量不符", "Volume differs"),
    "session_without_money": ("有用水无扣费", "Session without money"),
    "capture_mismatch": ("扣费与账簿不符", "Capture differs from ledger"),
    "overrun_mismatch": ("超额损失与账簿不符", "Overrun differs from ledger"),
    "capture_beyond_hold": ("扣费超过预授权", "Capture beyond hold"),
    "split_mismatch": ("扣费拆分不符", "Split differs"),
    "register_reset": ("水表被复位", "Meter register reset"),
    "device_unknown": ("设备不存在", "Device unknown"),
    "money_without_session": ("有款项无用水", "Money without session"),
    "clearing_open": ("清算账户未归零", "Clearing not at zero"),
    "hold_unresolved": ("预授权久未了结", "Hold unresolved"),
    "ledger_account": ("账户合计不符", "Account sum differs"),
    "register_sum": ("水量合计不符", "Water sum differs"),
    "unbilled_water": ("未计费用水", "Unbilled water"),
    "unexplained_water": ("去向不明的水", "Unexplained water"),
    "session_without_capture": ("有用水无扣费", "Session without capture"),
    "capture_without_session": ("有扣费无用水", "Capture without session"),
    "charge_mismatch": ("扣费与账单不符", "Charge and capture differ"),
    "clearing_residue": ("清算账户未归零", "Clearing account not at zero"),
    "ledger_unbalanced": ("账簿借贷不平", "Ledger does not balance"),
    "payment_unknown": ("付款结果未知", "Payment outcome unknown"),
    "facilities": ("后勤", "Facilities"),
    "finance": ("财务", "Finance"),
    "operator": ("运营方", "Operator"),
    "payout_unlisted": ("结清转账不在银行流水中", "Payout not at the bank"),
    "payout_unknown": ("银行多出一笔转账", "Transfer of no payout"),
    "payout_amount": ("转账金额与结清不符", "Payout amount differs"),
    "payout_twice": ("结清转账重复", "Paid out twice"),
    "payout_unapproved": ("未经批准的结清转账", "Payout nobody approved"),
    "payout_back": ("退汇没有对应的转账", "Return of no payout"),
    "provider": ("支付渠道", "Payment provider"),
}
EXEMPTION: dict[str, Pair] = {
    "visitor": ("访客", "Visitors"),
    "minor": ("未成年人", "Minors"),
    "no_bank_account": ("没有银行账户", "No bank account"),
    "provider_outage": ("支付渠道中断", "Provider outage"),
    "phone_dead": ("手机没电", "Phone dead"),
}
GROUPS: dict[str, dict[str, Pair]] = {
    "session": SESSION,
    "stop": STOP,
    "fault": FAULT,
    "device": DEVICE,
    "method": METHOD,
    "role": ROLE,
    "grant": GRANT,
    "person": PERSON,
    "scenario": SCENARIO,
    "passage": PASSAGE,
    "entry": ENTRY,
    "purse": PURSE,
    "top_up": TOP_UP,
    "refund": REFUND,
    "back": BACK,
    "dispute": DISPUTE,
    "dispute_short": DISPUTE_SHORT,
    "dispute_reason": DISPUTE_REASON,
    "obstacle": OBSTACLE,
    "payout": PAYOUT,
    "cause": CAUSE,
    "exemption": EXEMPTION,
    **finance_words.GROUPS,
}


def word(group: str, code: object, language: str) -> str:
    """Return the word for a code of a group; a code nobody has named yet is shown as it is, spaces for underscores."""
    text = getattr(code, "value", code)
    pair = GROUPS[group].get(str(text))
    if pair is None:
        return str(text).replace("_", " ")
    return pair[0] if language == "zh" else pair[1]
