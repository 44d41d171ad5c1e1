"""Authorizing, capturing and releasing money, from the campus wallet or an external provider; topping the wallet up."""
