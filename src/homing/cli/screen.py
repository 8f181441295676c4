"""What a person sees while a run goes on: lines that stay, and in a terminal one last line that lives.

Everything goes to standard error. Where that is no terminal, there are only plain lines, and fewer of them the longer
simulations take, so that a log stays readable.
"""

from __future__ import annotations

import os
import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Self

from homing.cli.words import rate, span
from homing.text import printable

if TYPE_CHECKING:
    from rich.text import Text

    from homing.inference import Progress

_DOING = {"propose": "choosing where to simulate", "simulate": "simulating", "learn": "learning"}
_BAR = 24
_FIRST_LINE, _LINES_PER_TIME = 10.0, 0.1  # seconds until a log's first line; then one each time a tenth was added


class Clock:
    """How long each part of a run takes, by what it was told; knows nothing of how that is shown.

    Args:
        sizes: Simulations in each round, as far as planned.
    """

    def __init__(self, sizes: list[int]):
        self.sizes = sizes
        self.now: Progress | None = None
        self._began = time.perf_counter()
        self._done_before = 0  # simulations that were done when this part began
        self._simulated, self._simulating = 0, 0.0  # by this process, in earlier rounds
        self._learned: list[float] = []

    def told(self, progress: Progress) -> None:
        """Take note of where the run is."""
        if self.now is None or (progress.round, progress.part) != (self.now.round, self.now.part):
            self._close_part()
            self._began, self._done_before = time.perf_counter(), progress.done
        if self.is_rest(progress):
            self.sizes = [*self.sizes[: progress.round - 1], progress.planned]
        self.now = progress

    def is_rest(self, progress: Progress) -> bool:
        """Whether a round turns out to be all that was left, which was planned as several."""
        return 0 < progress.round <= len(self.sizes) and progress.planned > self.sizes[progress.round - 1]

    def _close_part(self) -> None:
        if self.now is None:
            return
        if self.now.part == "simulate":
            self._simulated += self.now.done - self._done_before
            self._simulating += self.seconds
        elif self.now.part == "learn":
            self._learned.append(self.seconds)

    @property
    def place(self) -> str:
        """Which round it is; what a check simulates has a number below zero, and no round."""
        assert self.now is not None
        return f"round {self.now.round} of {len(self.sizes)}" if self.now.round > 0 else "check"

    @property
    def simulates(self) -> bool:
        """Whether it simulates. A check that has all of its simulations compares them."""
        now = self.now
        assert now is not None
        return now.part == "simulate" and (now.round > 0 or now.done < now.planned)

    @property
    def doing(self) -> str:
        """What goes on, in words."""
        assert self.now is not None
        return _DOING[self.now.part] if self.simulates or self.now.part != "simulate" else "comparing"

    @property
    def seconds(self) -> float:
        """Since this part began."""
        return time.perf_counter() - self._began

    @property
    def per_second(self) -> float | None:
        """Simulations in a second, of this round or, before it has any, of all; None before the first."""
        assert self.now is not None
        if self.now.part == "simulate" and self.now.done > self._done_before and self.seconds > 0:
            return (self.now.done - self._done_before) / self.seconds
        return self._simulated / self._simulating if self._simulated and self._simulating > 0 else None

    @property
    def seconds_left(self) -> float | None:
        """Until the run ends: all simulations, and learning as long as it took so far. None while that is unknown."""
        assert self.now is not None
        ahead = self.sizes[self.now.round :]
        simulations = sum(ahead) + self.now.planned - self.now.done
        if self.per_second is None:
            return None
        learning = sum(self._learned) / len(self._learned) if self._learned else 0.0
        rest = learning - (self.seconds if self.now.part == "learn" else 0.0)
        return simulations / self.per_second + max(rest, 0.0) + learning * len(ahead)

    def sentence(self) -> str:
        """Where the run is, in words."""
        now = self.now
        assert now is not None
        text = f"{self.place}: {self.doing}"
        if not self.simulates:
            return text
        text += f", {now.done:,} of {now.planned:,}"
        if self.per_second is not None:
            text += f", {rate(self.per_second)}"
        return f"{text}, {self.left}" if self.left else text

    @property
    def left(self) -> str:
        """The time that is left, in words: of simulating alone, if that is any, while nothing is known of learning."""
        seconds = self.seconds_left
        if seconds is None or (not self._learned and seconds < 1):
            return ""
        return f"{span(seconds, tenths=False)} {'left' if self._learned else 'of simulating left'}"


class Screen:
    """Plain lines, for a log. As a context it begins and ends what is shown.

    Args:
        sizes: Simulations in each round, as far as planned.
        finished: The newest round that the run file has finished before; what is done again for it is not shown.
        quiet: Say nothing.
    """

    def __init__(self, sizes: list[int], finished: int = 0, quiet: bool = False):
        self.clock = Clock(sizes)
        self._finished = finished
        self._quiet = quiet
        self._next_line = _FIRST_LINE

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def say(self, text: str) -> None:
        """A line that stays."""
        if not self._quiet:
            print(printable(text), file=sys.stderr, flush=True)

    def told(self, progress: Progress) -> None:
        """Show where the run is."""
        if 0 < progress.round <= self._finished:
            return
        before = self.clock.now
        self.clock.told(progress)
        if before is None or (before.round, before.part) != (progress.round, progress.part):
            self._next_line = _FIRST_LINE
            if progress.part != "propose":
                self.say(self.clock.sentence())
        elif self.clock.seconds > self._next_line and progress.done < progress.planned:
            self._next_line = self.clock.seconds + max(_FIRST_LINE, _LINES_PER_TIME * self.clock.seconds)
            self.say(self.clock.sentence())


class LiveScreen(Screen):
    """The same in a terminal: the lines that stay, and below them one that tells where the run is."""

    def __init__(self, sizes: list[int], finished: int = 0):
        from rich.console import Console
        from rich.live import Live

        super().__init__(sizes, finished)
        self._console = Console(stderr=True, highlight=False, markup=False, emoji=False)
        self._live = Live(self, console=self._console, refresh_per_second=5, transient=True)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def say(self, text: str) -> None:
        self._console.print(printable(text))

    def told(self, progress: Progress) -> None:
        if not 0 < progress.round <= self._finished:
            self.clock.told(progress)

    def __rich__(self) -> Text:
        from rich.text import Text

        now = self.clock.now
        if now is None:
            return Text("")
        line = Text(no_wrap=True, overflow="ellipsis")
        line.append(f"{self.clock.place}  ", style="bold")
        line.append(self.clock.doing)
        if not self.clock.simulates:
            line.append(f"  {span(self.clock.seconds, tenths=False)}", style="dim")
        else:
            if self._console.width >= 80:
                self._bar(line, now.done / now.planned)
            line.append(f"  {now.done:,}/{now.planned:,}")
            if self.clock.per_second is not None:
                line.append(f"  {rate(self.clock.per_second)}")
        line.append(f"  {self.clock.left}", style="dim")
        return line

    def _bar(self, line: Text, share: float) -> None:
        full = round(share * _BAR)
        mark = "━" if self._console.encoding.startswith("utf") else "="
        line.append("  ").append(mark * full, style="green").append(mark * (_BAR - full), style="dim")


def screen_for(sizes: list[int], finished: int = 0, quiet: bool = False) -> Screen:
    """What fits where standard error goes: a terminal that can move its cursor, or anything else."""
    can_move = sys.stderr.isatty() and os.environ.get("TERM", "dumb") not in ("dumb", "unknown")
    return LiveScreen(sizes, finished) if can_move and not quiet else Screen(sizes, finished, quiet)
