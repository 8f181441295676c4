r"""Masked autoregressive flows: the conditioner.

A flow is a stack of layers, each a bijection \(\varepsilon_i = T(z_i; \phi_i)\) with
\(\phi_i = \mathrm{net}_i(z_{<i}, c)\): coordinate i is moved by a monotone scalar transform whose parameters a network
computes from the coordinates before it and from the context c. Its Jacobian is triangular, so
\(\log q(z \mid c) = \sum_i \log N(\varepsilon_i) + \log |\partial T / \partial z_i|\) is exact. One network computes
all \(\phi_i\) at once by masking the weights that would look ahead. Each layer takes the coordinates in an order of its
own.

The scalar transforms, the scan over layers and the distribution are flowjax's. The conditioner is ours because of what
this package asks of it: it is made by NumPy in a millisecond (flowjax's takes seconds of compilation), and it adds the
context to the first hidden layer as a separate product, so that with many theta for one x (the atoms of SNPE-C) the
context's share is computed once per x.

Sources: Papamakarios, Pavlakou, Murray, *Masked Autoregressive Flow for Density Estimation*, 2017,
https://arxiv.org/abs/1705.07057; Durkan, Bekasov, Murray, Papamakarios, *Neural Spline Flows*, 2019,
https://arxiv.org/abs/1906.04032.
"""

from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from flowjax.bijections import Invert, Scan
from flowjax.bijections.bijection import AbstractBijection
from flowjax.bijections.rational_quadratic_spline import RationalQuadraticSpline
from flowjax.distributions import StandardNormal, Transformed
from jax import Array

Transformer = Literal["affine", "spline"]

_MOST_LOG_SCALE = 4.0  # of one affine layer: unbounded, a draw far out may have no density in float32
_MIN_WIDTH = 1e-3
_MIN_DERIVATIVE = 1e-3
_ONE = float(np.log(np.expm1(1.0)))  # softplus(_ONE) = 1


class Layer(AbstractBijection):
    """One autoregressive layer, from the density's side: `transform` takes z to noise in one pass, `inverse` in d."""

    order: Array  # (d,) int: place of each coordinate in this layer's order
    enter: Array  # (H, d): from the coordinates to the first hidden layer
    context: Array  # (H, c)
    hidden: Array  # (depth - 1, H, H)
    leave: Array  # (d * P, H)
    biases: Array  # (depth, H)
    leave_bias: Array  # (d * P,)
    transformer: Transformer = eqx.field(static=True)
    bins: int = eqx.field(static=True)
    bound: float = eqx.field(static=True)
    shape: tuple[int, ...] = eqx.field(static=True)
    cond_shape: tuple[int, ...] = eqx.field(static=True)
    saturation: float = eqx.field(static=True, default=0.0)  # how far the network sees a coordinate; 0 for any distance

    def _hidden(self, z: Array, condition: Array) -> Array:
        """The last hidden layer at z, shape (H,). A unit of rank r sees the coordinates placed before r, and c."""
        rank = self._rank
        if self.saturation:
            z = self.saturation * jnp.tanh(z / self.saturation)
        h = jnp.where(self.order[None, :] < rank[:, None], self.enter, 0.0) @ z + self.context @ condition
        h = jax.nn.silu(h + self.biases[0])
        same = rank[:, None] >= rank[None, :]
        for weight, bias in zip(self.hidden, self.biases[1:]):
            h = h + jax.nn.silu(jnp.where(same, weight, 0.0) @ h + bias)
        return h

    @property
    def _rank(self) -> Array:
        return jnp.arange(self.enter.shape[0]) % self.shape[0]

    def _parameters(self, z: Array, condition: Array) -> Array:
        """The transforms' parameters at z, shape (d, P)."""
        outputs = self.leave.reshape(self.shape[0], -1, self.enter.shape[0])
        visible = self.order[:, None, None] >= self._rank[None, None, :]
        h = self._hidden(z, condition)
        return jnp.where(visible, outputs, 0.0) @ h + self.leave_bias.reshape(self.shape[0], -1)

    def _forward(self, parameters: Array, z: Array) -> tuple[Array, Array]:
        """The scalar transform and its log derivative; parameters, shape (P,), of zero give the identity, nearly."""
        if self.transformer == "affine":
            shift, log_scale = _affine(parameters)
            return z * jnp.exp(log_scale) + shift, log_scale
        return self._spline(parameters).transform_and_log_det(z)

    def _backward(self, parameters: Array, noise: Array) -> Array:
        if self.transformer == "affine":
            shift, log_scale = _affine(parameters)
            return (noise - shift) * jnp.exp(-log_scale)
        return self._spline(parameters).inverse(noise)

    def _spline(self, parameters: Array) -> RationalQuadraticSpline:
        x, y, slope = jnp.split(parameters, (self.bins, 2 * self.bins))
        spline = RationalQuadraticSpline(knots=self.bins - 1, interval=self.bound)
        slopes = jnp.pad(jax.nn.softplus(slope + _ONE) + _MIN_DERIVATIVE, 1, constant_values=1.0)
        knots = (_increasing(x, self.bound), _increasing(y, self.bound), slopes)
        return eqx.tree_at(lambda s: (s.x_pos, s.y_pos, s.derivatives), spline, knots)

    def transform_and_log_det(self, x: Array, condition: Array) -> tuple[Array, Array]:
        parameters = self._parameters(x, condition)
        noise, log_det = jax.vmap(self._forward)(parameters, x)
        return noise, log_det.sum()

    def inverse_and_log_det(self, y: Array, condition: Array) -> tuple[Array, Array]:
        outputs = self.leave.reshape(self.shape[0], -1, self.enter.shape[0])
        biases = self.leave_bias.reshape(self.shape[0], -1)

        def place(k: Array, z: Array) -> Array:
            """z with the k-th coordinate of this layer's order solved for: only its own parameters are computed."""
            i = jnp.argmax(self.order == k)
            parameters = jnp.where(k >= self._rank, outputs[i], 0.0) @ self._hidden(z, condition) + biases[i]
            return z.at[i].set(self._backward(parameters, y[i]))

        z = jax.lax.fori_loop(0, self.shape[0], place, jnp.zeros_like(y))
        return z, -self.transform_and_log_det(z, condition)[1]


