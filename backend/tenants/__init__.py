"""Schools: the outermost key of every row, and the keys and secrets kept for them."""
