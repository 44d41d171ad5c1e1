"""Boards as code: `hwo1` says what is connected, `draw` builds and checks it, `rules` knows what an ERC cannot."""
