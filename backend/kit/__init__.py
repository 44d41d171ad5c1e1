"""Small values every slice shares: ids, money, clock. Pure, imports nothing of ours."""
