"""
What a refusal says to a person, in Chinese and English, with the next thing to do. One entry per code.

A test walks every `BackendError` in the tree and fails when its code is missing here.
"""

# ruff: noqa: E501 - a refusal is easiest to review with both languages on one line

from typing import NamedTuple


class Words(NamedTuple):
    """What happened and what to do next, in both languages. May name figures of the refusal's details in braces."""

    zh: str
    zh_next: str
    en: str
    en_next: str


_GENERIC = Words(
    "这次操作没有完成。", "请返回重试；如仍不行，请联系后勤并提供页面底部的编号。",
    "This was not done.", "Go back and try again; if it persists, give the facilities desk the number below.",
)  # fmt: skip
_OUTLET = Words(
    "找不到这个用水点。", "请重新扫描贴纸，或换旁边的用水点。",
    "There is no such outlet.", "Scan the sticker again, or use the outlet beside it.",
)  # fmt: skip
_GRANT_STEP = Words(
    "保护期的当前状态不允许这一步。", "请刷新列表查看最新状态。",
    "The grant's status does not allow this step.", "Reload the list to see where it stands.",
)  # fmt: skip
_MONEY = Words(
    "这笔款项的状态不允许这一步，没有重复扣费。", "请在“钱包”中查看；如有疑问请联系财务。",
    "The payment's state does not allow this step; nothing was charged twice.", "Look in Wallet, or ask finance.",
)  # fmt: skip
_DEVICE = Words(
    "设备的报告与记录不符，已记录待查。", "请联系后勤并提供页面底部的编号。",
    "A device's report does not fit our records; it was kept for review.", "Tell facilities the number below.",
)  # fmt: skip
_REQUEST = Words(
    "请求的格式不对，什么也没有发生。", "请刷新页面后重试。",
    "The request is not well formed; nothing happened.", "Reload the page and try again.",
)  # fmt: skip

