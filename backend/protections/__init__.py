"""Acceptance protection: which payment methods are accepted where, for whom and when, and why."""
