"""The losses: against their formulas, and with their optimum where the posterior is."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats as st

from homing.estimators import Context, Gaussians
from homing.estimators.mixture import mixture_log_prob
from homing.programs import Program
from homing.training import Atomic, MaximumLikelihood, NonAtomic, Rows
from homing.training.losses import log_overlap

S = 0.5  # noise of the model z ~ N(0, I), x ~ N(z, S² I), whose posterior is N(x / (1 + S²), S² / (1 + S²) I)
PROPOSAL = 0.8, 0.5  # mean and standard deviation of the proposal


class Shifted(NamedTuple):
    """The exact posterior of that model, moved by `shift` and widened by the factor exp(`log_width`)."""

    shift: jax.Array
    log_width: jax.Array

    def context(self, x):
        return Context(x, x / (1 + S**2) + self.shift)

    @property
    def precision(self):
        return jnp.exp(-2 * self.log_width) * (1 + S**2) / S**2

    def log_prob(self, z, context):
        d = z.size
        return 0.5 * (d * jnp.log(self.precision / (2 * np.pi)) - self.precision * ((z - context.mean) ** 2).sum())

    def components(self, context):
        d = context.mean.size
        return Gaussians(jnp.zeros(1), context.mean[None], self.precision * jnp.eye(d)[None])


def gaussian_rows(n, dim=2, seed=0, share_of_prior=0.0):
    """Rows of that model, theta from the proposal, or the first of them from the prior."""
    rng = np.random.default_rng(seed)
    source = (np.arange(n) >= share_of_prior * n).astype(np.int32)
    z = rng.standard_normal((n, dim))
    z = np.where(source[:, None] == 1, PROPOSAL[0] + PROPOSAL[1] * z, z)
    order = rng.permutation(n)
    z, source = z[order], source[order]
    x = z + S * rng.standard_normal((n, dim))
    log_prior = st.norm.logpdf(z).sum(1)
    return Rows(*(a.astype(np.float32) for a in (z, x, log_prior, np.ones(n))), source)


def proposals(dim=2):
    """The prior and the proposal as mixtures of one."""
    mean, std = PROPOSAL
    return Gaussians(
        np.zeros((2, 1), np.float32),
        np.array([np.zeros((1, dim)), np.full((1, dim), mean)], np.float32),
        np.array([np.eye(dim)[None], np.eye(dim)[None] / std**2], np.float32),
    )


@Program
def values(loss, density, rows, num_rows, proposals=None):
    return loss(density, rows, num_rows, proposals)


overlap = Program(log_overlap)


def atomic_by_hand(log_q, log_prior, num_atoms, num_rows):
    """The formula, row by row: log_q[i, k] is log q(z_k | x_i)."""
    values = []
    for i in range(len(log_prior)):
        atoms = [(i + k) % num_rows for k in range(min(num_atoms, num_rows))]
        ratios = [np.exp(log_q[i, k] - log_prior[k]) for k in atoms]
        values.append(-np.log(ratios[0] / sum(ratios)))
    return np.array(values)


@pytest.mark.parametrize(
    ("n", "num_rows", "num_atoms"), [(20, 20, 2), (20, 20, 10), (20, 20, 20), (20, 20, 40), (20, 7, 10), (20, 1, 10)]
)
def test_atomic_is_its_formula(n, num_rows, num_atoms):
    rows = gaussian_rows(n)
    rows = jax.tree.map(
        lambda leaf: leaf[np.arange(n) % num_rows], rows
    )  # what a batch larger than the data looks like
    density = Shifted(jnp.float32(0.3), jnp.float32(0.2))
    found = values(Atomic(num_atoms), density, rows, np.int32(num_rows))
    precision = np.exp(-0.4) * (1 + S**2) / S**2
    means = rows.x / (1 + S**2) + 0.3
    log_q = st.norm.logpdf(rows.z[None], means[:, None], 1 / np.sqrt(precision)).sum(-1)
    np.testing.assert_allclose(found, atomic_by_hand(log_q, rows.log_prior, num_atoms, num_rows), atol=2e-4)


@pytest.mark.parametrize("loss", [Atomic(10), NonAtomic(), MaximumLikelihood()], ids=str)
def test_x_is_embedded_once_a_row_and_not_once_an_atom(loss):
    seen = []

    class Counted(Shifted):
        def context(self, x):
            jax.debug.callback(seen.append, x)
            return super().context(x)

    rows, known = jax.tree.map(jnp.asarray, (gaussian_rows(20), proposals()))
    jax.jit(lambda *given: loss(*given))(Counted(jnp.float32(0.3), jnp.float32(0.2)), rows, 20, known)
    jax.effects_barrier()
    np.testing.assert_array_equal(sorted(map(tuple, np.array(seen).tolist())), sorted(map(tuple, rows.x.tolist())))


def test_every_atom_is_another_row():
    """With K = n atoms every row is an atom, whatever the order: the value does not depend on it."""
    rows = gaussian_rows(12)
    density = Shifted(jnp.float32(0.0), jnp.float32(0.0))
    found = np.asarray(values(Atomic(12), density, rows, np.int32(12)))
    order = np.random.default_rng(1).permutation(12)
    other = values(Atomic(12), density, jax.tree.map(lambda leaf: leaf[order], rows), np.int32(12))
    np.testing.assert_allclose(other, found[order], atol=1e-5)


def test_combined_adds_maximum_likelihood_on_the_priors_rows():
    rows = gaussian_rows(20, share_of_prior=0.5)
    density = Shifted(jnp.float32(0.3), jnp.float32(0.2))
    losses = Atomic(), Atomic(combined=True), MaximumLikelihood()
    atomic, combined, likelihood = (np.asarray(values(loss, density, rows, np.int32(20))) for loss in losses)
    np.testing.assert_allclose(combined, atomic + np.where(rows.source == 0, likelihood, 0), atol=1e-4)
    assert 5 < (rows.source == 0).sum() < 15


def test_maximum_likelihood_weighs_rows():
    rows = gaussian_rows(20)._replace(weight=np.arange(20, dtype=np.float32))
    density = Shifted(jnp.float32(0.0), jnp.float32(0.0))
    exact = st.norm.logpdf(rows.z, rows.x / (1 + S**2), S / np.sqrt(1 + S**2)).sum(1)
    found = values(MaximumLikelihood(), density, rows, np.int32(20))
    np.testing.assert_allclose(found, -np.arange(20) * exact, rtol=1e-4, atol=1e-4)


def test_equal_losses_are_equal_and_hashable():
    assert Atomic(10) == Atomic(10) != Atomic(5)
    assert (
        len({Atomic(), Atomic(10, False), Atomic(10, True), NonAtomic(), MaximumLikelihood(), MaximumLikelihood()}) == 4
    )
    assert [Atomic().name, NonAtomic().name, MaximumLikelihood().name] == ["atomic", "non-atomic", "maximum likelihood"]


# Where the optimum is. The loss of an independent batch has a gradient in (shift, log width); at an optimum its mean is
# zero within its standard error over the batches, and elsewhere it is not.


@Program
def slopes(loss, at, batches, proposals):
    def value(at, rows):
        return loss(Shifted(*at), rows, jnp.asarray(len(rows.z)), proposals).mean()

    return jnp.stack(jax.vmap(jax.grad(value), in_axes=(None, 0))(at, batches), axis=-1)


def gradients(loss, rows, at, batch=100):
    """The mean gradient at (shift, log width), in standard errors."""
    batches = jax.tree.map(lambda leaf: leaf.reshape(-1, batch, *leaf.shape[1:]), rows)
    known = proposals() if isinstance(loss, NonAtomic) else None
    found = np.asarray(slopes(loss, tuple(map(np.float32, at)), batches, known), np.float64)
    return found.mean(0) / (found.std(0) / np.sqrt(len(found)))


def proposal_posterior():
    """The shift (at the mean x) and the log width of the posterior that the proposal would have as a prior."""
    mean, std = PROPOSAL
    variance = 1 / (1 / std**2 + 1 / S**2)
    center = variance * (mean / std**2 + mean / S**2)
    return center - mean / (1 + S**2), 0.5 * np.log(variance * (1 + S**2) / S**2)


LOSSES = [Atomic(2), Atomic(10), Atomic(50), NonAtomic()]


@pytest.mark.parametrize("loss", LOSSES, ids=str)
@pytest.mark.parametrize("share_of_prior", [0.0, 0.5])
def test_the_optimum_is_the_posterior(loss, share_of_prior):
    rows = gaussian_rows(40_000, share_of_prior=share_of_prior)
    assert np.abs(gradients(loss, rows, (0.0, 0.0))).max() < 4.5
    assert np.abs(gradients(loss, rows, proposal_posterior())).max() > 20
    for direction in ((0.1, 0), (-0.1, 0), (0, 0.1), (0, -0.1)):  # and the loss rises away from it
        along = gradients(loss, rows, direction) @ np.sign(direction)
        assert along > 4.5


def test_the_optimum_of_maximum_likelihood_is_the_proposal_posterior():
    """Which is why the other losses are needed."""
    rows = gaussian_rows(40_000)
    assert np.abs(gradients(MaximumLikelihood(), rows, (0.0, 0.0))).max() > 20
    prior_rows = gaussian_rows(40_000, share_of_prior=1.0)
    assert np.abs(gradients(MaximumLikelihood(), prior_rows, (0.0, 0.0))).max() < 4.5


def test_the_combined_loss_is_right_when_prior_rows_are_there():
    rows = gaussian_rows(40_000, share_of_prior=0.5)
    assert np.abs(gradients(Atomic(10, combined=True), rows, (0.0, 0.0))).max() < 4.5


# The overlap of two mixtures


def mixture(rng, k, dim, narrow=0.0):
    factors = rng.standard_normal((k, dim, dim))
    precisions = (1 + narrow) * np.eye(dim) + factors @ factors.swapaxes(1, 2)
    log_weights = np.log(rng.dirichlet(np.ones(k)))
    return Gaussians(log_weights, 0.7 * rng.standard_normal((k, dim)), precisions)


def single(mixture):
    return Gaussians(*(leaf.astype(np.float32) for leaf in mixture))


def density(mixture, z):
    parts = [
        w * st.multivariate_normal(m, np.linalg.inv(p)).pdf(z) for w, m, p in zip(np.exp(mixture[0]), *mixture[1:])
    ]
    return np.sum(parts, axis=0)


@pytest.mark.parametrize(("k", "m"), [(1, 1), (3, 2), (1, 4)])
def test_overlap_against_numerical_integration(k, m):
    rng = np.random.default_rng(10 * k + m)
    grid = np.linspace(-9, 9, 721)
    z = np.stack(np.meshgrid(grid, grid, indexing="ij"), axis=-1)
    for _ in range(3):
        q, proposal = mixture(rng, k, 2), mixture(rng, m, 2)
        integrand = density(q, z) * density(proposal, z) / st.multivariate_normal(np.zeros(2)).pdf(z)
        exact = np.log(integrand.sum() * (grid[1] - grid[0]) ** 2)
        assert float(overlap(single(q), single(proposal))) == pytest.approx(exact, abs=1e-4)


def test_overlap_with_the_prior_is_one():
    prior = Gaussians(np.zeros(1), np.zeros((1, 3)), np.eye(3)[None])
    for seed in range(3):
        q = mixture(np.random.default_rng(seed), 4, 3)
        assert float(overlap(single(q), single(prior))) == pytest.approx(0.0, abs=1e-4)


def test_components_without_weight_do_not_matter():
    """Mixtures are padded to a common size by such."""
    rng = np.random.default_rng(0)
    q, proposal = mixture(rng, 3, 2), mixture(rng, 2, 2)
    padded = Gaussians(
        np.append(proposal.log_weights, -np.inf),
        np.concatenate([proposal.means, np.zeros((1, 2))]),
        np.concatenate([proposal.precisions, np.eye(2)[None]]),
    )
    value = float(overlap(single(q), single(proposal)))
    assert float(overlap(single(q), single(padded))) == pytest.approx(value, abs=1e-6)
    slopes = Program(jax.grad(log_overlap))(single(q), single(padded))
    assert all(np.isfinite(leaf).all() for leaf in slopes)


def exact_overlap(q, proposal):
    """With the origin where it is, in float64."""
    total = -np.inf
    for w, m, a in zip(*(leaf.astype(np.float64) for leaf in q)):
        for v, n, b in zip(*(leaf.astype(np.float64) for leaf in proposal)):
            p, h = a + b - np.eye(len(m)), a @ m + b @ n
            log_det = sum(sign * np.linalg.slogdet(part)[1] for sign, part in ((1, a), (1, b), (-1, p)))
            value = w + v + 0.5 * (log_det - m @ a @ m - n @ b @ n + h @ np.linalg.solve(p, h))
            total = np.logaddexp(total, value)
    return total


@pytest.mark.parametrize("narrow", [1e2, 1e4, 1e6])
def test_overlap_of_narrow_mixtures_keeps_its_digits(narrow):
    """Posteriors a thousandth as wide as the prior, as after some rounds."""
    rng = np.random.default_rng(3)
    q, proposal = mixture(rng, 2, 2, narrow), mixture(rng, 2, 2, narrow)
    means = 1.5 + rng.standard_normal((2, 2, 2)) / np.sqrt(narrow)
    q, proposal = (part._replace(means=mean) for part, mean in zip((q, proposal), means))
    q, proposal = single(q), single(proposal)
    assert float(overlap(q, proposal)) == pytest.approx(exact_overlap(q, proposal), abs=2e-2)


def test_the_mixtures_density():
    mixed = mixture(np.random.default_rng(4), 3, 2)
    z = np.random.default_rng(5).standard_normal((10, 2))
    found = Program(jax.vmap(mixture_log_prob, in_axes=(None, 0)))(single(mixed), z.astype(np.float32))
    np.testing.assert_allclose(found, np.log(density(mixed, z)), atol=1e-4)
