"""Water sessions at the edge: verification, the state table, cut-off, and the controllers that act."""
