"""Reliable messaging both ways: commands are stored with the change they follow from, records are accepted once."""
