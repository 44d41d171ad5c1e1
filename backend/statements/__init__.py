"""What payment providers say they did: daily statement files, read byte-exactly and kept for reconciliation."""
