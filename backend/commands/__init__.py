"""The subcommands of `campustap` that have a module of their own; each adds its parsers and says what they run."""
