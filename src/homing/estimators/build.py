"""Builders: from a description of an estimator and the first data to an estimator ready to be trained."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import jax
import numpy as np

from homing.arrays import library_of
from homing.errors import ArgumentError, ShapeError
from homing.estimators.autoregressive import autoregressive_flow
from homing.estimators.density import Base, ConditionalDensity, affine_base, conditional_density, linear_base
from homing.estimators.embedding import Embedding, EmbeddingNet, simple_features
from homing.estimators.mixture import mixture_network
from homing.estimators.standardize import Standardize, ZScore, fit_standardize
from homing.estimators.velocity import probability_flow, require_diffrax

Model = Literal["maf", "nsf", "mdn", "cnf"]

_MODELS = ("maf", "nsf", "mdn", "cnf")
_MAX_LINEAR = 256  # columns of x up to which the linear base looks at them
_SATURATION = 3.0  # of what a flow's networks see of z, in residual deviations: toward a bound z has no end, rows have


@dataclass(frozen=True, eq=False)
class Estimator:
    """A density together with the map from data to what its network sees.

    Attributes:
        standardize: From x of shape (n, *x_shape), float64, to the network's float32 input.
        density: q(z | standardised x).
        x_shape: Shape of one x.
    """

    standardize: Standardize
    density: ConditionalDensity
    x_shape: tuple[int, ...]


class Builder(Protocol):
    """What `density_estimator` may be besides a name.

    Called with z of shape (n, d), the parameters in the space where the prior is a standard normal, x of shape
    (n, *x_shape), a NumPy generator for the initial weights, and the least precision a Gaussian component may have in
    z.
    """

    def __call__(self, z: np.ndarray, x: np.ndarray, rng: np.random.Generator, min_precision: float) -> Estimator: ...


def z_score(value: ZScore | bool | None, name: str) -> ZScore:
    """The way of scaling that an argument of that name stands for."""
    if value is True:
        return "structured" if name == "z_score_theta" else "independent"
    if value is False or value is None:
        return "none"
    if value not in ("independent", "structured", "none"):
        raise ArgumentError(f'{name} must be "independent", "structured" or "none", found {value!r}.')
    return value


@dataclass(frozen=True)
class PosteriorBuilder:
    """The package's own estimators; see `posterior_nn` for the fields."""

    model: Model = "maf"
    hidden_features: int = 50
    num_transforms: int = 5
    num_bins: int = 10
    num_components: int = 10
    embedding_net: Embedding | Callable[..., Any] | None = None
    z_score_theta: ZScore = "structured"
    z_score_x: ZScore = "independent"

    def __call__(self, z: np.ndarray, x: np.ndarray, rng: np.random.Generator, min_precision: float) -> Estimator:
        standardize = self.standardize(x, z)
        return Estimator(standardize, self.density(z, standardize(x), rng, min_precision), x.shape[1:])

    def standardize(self, x: np.ndarray, z: np.ndarray) -> Standardize:
        """The map from data of shape (n, *x_shape), simulated with z of shape (n, d), to what the network sees."""
        return data_map(self.embedding_net, x, self.z_score_x, z)

    def density(
        self, z: np.ndarray, features: np.ndarray, rng: np.random.Generator, min_precision: float = 0.0
    ) -> ConditionalDensity:
        """A fresh density of z, shape (n, d), given standardised data, shape (n, *x_shape)."""
        embedding = made_embedding(self.embedding_net, features, rng)
        base = first_base(z, features, self.z_score_theta, embedding)
        dim, dim_context = z.shape[1], count_features(embedding, features.shape[1:])
        if self.model == "cnf":
            core = probability_flow(
                rng,
                dim=dim,
                dim_context=dim_context,
                hidden_features=self.hidden_features,
                depth=self.num_transforms,
            )
        elif self.model == "mdn":
            core = mixture_network(
                rng,
                dim=dim,
                dim_context=dim_context,
                hidden_features=self.hidden_features,
                num_components=self.num_components,
                floor=min_precision * base.scale.T @ base.scale,
            )
        else:
            core = autoregressive_flow(
                rng,
                dim=dim,
                dim_context=dim_context,
                transformer="affine" if self.model == "maf" else "spline",
                hidden_features=self.hidden_features,
                num_layers=self.num_transforms,
                bins=self.num_bins,
                saturation=_SATURATION,
            )
        return conditional_density(core, base, embedding)


def made_embedding(embedding_net: Any, features: np.ndarray, rng: np.random.Generator) -> Any:
    """A description's network, for standardised data of shape (n, *x_shape); the user's own as it is."""
    return embedding_net.build(features, rng) if isinstance(embedding_net, Embedding) else embedding_net


def data_map(embedding_net: Any, x: np.ndarray, z_score_x: ZScore, z: np.ndarray) -> Standardize:
    """The map from data of shape (n, *x_shape), simulated with z of shape (n, d), to what the network sees."""
    fit = embedding_net.standardize if isinstance(embedding_net, Embedding) else fit_standardize
    return fit(x, z_score_x, z)


