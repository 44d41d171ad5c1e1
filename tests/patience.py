"""How long a test waits for what must come: long, for a busy machine is no defect; what comes in time costs nothing."""

PATIENCE_S = 60.0
