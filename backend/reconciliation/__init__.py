"""Reconciliation: meter, sessions and ledger tell one story; every break has liters, money, cause and owner."""
