"""People, their credentials and their sign-ins. Card numbers and tokens are stored as keyed or plain hashes only."""
