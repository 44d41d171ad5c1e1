"""The subcommands of `campustap-gateway`, a module each: `add_to` adds the parser, `run` carries it out."""
