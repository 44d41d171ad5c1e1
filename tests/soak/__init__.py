"""Long runs over a bad line: `python -m tests.soak --minutes N`."""
