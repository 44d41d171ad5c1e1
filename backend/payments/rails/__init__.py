"""
The adapters to the providers: UnionPay (acp 5.1.0), Alipay (open platform) and WeChat Pay (APIv3).

Each has three modules: `<brand>_signing` proves who said something, `<brand>_messages` writes and reads messages, and
`<brand>` is the `Provider`. `merchants` loads what a school is there, `wire` is the only importer of httpx.
"""