def _affine(parameters: Array) -> tuple[Array, Array]:
    """Shift and log scale."""
    return parameters[0], _MOST_LOG_SCALE * jnp.tanh(parameters[1] / _MOST_LOG_SCALE)


def _increasing(parameters: Array, bound: float) -> Array:
    """Knot positions from -bound to bound, shape (bins + 1,); equal parameters give even bins."""
    widths = jax.nn.softmax(parameters)
    widths = _MIN_WIDTH + (1 - _MIN_WIDTH * widths.size) * widths
    return jnp.pad(jnp.cumsum(widths)[:-1] * (2 * bound) - bound, 1, constant_values=(-bound, bound))


def autoregressive_flow(
    rng: np.random.Generator,
    *,
    dim: int,
    dim_context: int,
    transformer: Transformer,
    hidden_features: int,
    num_layers: int,
    depth: int = 1,
    bins: int = 10,
    bound: float = 5.0,
    saturation: float = 0.0,
) -> Transformed:
    """A conditional flow that starts near the standard normal.

    Args:
        rng: Draws the initial weights.
        dim: Number of parameters d.
        dim_context: Length of the context vector c.
        transformer: `"affine"` (MAF) or `"spline"` (NSF).
        hidden_features: Width of each hidden layer.
        num_layers: Number of autoregressive layers.
        depth: Hidden layers in each conditioner; those after the first are residual.
        bins: Bins of the spline.
        bound: The spline acts on [-bound, bound] and is the identity outside.
        saturation: The networks see coordinates drawn in to [-saturation, saturation], so that beyond all rows they say
            what they say next to them; 0 for as they are.

    Returns:
        A flowjax distribution of shape (d,) with condition shape (c,).

    Example:
        >>> rng = np.random.default_rng(0)
        >>> flow = autoregressive_flow(rng, dim=2, dim_context=3, transformer="affine", hidden_features=8, num_layers=2)
        >>> flow.log_prob(jnp.zeros(2), jnp.zeros(3)).shape
        ()
    """
    num_parameters = 2 if transformer == "affine" else 3 * bins - 1
    width = max(hidden_features, dim)

    def uniform(*shape: int, fan_in: int, gain: float = 1.0) -> np.ndarray:
        limit = gain / np.sqrt(fan_in)
        return rng.uniform(-limit, limit, (num_layers, *shape)).astype(np.float32)

    orders = [rng.permutation(dim) for _ in range(num_layers)]
    for layer in range(1, num_layers, 2):  # in reverse every second time, so that each coordinate comes late and early
        orders[layer] = dim - 1 - orders[layer - 1]
    weights = {
        "order": np.stack(orders).astype(np.int32),
        "enter": uniform(width, dim, fan_in=dim + dim_context),
        "context": uniform(width, dim_context, fan_in=dim + dim_context),
        "hidden": uniform(depth - 1, width, width, fan_in=width),
        "leave": uniform(dim * num_parameters, width, fan_in=width, gain=0.1),
        "biases": np.zeros((num_layers, depth, width), np.float32),
        "leave_bias": np.zeros((num_layers, dim * num_parameters), np.float32),
    }
    layers = Layer(
        **jax.device_put(weights),
        transformer=transformer,
        bins=bins,
        bound=bound,
        shape=(dim,),
        cond_shape=(dim_context,),
        saturation=saturation,
    )
    return Transformed(StandardNormal((dim,)), Invert(Scan(layers)))
