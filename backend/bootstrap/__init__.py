"""Puts the parts together: configuration, database, keys, providers."""
