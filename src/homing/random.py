"""Named streams of random numbers.

Every draw belongs to a stream named by (seed, purpose, indices), for example `(seed, "simulate", round, row)`. Streams
with different names are independent, and the numbers of one do not depend on whether, or in which order, others were
drawn. So results do not depend on the number of workers, on the executor, or on a run having been killed and resumed.

Source: SeedSequence, NumPy documentation,
    https://numpy.org/doc/stable/reference/random/bit_generators/generated/numpy.random.SeedSequence.html
"""

import secrets
import zlib

import numpy as np

from homing.arrays import Kind


def fresh_seed() -> int:
    """A seed from the operating system's entropy, below 2**63.

    Example:
        >>> 0 <= fresh_seed() < 2**63
        True
    """
    return secrets.randbits(63)


def _sequence(seed: int, purpose: str, indices: tuple[int, ...]) -> np.random.SeedSequence:
    return np.random.SeedSequence(entropy=seed, spawn_key=(zlib.crc32(purpose.encode()), *indices))


def generator(seed: int, purpose: str, *indices: int) -> np.random.Generator:
    """The NumPy generator of the stream (seed, purpose, indices).

    Args:
        seed: The run's seed, a non-negative integer.
        purpose: What the numbers are for, for example `"prior"`.
        *indices: Non-negative integers, for example the round and the row.

    Returns:
        A generator at the stream's beginning, the same at every call.

    Example:
        >>> a, b = generator(1, "prior", 0), generator(1, "prior", 0)
        >>> bool(a.normal() == b.normal()), bool(a.normal() == generator(1, "prior", 1).normal())
        (True, False)
    """
    return np.random.Generator(np.random.Philox(_sequence(seed, purpose, indices)))


def word(seed: int, purpose: str, *indices: int) -> int:
    """One 32-bit word of the stream (seed, purpose, indices): the seed of another generator, for example a JAX key.

    Example:
        >>> word(1, "train", 0) == word(1, "train", 0), word(1, "train", 0) == word(2, "train", 0)
        (True, False)
    """
    return int(_sequence(seed, purpose, indices).generate_state(1, np.uint32)[0])


def row_seeds(seed: int, purpose: str, round: int, num_rows: int) -> np.ndarray:
    """One seed for each row of a round; row i's does not depend on how many rows there are.

    Returns:
        Shape (num_rows,), uint64 below 2**63.

    Example:
        >>> short, long = row_seeds(1, "simulate", 0, 3), row_seeds(1, "simulate", 0, 5)
        >>> short.tolist() == long[:3].tolist()
        True
    """
    return generator(seed, purpose, round).integers(0, 2**63, size=num_rows, dtype=np.uint64)


def global_seed(kind: Kind) -> int:
    """A seed for a call that was given none, from the global generator of the user's library.

    So `torch.manual_seed` and `np.random.seed` make such a call repeatable, as their users expect. JAX has no global
    generator; there the operating system's entropy decides.
    """
    if kind.library == "torch":
        import torch

        return int(torch.randint(2**63 - 1, ()))
    if kind.library == "numpy":
        return int(np.random.randint(2**63 - 1))  # noqa: NPY002
    return fresh_seed()