WORDS: dict[str, Words] = {
    "refused": _GENERIC,
    "not_found": Words("找不到这一页或这一项。", "请检查地址，或从首页重新进入。",
                       "There is nothing here.", "Check the address, or start again from the first page."),
    "conflict": Words("内容在此期间已被改动。", "请刷新后再试。",
                      "It changed in the meantime.", "Reload and try again."),
    "forbidden": Words("您没有权限。", "请用有权限的账号登录。",
                       "You are not allowed to do this.", "Sign in with an account that is."),
    "role_missing": Words("此页需要角色：{role_zh}。", "请用具有该角色的账号登录，或请管理员授权。",
                          "This page needs the role {role_en}.", "Sign in with that role or ask an administrator for it."),
    "form_refused": Words("表单已失效，什么也没有发生。", "请刷新页面后再提交一次。",
                          "The form is no longer valid; nothing happened.", "Reload the page and send it again."),
    "form_incomplete": Words("表单没有填完整。", "请补齐标出的内容后再提交。",
                             "The form is not complete.", "Fill in what is marked and send it again."),
    "presence_missing": Words("还没有确认您就在用水点旁。", "请核对贴纸上的编号并勾选确认。",
                              "You have not confirmed that you stand at the outlet.", "Compare the number on the sticker and tick the box."),
    "method_not_allowed": Words("这个地址不能这样访问。", "请返回上一页。",
                                "This address cannot be used like that.", "Go back one page."),
    "too_large": Words("内容太大，什么也没有发生。", "请缩短后再提交。",
                       "It is too large; nothing happened.", "Shorten it and send it again."),
    "media_unsupported": Words("这里不接受这种格式的内容。", "请以 JSON 或页面上的表单提交。",
                               "This kind of content is not taken here.", "Send JSON, or the form on the page."),
    "internal": Words("系统出错，已记录。用水和扣费以水表与账单为准。", "请稍后再试；如仍不行，请提供下面的编号。",
                      "Something failed on our side and was recorded. Meter and bill decide what you pay.",
                      "Try again later; if it persists, give us the number below."),
    "too_many_streams": Words("打开的实时页面太多。", "请关闭其他标签页。", "Too many live views are open.", "Close other tabs."),
    # signing in
    "sign_in_refused": Words("账号或密码不对。", "请检查后重新输入。", "Login or password is wrong.", "Check both and try again."),
    "sign_in_expired": Words("登录已过期，未做任何改动。", "请重新登录，之后会回到刚才的页面。",
                             "Your sign-in has expired; nothing was changed.", "Sign in again; you return to this page."),
    "sign_in_missing": Words("需要先登录。", "登录后会回到这里。", "Please sign in first.", "You come back here afterwards."),
    "too_many_attempts": Words("尝试次数过多，账号暂时锁定。", "请几分钟后再试，或请管理员重置密码。",
                               "Too many attempts; signing in is paused.", "Wait a few minutes, or have your password reset."),
    # outlets and sessions
    "outlet_unknown": _OUTLET,
    "device_unknown": _OUTLET,
    "place_unknown": Words("找不到这个地点。", "请从列表中选择。", "There is no such place.", "Choose one from the list."),
    "nothing_to_print": Words("这里没有需要贴纸的用水点。", "请从列表中选择别的地点。",
                              "No outlet here needs a sticker.", "Choose another place from the list."),
    "too_many_labels": Words("一个文件放不下这么多贴纸。", "请按楼层下载。",
                             "One file does not hold so many stickers.", "Take them floor by floor."),
    "gateway_unknown": Words("找不到这个网关。", "请从列表中选择。", "There is no such gateway.", "Choose one from the list."),
    "fault_unknown": Words("找不到这条故障。", "请刷新列表。", "There is no such fault.", "Reload the list."),
    "outlet_busy": Words("这个用水点有人正在使用。", "请稍等，或换旁边的用水点；没有扣费。",
                         "Someone is using this outlet.", "Wait a moment or use the one beside it; nothing was charged."),
    "cardholder_busy": Words("您还有一次用水没有结束。", "请先在那边停水，再到这里开始。",
                             "You still have water running elsewhere.", "Stop it there first, then start here."),
    "outlet_offline": Words("这个用水点暂时联系不上，没有扣费。", "请换旁边的用水点，或稍后再试。",
                            "This outlet cannot be reached; nothing was charged.", "Use the one beside it, or try again later."),
    "outlet_faulty": Words("这个用水点出现故障，已停用，没有扣费。", "请换旁边的用水点；后勤已收到通知。",
                           "This outlet has a fault and is closed; nothing was charged.", "Use the one beside it; facilities already know."),
    "valve_refused": Words("阀门没有打开，没有扣费。", "请再试一次，或换旁边的用水点。",
                           "The valve did not open; nothing was charged.", "Try again, or use the outlet beside it."),
    "session_unknown": Words("找不到这次用水。", "请在“记录”中查看。", "There is no such water session.", "Look in History."),
    "water_session_unknown": Words("找不到这次用水。", "请在“记录”中查看。", "There is no such water session.", "Look in History."),
    "receipt_unknown": Words("还没有这次用水的账单。", "请稍后在“记录”中查看。", "There is no bill for this yet.", "Look in History in a moment."),
    "unexpected_event": Words("这一步与用水的当前状态不符。", "请刷新页面。", "That does not fit where the session stands.", "Reload the page."),
    "request_conflict": Words("这次开始已由别人或以别的内容提交过，什么也没有发生。", "请刷新页面后重新开始。",
                              "This start was already made by someone else or with other details; nothing happened.", "Reload the page and start again."),
    "request_reused": Words("这个请求已用于另一次用水。", "请刷新页面后重试。", "This request was used for another session.", "Reload the page and try again."),
    "tap_ahead": Words("读卡的时间在未来，没有开水。", "请再刷一次；如仍不行，请告诉后勤检查网关时钟。",
                       "The tap's time lies in the future; no water was opened.", "Tap again; if it persists, have facilities check the gateway's clock."),
    "tariff_missing": Words("这里还没有设置水价，所以不能用水，没有扣费。", "请告诉后勤；设置后即可使用。",
                            "No price is set here, so no water can be sold; nothing was charged.", "Tell facilities; it works once a price is set."),
    "tariff_unknown": Words("找不到这个资费版本。", "请从列表中选择。", "There is no such tariff version.", "Choose one from the list."),
    "tariff_malformed": Words("资费内容不合规则。", "请检查金额与期间。", "The tariff is not valid.", "Check its amounts and its period."),
    "tariff_overlap": Words("这段时间已有另一版资费。", "请调整起止时间。", "Another version covers that time.", "Change the period."),
    # money
    "insufficient_funds": Words("余额不足，没有扣费。", "请先充值，或换一种付款方式。",
                                "Your balance is too low; nothing was charged.", "Top up, or choose another way to pay."),
    "payment_declined": Words("付款被拒绝，没有扣费。", "请换一种付款方式，或联系发卡方。",
                              "The payment was declined; nothing was charged.", "Choose another way to pay, or ask your provider."),
    "payment_unknown": Words("付款结果还不知道，正在查询；不会重复扣费。", "请稍候，本页会自动更新。",
                             "The payment's outcome is not known yet; we are asking. You are never charged twice.", "Wait; this page updates itself."),
    "authorization_unknown": Words("找不到这笔预授权。", "请在“钱包”中查看。", "There is no such authorization.", "Look in Wallet."),
    "method_not_accepted": Words("这里暂不接受{method_zh}：{brand_zh}在保护期内（至 {until_zh}）。", "请改用校园钱包或受保护的品牌。",
                                 "{method_en} is not accepted here: {brand_en} is protected until {until_en}.", "Use the campus wallet or the protected brand."),
    "method_not_offered": Words("这里不提供这种付款方式，没有扣费。", "请从列出的方式中选择。",
                                "This payment method is not offered here; nothing was charged.", "Choose one of those listed."),
    "method_unknown": Words("没有这种付款方式。", "请从列出的方式中选择。", "There is no such way to pay.", "Choose one of those listed."),
    "provider_unknown": Words("没有这种付款方式。", "请从列出的方式中选择。", "There is no such way to pay.", "Choose one of those listed."),
    "amount_invalid": Words("金额不对。", "请输入 ¥1 到 ¥500。", "The amount is not valid.", "Choose between ¥1 and ¥500."),
    "account_unknown": Words("账户还没有建立。", "请联系财务。", "There is no such account yet.", "Ask finance."),
    "authorization_captured": _MONEY,
    "authorization_differs": _MONEY,
    "authorization_not_held": _MONEY,
    "capture_differs": _MONEY,
    "capture_exceeds_hold": _MONEY,
    "transfer_differs": _MONEY,
    "conflicting_record": _DEVICE,
    "foreign_device": _DEVICE,
    "wrong_device": _DEVICE,
    "wrong_audience": _DEVICE,
    "reading_malformed": _DEVICE,
    "expired": _DEVICE,
    "request_malformed": _REQUEST,
    "request_id_malformed": _REQUEST,
    "plan_malformed": Words("计划文件有误：{reason}", "请改正后重新导入。", "The plan is not valid: {reason}", "Correct it and load it again."),
    "tariff_ended": Words("这版资费已经结束，不能再改。", "请新建一个版本。", "This tariff version has ended.", "Add a new version."),
    "top_up_amount_refused": Words("充值金额需在 ¥1 到 ¥500 之间，没有扣款。", "请重新选择金额。", "A top-up is between ¥1 and ¥500; nothing was charged.", "Choose another amount."),
    "top_up_method_refused": Words("不能用这种方式充值，没有扣款。", "请从列出的方式中选择。", "The wallet cannot be topped up this way; nothing was charged.", "Choose one of the ways listed."),
    "top_up_differs": Words("这次充值已用另一个金额或方式提交过。", "请在下方变动记录中查看结果，再决定是否重新充值。", "This top-up was sent before with another amount or method.", "See below what became of it before you top up again."),
    "top_up_unknown": Words("找不到这次充值。", "请在“钱包”中查看。", "There is no such top-up.", "Look in Wallet."),
    # people and credentials
    "cardholder_unknown": Words("找不到这个人。", "请检查编号。", "There is no such person.", "Check the number."),
    "cardholder_inactive": Words("账号已冻结或注销。", "请到一卡通中心办理。", "This person is frozen or closed.", "Go to the card office."),
    "credential_unknown": Words("这张卡或这个码没有登记。", "请到一卡通中心登记。", "Nobody has this card or code.", "Have it registered at the card office."),
    "credential_frozen": Words("这张卡或这个码已挂失。", "如已找回，请在“我的”里解挂。", "This card or code is frozen.", "If you found it, unfreeze it under Me."),
    "visitor_not_valid": Words("访客通行不在有效期内。", "请联系邀请人。", "This pass is not valid now.", "Ask your host."),
    "code_malformed": Words("这不是学生码。", "请打开“身份码”重新出示。", "This is not a student code.", "Open Code and show it again."),
    "code_expired": Words("码已过期。", "请出示刷新后的码。", "The code has expired.", "Show the new one."),
    "code_replayed": Words("这个码已经用过。", "请出示刷新后的码。", "This code was used already.", "Show the new one."),
    "login_taken": Words("这个账号已有人使用。", "请换一个。", "This login is taken.", "Choose another."),
    "card_taken": Words("这张卡已登记给别人。", "请检查卡号。", "This card belongs to someone already.", "Check its number."),
    "card_unreadable": Words("卡号格式不对。", "请重新读卡。", "This is not a card's number.", "Read the card again."),
    "tenant_unknown": Words("找不到这所学校。", "请从列表中选择。", "There is no such school.", "Choose one from the list."),
    # doors
    "outside_hours": Words("现在不在开放时间。", "请查看开放时间。", "It is closed at this hour.", "See the opening hours."),
    "zone_not_allowed": Words("您没有这里的通行权限。", "请联系管理部门。", "You are not admitted here.", "Ask the office in charge."),
    "passage_unknown": Words("找不到这次通行。", "请刷新列表。", "There is no such passage.", "Reload the list."),
    "door_unknown": Words("找不到这扇门。", "请从列表中选择。", "There is no such door.", "Choose one from the list."),
    # protections
    "grant_unknown": Words("找不到这个保护期。", "请从列表中选择。", "There is no such grant.", "Choose one from the list."),
    "grant_malformed": Words("保护期内容不合规则：{reason}", "请检查品牌、地点、期间后重新提交。", "The grant is not valid: {reason}", "Check brand, place and period and send it again."),
    "grant_overlap": Words("与另一项独家保护期冲突：{brand_zh}，{from_zh} 至 {to_zh}。", "请调整期间、地点或场景，或先终止那一项。",
                           "It conflicts with another exclusive grant: {brand_en}, {from_en} to {to_en}.", "Change period, place or scenario, or end the other one first."),
    "grant_not_ready": _GRANT_STEP,
    "same_person": Words("起草人不能审批自己提交的内容。", "请由另一位有权限的同事处理。", "Whoever proposed it may not approve it.", "Have a second person with the role do it."),
    # measuring and reconciling
    "run_unknown": Words("找不到这次对账。", "请从列表中选择。", "There is no such reconciliation run.", "Choose one from the list."),
    "invalid_k_factor": Words("水表系数无效。", "请检查水表校准。", "The meter's K-factor is not valid.", "Check its calibration."),
    # money that people move
    "asked_just_now": Words("刚刚已向支付渠道查询过。", "请等十秒再查；查询不会扣费。", "The provider was asked a moment ago.", "Wait ten seconds and ask again; asking charges nothing."),
    "report_too_early": Words("充值结果通常几分钟内自动到达。", "请等到页面所示的时间，再请财务查看。", "Most results arrive by themselves within minutes.", "Wait until the time shown here, then let finance look at it."),
    "purse_unknown": Words("没有这个钱包。", "请从“钱包”页进入。", "There is no such purse.", "Open it from the wallet page."),
    "payer_code_missing": Words("还没有输入付款码，没有扣费。", "请在应用里打开付款码，输入条形码下方的数字。", "The payment code is missing; nothing was charged.", "Open the payment code in the app and type the number below its bar code."),
    "payer_code_malformed": Words("这不是该支付方式的付款码。", "请在对应的应用里重新打开付款码，输入条形码下方的数字。", "This is not a payment code of that app.", "Open the payment code in that app again and type the number below the bar code."),
    "payer_agreement_refused": Words("这个支付方式不能这样绑定。", "请检查签约号，或改用付款码。", "This method cannot be bound that way.", "Check the agreement number, or pay with a payment code."),
    "order_number_taken": Words("支付渠道已有同号订单，没有扣费。", "请返回重新操作一次。", "Another order has this number at the provider; nothing was charged.", "Go back and try once more."),
    "notifier_unknown": Words("没有这个支付渠道。", "请检查通知地址。", "No provider notifies us under this name.", "Check the notification address."),
    "dispute_reason_refused": Words("请选择申诉原因，说明不超过 1000 字。", "请修改后再提交。", "Choose a reason, and use at most 1,000 characters.", "Correct it and send it again."),
    "dispute_not_possible": Words("这次用水没有可申诉的扣款。", "未扣款、已全额退回或已申诉三次的不能再申诉；可到财务处咨询。", "There is no charge here that could be disputed.", "Nothing was charged, all was given back, or it was disputed three times; ask finance."),
    "dispute_too_late": Words("扣款满 {days} 天后不能再申诉。", "请到财务处咨询。", "A charge can be disputed for {days} days.", "Ask finance."),
    "dispute_open": Words("这次用水已在申诉处理中。", "请在账单中查看进度。", "This session is being looked at already.", "See its bill for where it stands."),
    "dispute_differs": Words("这个编号已用于另一条申诉。", "请刷新页面后重新填写。", "This id stands for another dispute.", "Reload the page and fill it in again."),
    "dispute_unknown": Words("找不到这条申诉。", "请刷新列表。", "There is no such dispute.", "Reload the list."),
    "dispute_not_open": Words("这条申诉已有结论，或退款正等待复核。", "请刷新后查看。", "The dispute was decided, or its refund waits for a second person.", "Reload to see."),
    "answer_too_short": Words("答复太短或太长。", "同学会看到这段话：请用 5 至 500 个字说明查到了什么。", "The answer is too short or too long.", "The student reads it: say in 5 to 500 characters what was found."),
    "case_unknown": Words("找不到这条待办。", "请刷新列表。", "There is no such case.", "Reload the list."),
    "case_closed": Words("这条待办已由他人结案。", "请刷新后查看结案说明。", "The case was closed by somebody else.", "Reload to read what they wrote."),
    "proposed_file_unknown": Words("找不到这个待导入的文件。", "请刷新列表。", "There is no such file waiting.", "Reload the list."),
    "proposed_file_decided": Words("这个文件已有人处理过。", "请刷新列表查看结果。", "Somebody has decided about this file already.", "Reload the list to see what they did."),
    "statements_waiting": Words("等待第二人的文件太多。", "请先处理已提交的文件。", "Too many files wait for a second person already.", "Decide about those first."),
    "case_not_askable": Words("这条待办里没有可以再请渠道办的事。", "请刷新后查看：可能已在办理、已办成，或已由财务另行退还。", "There is nothing left in this case that the provider could be asked to do.", "Reload it: it may be under way, done, or paid by finance otherwise."),
    "note_too_short": Words("结案说明太短或太长。", "请用 5 至 1000 个字写明查到了什么、如何处理。", "The note is too short or too long.", "Say in 5 to 1,000 characters what was found and done."),
    "reason_too_short": Words("理由太短或太长。", "请用 10 至 500 个字写明原因，另一位同事要看得懂。", "The reason is too short or too long.", "Say why in 10 to 500 characters, so that a second person understands."),
    "entry_unknown": Words("找不到这笔申请。", "请刷新列表。", "There is no such entry.", "Reload the list."),
    "entry_not_open": Words("这笔申请已处理或已过期。", "请刷新列表；仍需要时请重新发起。", "The entry was decided or has expired.", "Reload the list; propose it again if it is still needed."),
    "entry_differs": Words("这个编号已用于另一笔申请，没有重复记账。", "请刷新页面后重新填写。", "This id stands for another entry; nothing was booked twice.", "Reload the page and fill it in again."),
    "entry_amount_refused": Words("金额须在 {minimum_minor} 与 {maximum_minor} 之间。", "请修改金额。", "The amount must lie between {minimum_minor} and {maximum_minor}.", "Change the amount."),
    "entry_account_refused": Words("账户“{account_id}”不可用。", "请填写本校科目表中的两个不同账户。", "The account “{account_id}” cannot be used.", "Name two different accounts of this school's chart."),
    "not_payable": Words("这笔应退款不能这样付。", "请填写被拒退款的待办编号；金额不能超过它还欠的数。若已再请渠道办理或已办成，请驳回。", "Money owed to a payer cannot be paid like this.", "Name the case of the refused refund, and no more than it still owes. If its provider was asked again or has done it, reject this."),
    "entry_not_covered": Words("付出账户余额不足，没有动账。", "请核对金额和账户后驳回并重新发起。", "The account it takes from has not so much; nothing moved.", "Check amount and account, reject it and propose again."),
    "own_money": Words("不能经手自己的钱。", "请由另外两位同事发起和复核。", "Nobody moves their own money as staff.", "Have two colleagues propose and approve it."),
    "not_refundable": Words("最多还能退 {left_minor}。", "请修改金额，或查看已有的退款和待审批申请。", "At most {left_minor} can still be given back.", "Change the amount, or look at the refunds and proposals there are."),
    "refund_amount_refused": Words("退款金额必须大于零。", "请检查金额。", "A refund is more than nothing.", "Check the amount."),
    "refund_exceeds_capture": Words("退款不能超过尚未退回的扣费。", "请查看账单上的已退金额。", "No more can be given back than was taken and not returned yet.", "See on the bill what was refunded."),
    "refund_differs": Words("这笔退款已用其他内容提交过。", "请刷新页面查看。", "This refund was sent with other figures before.", "Reload the page to see it."),
    "refund_unknown": Words("找不到这笔退款。", "请从列表中选择。", "There is no such refund.", "Choose one from the list."),
    "payout_blocked": Words("还有 {count} 项未了结，暂不能离校退款。", "请先了结用水、冻结、未知付款、退款、申诉或待审批申请，再试。", "{count} things are still open, so the leaver cannot be paid yet.", "Settle sessions, holds, unknown payments, refunds, disputes and proposals first."),
    "payout_channel_refused": Words("付款方式不对：现金，或写明开户行与账号的银行转账。", "请修改后再提交。", "Pay in cash, or to a bank account that is named.", "Correct it and send it again."),
    "payout_differs": Words("这个编号已用于另一笔离校退款，没有重复付款。", "请刷新页面后重新填写。", "This id stands for another payout; nothing was paid twice.", "Reload the page and fill it in again."),
    "payout_not_waiting": Words("这笔离校退款不在待付状态。", "请刷新列表。", "This payout is not waiting to be paid.", "Reload the list."),
    "payout_unknown": Words("找不到这笔离校退款。", "请刷新列表。", "There is no such payout.", "Reload the list."),
    "transfer_amount_refused": Words("转账金额须在 ¥0.01 与 ¥10,000 之间。", "请修改金额。", "A transfer moves between ¥0.01 and ¥10,000.", "Change the amount."),
    "transfer_not_allowed": Words("学校不允许在这两个钱袋之间转账。", "请看钱包页列出的可转方向。", "The school does not allow transfers between these purses.", "See the wallet page for those it allows."),
    "transfer_not_covered": Words("最多可转 {available_minor}：用水冻结的钱和学校给的钱不能转。", "请修改金额，或等用水结束。", "At most {available_minor} can move: held money and the school's money stay.", "Change the amount, or wait for your shower to end."),
    "credit_end_refused": Words("额度的截止日期须在今天之后、五年以内。", "请修改日期，或留空表示长期。", "A credit ends after today and within five years.", "Change the date, or leave it empty for no fixed end."),
    "credit_in_use": Words("该账户的欠款已超过这个额度。", "请先结清或提高额度。", "The account already owes more than this limit.", "Settle it first, or choose a higher limit."),
    "ledger_busy": Words("账簿正忙，什么也没有发生。", "请过几秒重试。", "The books are busy; nothing happened.", "Try again in a few seconds."),
    "statement_refused": Words("对账单整份被拒收，什么也没有入库：{reason}", "请重新下载原始文件后再导入。", "The statement file was refused whole: {reason}", "Download the original file again and import it."),
    "receipt_not_ready": Words("这次用水还没有账单。", "请等结算完成。", "This session has no bill yet.", "Wait until it is settled."),
    # gateways
    "claim_code_refused": Words("认领码不能使用。", "请向管理员要一个新的认领码。", "The claim code cannot be used.", "Ask an administrator for a new one."),
    "command_refused": Words("命令无法执行：{reason}", "请按提示修正后重试。", "The command cannot be carried out: {reason}", "Do what it says and try again."),
    "configuration_refused": Words("这份配置不适用于该网关：{reason}", "请检查网关编号与内容。", "The configuration cannot be meant for this gateway: {reason}", "Check the gateway and the content."),
    "csr_refused": Words("证书请求无法签发。", "请在网关上重新执行 init。", "The certificate request cannot be signed.", "Run init on the gateway again."),
    "enrollment_clock": Words("请求的时间与现在不符。", "请校准网关时钟后重试。", "The request was made at another time than now.", "Set the gateway's clock and try again."),
    "gateway_key_refused": Words("请求不是由该网关登记的密钥签名的。", "请用原来的设备重试，或由管理员重新登记。", "The request is not signed by the key this gateway is known by.", "Use the enrolled box, or have an administrator enroll it again."),
    "gateway_name_too_long": Words("学校与网关的编号合起来太长。", "请使用较短的编号。", "School and gateway together are too long for a certificate.", "Use shorter ids."),
}  # fmt: skip


def words_for(code: str) -> Words:
    """Return the words for a refusal's code, the general ones if it has none of its own."""
    return WORDS.get(code, _GENERIC)
