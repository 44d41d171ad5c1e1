"""Double entry, insert-only: accounts, transfers, holds. Money moves here and nowhere else."""
