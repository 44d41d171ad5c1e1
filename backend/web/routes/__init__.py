"""The addresses, grouped by who uses them."""
