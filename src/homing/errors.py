"""What homing raises, and how it warns.

Every message says what was expected, what was found, where, and what to do about it. Each class also derives from the
built-in exception a caller would catch without knowing this package.
"""

from __future__ import annotations

import sys
import warnings
from typing import Self

from homing.text import printable


class HomingError(Exception):
    """Base of everything raised on purpose by this package; its text has no control characters of a file's or a
    simulator's.
    """

    def __str__(self) -> str:
        return printable(super().__str__())


class ArgumentError(HomingError, ValueError):
    """An argument has a value that cannot work: a count of zero, an unknown name, an option that does not apply."""


class ShapeError(HomingError, ValueError):
    """An array's shape does not fit what it is used for."""


class PriorError(HomingError, ValueError):
    """A prior cannot be used: unknown kind, inconsistent `sample` and `log_prob`, support that is not a box."""


class ObservationError(HomingError, ValueError):
    """The observation x_o cannot be conditioned on: NaN, out of range, missing, or of another shape than the data."""


class SimulationError(HomingError, RuntimeError):
    """Simulations failed in a way that stops the run. What was simulated before is kept."""


class NotTrainedError(HomingError, RuntimeError):
    """A posterior was asked for before there was anything to build it from."""


class WaitingError(HomingError, RuntimeError):
    """A run cannot go on before simulations that run elsewhere were told of."""


class ForkError(HomingError, RuntimeError):
    """JAX was asked for in a process forked from one in which it had started, where it would never answer."""


class MissingError(ImportError, HomingError):
    """A package that is optional, and needed for what was asked, is not installed."""

    @classmethod
    def of(cls, what: str, package: str, extra: str) -> Self:
        """The error that says which extra of `homing` brings the package.

        Example:
            >>> print(MissingError.of("to_arviz", "ArviZ", "arviz"))
            to_arviz needs ArviZ, which is not installed: pip install 'homing[arviz]'.
        """
        return cls(f"{what} needs {package}, which is not installed: pip install 'homing[{extra}]'.")


def warn(message: str) -> None:
    """Warn at the user's line that led here: the first one outside of homing, however deep below it this is."""
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] == "homing":
        frame, level = frame.f_back, level + 1
    warnings.warn(printable(message), stacklevel=level)
