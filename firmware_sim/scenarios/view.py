"""What a person sees while a scenario runs: how far it is, who does what, what has just happened."""

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

_EVENTS_SHOWN = 8


@dataclass(slots=True)
class Counts:
    """How a run stands."""

    showering: int = 0
    settled: int = 0
    refused: int = 0
    failed: int = 0
    looks: int = 0
    steps: int = 0
    wrong: int = 0
    relay: str = ""


@dataclass(slots=True)
class View:
    """A live table when somebody watches, a line an event when nobody does."""

    console: Console
    title: str
    is_live: bool
    counts: Counts = field(default_factory=Counts)
    _events: deque[str] = field(default_factory=lambda: deque(maxlen=_EVENTS_SHOWN))
    _progress: Progress = field(init=False)
    _task: TaskID = field(init=False)
    _live: Live | None = None

    def __post_init__(self) -> None:
        self._progress = Progress(
            TextColumn("{task.description:<24}"), BarColumn(bar_width=None), MofNCompleteColumn(), TimeElapsedColumn(),
            console=self.console, transient=not self.is_live,
        )  # fmt: skip
        self._task = self._progress.add_task(self.title, total=1)

    @contextmanager
    def shown(self, total: int) -> Iterator[None]:
        """Show it while the body runs; `total` is how many steps there will be."""
        self._progress.update(self._task, total=total, completed=0)
        if not self.is_live:
            with self._progress:
                yield
            return
        with Live(self._draw(), console=self.console, refresh_per_second=4, get_renderable=self._draw) as self._live:
            yield

    def _draw(self) -> RenderableType:
        counts = self.counts
        table = Table.grid(padding=(0, 1))
        table.add_row("showering", "settled", "refused", "failed", "looks", "steps", "violations", "uplink")
        wrong = f"[bold red]{counts.wrong}[/]" if counts.wrong else "[green]0[/]"
        table.add_row(
            str(counts.showering), str(counts.settled), str(counts.refused), str(counts.failed), str(counts.looks),
            str(counts.steps), wrong, counts.relay,
        )  # fmt: skip
        return Panel(Group(self._progress, table, "", *self._events), title=self.title)

    def step(self, text: str, *, done: bool = True) -> None:
        """Note that something happened; `done` moves the bar."""
        self._events.append(text)
        if done:
            self._progress.advance(self._task)
        if not self.is_live:
            self.console.print(f"  {text}", highlight=False)