def first_base(z: np.ndarray, features: np.ndarray, z_score_theta: ZScore, embedding: Any) -> Base:
    """The base of z, shape (n, d), for standardised data, shape (n, *x_shape): linear where it may look at them."""
    if z_score_theta == "structured" and (embedding is None or isinstance(embedding, EmbeddingNet)):
        simple = simple_features(embedding, features).astype(np.float64)
        if simple.shape[1] <= _MAX_LINEAR:
            return linear_base(z, simple)
    return affine_base(z, standardize=z_score_theta != "none")


def count_features(embedding: Callable[..., Any] | None, x_shape: tuple[int, ...]) -> int:
    """How many features one x has.

    Raises:
        ShapeError: If the embedding cannot be applied to it.
    """
    if embedding is None:
        return int(np.prod(x_shape))
    try:
        out = jax.eval_shape(embedding, jax.ShapeDtypeStruct(x_shape, np.float32))
    except Exception as error:
        raise ShapeError(
            f"embedding_net could not be applied to one x of shape {x_shape}: it must be a JAX function or an "
            "equinox module that takes one x, without a batch dimension, and returns an array. It raised: "
            f"{error}"
        ) from error
    return int(np.prod(out.shape))


def check_sizes(**sizes: Any) -> None:
    """Raise unless all are positive whole numbers."""
    for name, size in sizes.items():
        if not isinstance(size, (int, np.integer)) or size < (2 if name == "num_bins" else 1):
            raise ArgumentError(f"{name} must be a positive whole number (bins at least 2), found {size!r}.")


def check_embedding(embedding_net: Any) -> None:
    """Raise unless it is None, one of `homing.embeddings`, or a function or a module of JAX's."""
    if not (embedding_net is None or callable(embedding_net) or isinstance(embedding_net, Embedding)):
        raise ArgumentError(
            "embedding_net must be one of homing.embeddings, a JAX function or an equinox module, found "
            f"{type(embedding_net).__name__}."
        )
    owner = getattr(embedding_net, "__self__", embedding_net)  # of net.forward
    if library_of(owner) == "torch" or (isinstance(owner, type) and owner.__module__.startswith("torch.")):
        raise ArgumentError(
            "embedding_net is a torch module; training runs in JAX, so bring one of homing.embeddings, an equinox "
            "module or a JAX function."
        )
    if isinstance(embedding_net, type):
        raise ArgumentError(
            f"embedding_net is the class {embedding_net.__name__}: call it, "
            f"embedding_net={embedding_net.__name__}(...)."
        )


def posterior_nn(
    model: Model = "maf",
    *,
    hidden_features: int = 50,
    num_transforms: int = 5,
    num_bins: int = 10,
    num_components: int = 10,
    embedding_net: Embedding | Callable[..., Any] | None = None,
    z_score_theta: ZScore | bool | None = "structured",
    z_score_x: ZScore | bool | None = "independent",
) -> PosteriorBuilder:
    """Describe a density estimator for q(theta | x), to be passed as `density_estimator`.

    Args:
        model: `"maf"`, a masked autoregressive flow; `"nsf"`, the same with rational-quadratic splines; `"mdn"`, a
            mixture of full-covariance Gaussians; `"cnf"`, the flow of a velocity field, for flow matching and scores.
        hidden_features: Width of the hidden layers.
        num_transforms: Layers of a flow; hidden layers of a velocity field.
        num_bins: Bins of a spline flow.
        num_components: Gaussians of a mixture.
        embedding_net: One of `homing.embeddings`, which are made for the data's shape with weights of their own for
            each estimator; or a JAX function or equinox module from one x, shape x_shape, to features. It is trained
            with the rest if it has weights. None passes x on as it is.
        z_score_theta: `"structured"` starts from a linear regression of theta on x, or on simple statistics of it that
            an embedding of `homing.embeddings` names; `"independent"` centres and scales each parameter, `"none"` does
            neither.
        z_score_x: `"independent"` scales each entry of x robustly by itself, but entries that an embedding of
            `homing.embeddings` takes for one kind alike (an image's pixels, a series' steps, a set's trials);
            `"structured"` all alike, `"none"` not at all.

    Returns:
        A builder.

    Raises:
        ArgumentError: If a name is unknown, or a size is not a positive whole number.
        MissingError: If what the model needs is not installed.

    Example:
        >>> posterior_nn("nsf", num_bins=8).num_bins
        8
    """
    if model not in _MODELS:
        raise ArgumentError(f"model must be one of {', '.join(map(repr, _MODELS))}, found {model!r}.")
    sizes = {
        "hidden_features": hidden_features,
        "num_transforms": num_transforms,
        "num_bins": num_bins,
        "num_components": num_components,
    }
    check_sizes(**sizes)
    check_embedding(embedding_net)
    theta, data = z_score(z_score_theta, "z_score_theta"), z_score(z_score_x, "z_score_x")
    if model == "cnf":
        require_diffrax()
    return PosteriorBuilder(model, **sizes, embedding_net=embedding_net, z_score_theta=theta, z_score_x=data)
