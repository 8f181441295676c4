"""Priors, estimators and posteriors as plain JSON and arrays, and back, without pickle.

Only the classes listed here are made from a file, and they are made by setting their fields: nothing that a file says
is run. What is the user's own, an `embedding_net` that is not of `homing.embeddings` or a prior that is an object with
`sample` and `log_prob`, is code and cannot be in a file; its arrays or its fingerprint are, and the caller brings the
code again.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from flowjax.bijections import Invert, Scan
from flowjax.distributions import StandardNormal, Transformed
from paramax import NonTrainable

from homing.arrays import Kind
from homing.diagnostics.predictive import Half, Predictive
from homing.embeddings.images import Convolutions
from homing.embeddings.plain import Flat
from homing.embeddings.series import Attention, Block, Recurrence
from homing.embeddings.sets import Trials
from homing.errors import ArgumentError, HomingError, PriorError
from homing.estimators import ConditionalDensity, MixtureNetwork, ProbabilityFlow, RatioEstimator, Standardize
from homing.estimators.autoregressive import Layer
from homing.estimators.columns import ColumnMap
from homing.estimators.embedding import Dense, EmbeddingNet
from homing.estimators.perceptron import Perceptron
from homing.estimators.ratio import Products
from homing.estimators.validity import Validity
from homing.posteriors.ensemble import Ensemble
from homing.posteriors.ratio import SurrogateRatio
from homing.posteriors.sampling import MCMC, Importance, Rejection, Tempering, Variational
from homing.posteriors.surrogate import Coordinates, SurrogateLikelihood
from homing.priors import Prior
from homing.priors.box import Uniform
from homing.priors.fingerprint import is_same_fact, prior_fact
from homing.priors.gaussian import Gaussian
from homing.priors.marginals import ByCdf, LogNormal, Normal
from homing.priors.prior import Product
from homing.simulation import StoreError
from homing.simulation.npz import from_npz, read_plain, to_npz
from homing.simulation.writing import replacing
from homing.text import printable

FORMAT = 1
_DESCRIPTION = "homing"
_CLASSES: dict[str, type] = {
    cls.__name__: cls
    for cls in (
        *(Ensemble, SurrogateLikelihood, Coordinates, Validity, Standardize, ColumnMap),
        *(ConditionalDensity, MixtureNetwork, Layer, Transformed, StandardNormal, Invert, Scan, NonTrainable),
        *(SurrogateRatio, Tempering, MCMC, Importance, Rejection, Variational),
        *(ProbabilityFlow, Perceptron, RatioEstimator, Products),
        *(Predictive, Half),
        *(EmbeddingNet, Dense, Flat, Convolutions, Recurrence, Attention, Block, Trials),
        *(Kind, Uniform, Normal, LogNormal, Gaussian, Product, ByCdf),
    )
}


class NotStorable(ArgumentError):
    """Something consists of code of the user's own, and so cannot be written to a file."""


class Packed(NamedTuple):
    """JSON, and the arrays it refers to by name."""

    tree: Any
    arrays: Mapping[str, np.ndarray]


def pack(value: Any) -> Packed:
    """A value made of the classes above, plain values, tuples, lists and dictionaries.

    Raises:
        NotStorable: If there is anything else in it.

    Example:
        >>> packed = pack({"a": (1, np.arange(2))})
        >>> sorted(packed.arrays), unpack(packed)
        (['a/1'], {'a': (1, array([0, 1]))})
    """
    packer = _Packer()
    return Packed(packer.pack(value, ""), packer.arrays)


def unpack(packed: Packed, prior: Prior | None = None, embedding_net: Callable[..., Any] | None = None) -> Any:
    """What was packed.

    Args:
        packed: From `pack`, or read from a file.
        prior: Used wherever a prior like it was packed; needed if that cannot be made from its description.
        embedding_net: The user's own embedding, as it was given to the builder; its arrays come from the file.

    Raises:
        PriorError, ArgumentError: If the prior or the embedding is needed, or another one was given.
        StoreError: If this was not made by `pack`.
    """
    try:
        return _Unpacker(packed.arrays, prior, embedding_net).unpack(packed.tree)
    except HomingError:
        raise
    except Exception as error:  # a stranger's file may go wrong anywhere
        raise StoreError(f"What is stored is damaged, or was made by a newer homing: {error!r}.") from error


