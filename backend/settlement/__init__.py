"""Settlement: the register pair becomes volume, charge, capture and receipt, once."""
