"""A day at a school as a file: who comes, what goes wrong when, and what must be true in the end."""
