"""Water sessions: one person, one outlet, one hold, from the request to the receipt."""