def write_file(value: Any, path: Path) -> None:
    """A value in a file of its own: NumPy's .npz with the JSON as one of its arrays. It replaces the file as a whole.

    Raises:
        NotStorable: If the value cannot be packed.
        OutputError: If the file cannot be written.
    """
    tree, arrays = pack(value)
    described = json.dumps({"format": FORMAT, "content": tree}).encode()
    content = to_npz({_DESCRIPTION: np.frombuffer(described, np.uint8), **arrays})
    with replacing(path) as new:
        new.write_bytes(content)


def read_file(path: Path) -> Packed:
    """What `write_file` wrote, still packed.

    Raises:
        StoreError: If the file is not there, is none of these, is damaged or has a newer format.
    """
    try:
        content = read_plain(path)
    except (OSError, ValueError) as error:
        raise StoreError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}.") from error
    try:
        arrays = from_npz(content)
        described = json.loads(arrays.pop(_DESCRIPTION).tobytes())
        version, tree = int(described["format"]), described["content"]
    except Exception as error:  # a stranger's file may go wrong anywhere
        raise StoreError(
            f"{path} holds no posterior, or is damaged. Expected a file that posterior.save(path) wrote; a run file is "
            "opened by homing.open(path)."
        ) from error
    if version > FORMAT:
        raise StoreError(
            f"{path} has format {version}; this version of homing reads formats up to {FORMAT}. Upgrade homing."
        )
    return Packed(tree, arrays)


class _Packer:
    def __init__(self) -> None:
        self.arrays: dict[str, np.ndarray] = {}

    def pack(self, value: Any, where: str) -> Any:
        if value is None or isinstance(value, (bool, int, float, str)):
            return value
        if isinstance(value, np.generic):
            return value.item()
        if isinstance(value, (np.ndarray, jax.Array)):
            self.arrays[where] = np.asarray(value)
            return {"is": "jax" if isinstance(value, jax.Array) else "array", "name": where}
        if isinstance(value, (list, tuple)) and not hasattr(value, "_fields"):
            items = [self.pack(item, f"{where}/{i}".lstrip("/")) for i, item in enumerate(value)]
            return {"is": type(value).__name__, "items": items}
        if isinstance(value, dict):
            return {"is": "dict", "items": self._all(value, where)}
        if isinstance(value, Prior):
            return {"is": "prior", "fact": prior_fact(value), "build": self._build(value, where)}
        return self._object(value, where)

    def _object(self, value: Any, where: str) -> Any:
        """An object by its fields."""
        cls = type(value)
        if _CLASSES.get(cls.__name__) is not cls:
            raise NotStorable(f"{where or 'It'} is of the class {cls.__qualname__}, which cannot be stored.")
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        own = {name: special(self, fields.pop(name), where) for name, special in _special(cls).items()}
        return {"is": cls.__name__, "items": self._all(fields, where) | own}

    def _all(self, values: Mapping[str, Any], where: str) -> dict[str, Any]:
        return {name: self.pack(value, f"{where}/{name}".lstrip("/")) for name, value in values.items()}

    def _build(self, prior: Prior, where: str) -> Any:
        """How to make the prior; None for one that is made of the user's own code."""
        before = dict(self.arrays)
        try:
            return self._object(prior, where)
        except NotStorable:
            self.arrays = before
            return None

    def blocks(self, blocks: tuple[Prior, ...], where: str) -> Any:
        """Independent priors: each is known by its product's fact, and needs none of its own."""
        return {"is": "tuple", "items": [self._object(block, f"{where}/{i}") for i, block in enumerate(blocks)]}

    def embedding(self, embedding: Any, where: str) -> Any:
        if embedding is jnp.ravel:
            return {"is": "ravel"}
        if isinstance(embedding, EmbeddingNet):
            return self._object(embedding, f"{where}/embedding")
        leaves = jax.tree.leaves(eqx.filter(embedding, eqx.is_array))
        items = self._all({str(i): leaf for i, leaf in enumerate(leaves)}, f"{where}/embedding")
        return {"is": "own", "what": _name_of(embedding), "items": items}

    def family(self, frozen: Any, where: str) -> Any:
        """A frozen scipy.stats distribution by its name and arguments."""
        import scipy.stats

        name = frozen.dist.name
        if type(frozen.dist) is not type(getattr(scipy.stats, name, None)):
            raise NotStorable(f"{where} is a distribution that scipy.stats does not have.")
        kwds = {argument: float(value) for argument, value in frozen.kwds.items()}
        return {"is": "scipy", "name": name, "args": [float(value) for value in frozen.args], "kwds": kwds}


