"""How long an exchange takes a serial line, before it is asked for. Pure arithmetic of bytes, speed and silences."""

#: a serial character: start bit, eight bits, parity, stop bit; one fewer without parity
_BITS = {"E": 11, "O": 11, "N": 10}
TURNAROUND_MS = 5.0
#: what a USB adapter and its driver add to each exchange, with the adapter's latency timer at 1 ms
HOST_MS = 4.0


def bits_per_character(parity: str) -> int:
    """Return how many bits a byte takes on the wire."""
    return _BITS[parity]


def silence_ms(baud: int, *, bits: int = 11) -> float:
    """Return the silence between frames: 3.5 characters, and never less than 1.75 ms above 19,200 baud."""
    return 1.75 if baud > 19_200 else 3_500 * bits / baud


def exchange_ms(question: int, answer: int, baud: int, *, bits: int = 11, host_ms: float = 0.0) -> float:
    """Return how long a question and its answer, in bytes with unit and checksum, keep a line busy."""
    on_wire_ms = (question + answer) * 1_000 * bits / baud
    return on_wire_ms + 2 * silence_ms(baud, bits=bits) + TURNAROUND_MS + host_ms


def read_bytes(table: str, count: int) -> tuple[int, int]:
    """Return the bytes of question and answer of one read."""
    return 8, 5 + (2 * count if table in ("input", "holding") else -(-count // 8))


def write_read_bytes(written: int, read: int) -> tuple[int, int]:
    """Return the bytes of question and answer of function code 23, by registers written and read."""
    return 13 + 2 * written, 5 + 2 * read
