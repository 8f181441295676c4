"""Densities of draws on a grid: histograms, smoothed densities and highest density regions, in one and two dimensions.

Every draw counts, however many there are: draws are first counted in cells, everything after works on the cells.

**Smoothing.** The counts are convolved with a Gaussian kernel by multiplying their discrete cosine transform with
exp(-(π k h)² / 2), h the kernel's width as a share of the grid's length. That reflects mass at the grid's ends, so
nothing leaks over a limit, as is right at the bound of a prior; where draws lie beyond a limit the density goes on, and
the grid is extended there instead.

**Width.** h = s σ_j n^(-1/(d+4)) in direction j (Scott's rule at s = 1), with one s chosen by least-squares
cross-validation: the s that minimises ∫ f² - (2/n) Σᵢ f₋ᵢ(xᵢ), where f₋ᵢ is the density without draw i. Both
terms are sums over the cosine coefficients. Of several local minima the largest s is taken, which guards against
following noise. Scott's rule alone blurs two modes into one, or a crescent into a disc.

**Regions.** The region of highest density that holds a mass m is {f ≥ t}, with t such that a share m of the draws has
f₋ᵢ(xᵢ) ≥ t. Counting draws, each judged by the others, keeps the mass right where smoothing has widened f.

Source: Botev, Grotowski and Kroese (2010), Kernel density estimation via diffusion, Annals of Statistics 38(5),
https://doi.org/10.1214/10-AOS799 (the cosine transform); Hall and Marron (1991), Local minima in cross-validation
functions, JRSS B 53(1) (the width); Hyndman (1996), Computing and graphing highest density regions, The American
Statistician 50(2) (the regions).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property, reduce

import numpy as np
from scipy import fft

CELLS = {1: 500, 2: 250}  # of a smoothed density between the limits, per axis, by dimension
_PAD = 5  # a grid is extended by 1/_PAD of its length where draws lie beyond a limit


def spread(values: np.ndarray) -> float:
    """The standard deviation, from the quartiles so that heavy tails do not decide it; zero for constant values.

    Example:
        >>> round(spread(np.linspace(-1, 1, 101)), 3)
        0.741
    """
    low, high = np.percentile(values, [25, 75])
    return float(high - low) / 1.349 or float(np.std(values))


@dataclass(eq=False)
class Column:
    """One parameter's draws in one set of samples, and the limits between which they are shown.

    Attributes:
        values: Shape (n,).
        low: The lower limit.
        high: The upper limit.
    """

    values: np.ndarray
    low: float
    high: float
    _cells: dict[tuple[int, bool], tuple[np.ndarray, int, int]] = field(default_factory=dict, init=False, repr=False)

    @cached_property
    def spread(self) -> float:
        """See `spread`."""
        return spread(self.values)

    @property
    def bins(self) -> int:
        """Bins of a histogram: n^(-1/4) interquartile ranges wide, at least 50 (√n for few draws), at most 120."""
        n = len(self.values)
        width = 1.349 * self.spread * n**-0.25
        fewest = min(50, int(np.sqrt(n)))
        return int(np.clip((self.high - self.low) / width, fewest, 120)) if width > 0 else 50

    def edges(self, number: int) -> np.ndarray:
        """The edges of equal cells between the limits, shape (number + 1,)."""
        return np.linspace(self.low, self.high, number + 1)

    def cells(self, number: int, extended: bool) -> tuple[np.ndarray, int, int]:
        """Puts the draws into cells, once for all the panels that ask.

        Args:
            number: How many cells lie between the limits.
            extended: Whether the grid goes on beyond a limit that has draws beyond it.

        Returns:
            Each draw's cell, shape (n,), the draws outside the grid in one last cell of their own; how many cells the
            grid has without that one; and the index of the first cell between the limits.
        """
        if (number, extended) not in self._cells:
            below = number // _PAD if extended and self.values.min() < self.low else 0
            above = number // _PAD if extended and self.values.max() > self.high else 0
            total = below + number + above
            position = (self.values - self.low) * (number / (self.high - self.low)) + below
            # Rounding may put a draw at the upper limit just beyond the last cell, to which it belongs.
            inside = (position >= 0) & ((position < total) | ((above == 0) & (self.values <= self.high)))
            index = np.where(inside, np.minimum(position, total - 1), total).astype(np.int32)
            self._cells[number, extended] = index, total, below
        return self._cells[number, extended]


def histogram(columns: list[Column], bins: list[int]) -> np.ndarray:
    """How many draws lie in each cell between the limits.

    Args:
        columns: The parameters, one for each axis of the result, with the same number of draws.
        bins: The number of cells along each axis.

    Returns:
        Counts, of shape `bins`.

    Example:
        >>> histogram([Column(np.array([0.0, 0.1, 1.0, 3.0]), 0.0, 1.0)], [2])
        array([2, 1])
    """
    return _counts([column.cells(number, extended=False)[:2] for column, number in zip(columns, bins)])


def _counts(axes: list[tuple[np.ndarray, int]]) -> np.ndarray:
    index, shape = np.int64(0), []
    for cells, total in axes:
        index = index * (total + 1) + cells
        shape.append(total + 1)
    table = np.bincount(index, minlength=np.prod(shape)).reshape(shape)
    return table[(slice(-1),) * len(shape)]


@dataclass(frozen=True)
class Density:
    """A smoothed density.

    Attributes:
        values: The density at the centres of the cells between the limits, shape (cells,) or (cells, cells).
        centres: The cells' centres along each axis, each of shape (cells,).
        ranked: The density in every cell that holds draws, in units of `values`, highest first, shape (m,).
        held: The share of all draws that lie in cells ranked as high or higher, shape (m,).
        own: What one draw adds to the density at its own place.
    """

    values: np.ndarray
    centres: list[np.ndarray]
    ranked: np.ndarray
    held: np.ndarray
    own: float

    def level(self, mass: float) -> float | None:
        """The density above which lies the region of highest density of the given mass.

        Args:
            mass: Between 0 and 1, as a share of all draws; those beyond the grid count as outside the region.

        Returns:
            The level, or None if less than that mass lies within the grid.

        Example:
            >>> draws = np.random.default_rng(0).standard_normal(100_000)
            >>> level = smoothed([Column(draws, -6.0, 6.0)]).level(0.68)
            >>> bool(abs(level - 0.243) < 0.01)  # N(0.994; 0, 1), where the central 68 % end
            True
        """
        rank = int(np.searchsorted(self.held, mass * (1 - 1e-12)))
        if rank == len(self.held):
            return None
        return max(float(self.ranked[rank]) - self.own, 1e-6 * float(self.ranked[0]))


def smoothed(columns: list[Column]) -> Density:
    """The smoothed density of one parameter or of two.

    Args:
        columns: One or two parameters with the same number of draws.

    Returns:
        The density; its integral between the limits is the share of draws there.
    """
    number, n = CELLS[len(columns)], len(columns[0].values)
    grids = [column.cells(number, extended=True) for column in columns]
    counts = _counts([(cells, total) for cells, total, _ in grids])
    coefficients = np.asarray(fft.dctn(counts / n, norm="ortho"))
    widths = _widths(coefficients, columns, n, float(counts.sum()) / n)
    shares = np.asarray(fft.idctn(coefficients * _outer(_kernels(counts.shape, widths)), norm="ortho"))

    volume = float(np.prod([(column.high - column.low) / number for column in columns]))
    filled = counts > 0
    order = np.argsort(shares[filled])[::-1]
    edges = [column.edges(number) for column in columns]
    return Density(
        values=np.maximum(shares[tuple(slice(first, first + number) for _, _, first in grids)], 0) / volume,
        centres=[(edge[1:] + edge[:-1]) / 2 for edge in edges],
        ranked=shares[filled][order] / volume,
        held=np.cumsum(counts[filled][order]) / n,
        own=_own(widths) / n / volume,
    )


def _widths(coefficients: np.ndarray, columns: list[Column], n: int, share: float) -> np.ndarray:
    """The kernel's widths in cells, by least-squares cross-validation; `share` of the n draws lie in the grid."""
    number, power = CELLS[len(columns)], coefficients**2
    scott = np.array([column.spread / (column.high - column.low) * number for column in columns]) * n ** (
        -1 / (len(columns) + 4)
    )
    best, lowest = np.maximum(scott, 1.0), np.inf
    for factor in 0.8 ** np.arange(18):
        widths = np.maximum(factor * scott, 1.0)  # narrower than a cell, a kernel is no longer seen by the grid
        kernels = _kernels(coefficients.shape, widths)
        squared = _sum(power, [kernel**2 for kernel in kernels])
        left_out = (n * _sum(power, kernels) - share * _own(widths)) / (n - 1)
        score = squared - 2 * left_out
        if score >= lowest:
            break
        best, lowest = widths, score
    return best


def _kernels(shape: tuple[int, ...], widths: np.ndarray) -> list[np.ndarray]:
    return [np.exp(-0.5 * (np.pi * np.arange(size) * width / size) ** 2) for size, width in zip(shape, widths)]


def _outer(kernels: list[np.ndarray]) -> np.ndarray:
    return reduce(np.multiply.outer, kernels)


def _sum(power: np.ndarray, kernels: list[np.ndarray]) -> float:
    """Σ power · kernels, without the outer product."""
    return float(reduce(lambda rest, kernel: kernel @ rest, kernels, power))


def _own(widths: np.ndarray) -> float:
    """The peak of a Gaussian kernel whose widths are given in cells."""
    return float(np.prod(1 / (np.sqrt(2 * np.pi) * widths)))