def _special(cls: type) -> dict[str, Callable[[_Packer, Any, str], Any]]:
    """The fields of a class that are packed in a way of their own."""
    if cls in (ConditionalDensity, RatioEstimator):
        return {"embedding": _Packer.embedding}
    if cls is ByCdf:
        return {"distribution": _Packer.family}
    return {"blocks": _Packer.blocks} if cls is Product else {}


class _Unpacker:
    def __init__(self, arrays: Mapping[str, np.ndarray], prior: Prior | None, embedding_net: Any):
        self.arrays, self.embedding_net = arrays, embedding_net
        self.given = None if prior is None else (prior, prior_fact(prior))
        self.priors: dict[str, Prior] = {}
        self.on_device: dict[str, jax.Array] = {}  # each once, however often it is named

    def unpack(self, tree: Any) -> Any:
        if not isinstance(tree, dict):
            return printable(tree) if isinstance(tree, str) else tree
        kind = tree["is"]
        if kind in ("array", "jax"):
            name = tree["name"]
            if self.arrays[name].dtype.kind not in "biuf":
                raise StoreError(f"The array {name!r} should hold numbers, found {self.arrays[name].dtype}.")
            if kind == "jax" and name not in self.on_device:
                self.on_device[name] = jax.device_put(self.arrays[name])
            return self.on_device[name] if kind == "jax" else self.arrays[name]
        if kind in ("list", "tuple"):
            return {"list": list, "tuple": tuple}[kind](map(self.unpack, tree["items"]))
        if kind == "dict":
            return self._all(tree["items"])
        special = {"prior": self.prior, "ravel": lambda _: jnp.ravel, "own": self.own, "scipy": _frozen}
        if kind in special:
            return special[kind](tree)
        return _made(_CLASSES[kind], self._all(tree["items"]))

    def _all(self, items: Mapping[str, Any]) -> dict[str, Any]:
        return {name: self.unpack(item) for name, item in items.items()}

    def prior(self, tree: Any) -> Prior:
        fact = tree["fact"]
        if self.given and is_same_fact(self.given[1], fact):
            return self.given[0]
        key = json.dumps(fact, sort_keys=True)
        if key not in self.priors:
            if tree["build"] is None:
                found = "none was given" if self.given is None else f"found {self.given[1]['description']}"
                raise PriorError(
                    f"The prior, {fact['description']}, consists of code that is not in the file: pass it again, "
                    f"prior=...; {found}."
                )
            self.priors[key] = self.unpack(tree["build"])
        return self.priors[key]

    def own(self, tree: Any) -> Any:
        """The user's embedding with the arrays of the file."""
        if self.embedding_net is None:
            raise ArgumentError(
                f"The estimator has an embedding_net of its own, {tree['what']}, whose code is not in the file: pass "
                "the builder it was made with, density_estimator=posterior_nn(..., embedding_net=...)."
            )
        arrays, rest = eqx.partition(self.embedding_net, eqx.is_array)
        leaves, structure = jax.tree.flatten(arrays)
        stored = list(self._all(tree["items"]).values())
        if [leaf.shape for leaf in leaves] != [leaf.shape for leaf in stored]:
            raise ArgumentError(
                f"embedding_net must be the one the estimator was made with, {tree['what']} with arrays of shapes "
                f"{[leaf.shape for leaf in stored]}; found {_name_of(self.embedding_net)} with "
                f"{[leaf.shape for leaf in leaves]}."
            )
        return eqx.combine(jax.tree.unflatten(structure, stored), rest)


def _made(cls: type, values: Mapping[str, Any]) -> Any:
    """An object by its fields; no code of the class runs. Fields that an older file lacks have their default."""
    made = object.__new__(cls)
    fields = dataclasses.fields(cls)
    names = {field.name for field in fields}
    defaults = {field.name: field.default for field in fields if field.default is not dataclasses.MISSING}
    if not names - defaults.keys() <= values.keys() <= names:
        raise KeyError(f"{cls.__name__} has the fields {sorted(names)}, found {sorted(values)}")
    for name, value in (defaults | dict(values)).items():
        object.__setattr__(made, name, value)
    return made


def _frozen(tree: Any) -> Any:
    import scipy.stats

    family = getattr(scipy.stats, tree["name"])
    if not isinstance(family, scipy.stats.rv_continuous):
        raise KeyError(tree["name"])
    return family(*map(float, tree["args"]), **{str(name): float(value) for name, value in tree["kwds"].items()})


def _name_of(value: Any) -> str:
    named = value if hasattr(value, "__qualname__") else type(value)
    return f"{named.__module__}.{named.__qualname__}"
