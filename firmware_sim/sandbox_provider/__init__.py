"""
A payment provider that does not exist, as its own HTTP service: UnionPay's acp, Alipay's gateway and WeChat Pay's APIv3
in their own message shapes, signed both ways, scripted to fail in every way a real one does.
"""
