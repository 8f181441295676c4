"""Every method by name: a known posterior over rounds, by the driver and by hand; what they refuse."""

from dataclasses import dataclass, replace

import jax
import numpy as np
import pytest
from paramax import unwrap
from scipy.stats import gamma, multivariate_normal, norm

from homing import inference as methods
from homing.errors import ArgumentError, NotTrainedError, PriorError
from homing.estimators import Gaussians, classifier_nn, posterior_nn
from homing.inference import (
    BNRE,
    FMPE,
    NPSE,
    SNLE,
    SNPE,
    SNPE_A,
    SNPE_B,
    SNRE_A,
    SNRE_B,
    SNRE_C,
    TSNPE,
    LikelihoodLearner,
    RatioLearner,
    SideOptions,
    infer,
)
from homing.inference.infer import METHODS
from homing.inference.learner import check_options
from homing.inference.sequential import Sequential
from homing.posteriors import MCMC, DividedPosterior, load
from homing.priors import BoxUniform, as_prior, marginal
from homing.training import FitOptions
from learning import AT_ONE_AND_FOUR, drawn_by_gradients

BOX = BoxUniform([-1.0, -1.0], [1.0, 1.0])
NOISE = 0.15
X_O = np.array([0.4, -0.3])
QUICK = {"max_num_epochs": 80}
DIRECT = [TSNPE, SNPE_B, SNPE_A]
VELOCITIES = [FMPE, NPSE]
RATIOS = [SNRE_A, SNRE_B, SNRE_C, BNRE]
SOME = [TSNPE, SNPE_A, SNRE_B, pytest.param(FMPE, marks=pytest.mark.slow)]
ELSEWHERE = [SNPE, SNLE]  # test_driver.py and test_snle.py are theirs


def simulator(theta, rng):
    return theta + NOISE * rng.normal(size=theta.shape)


def made(method, prior=BOX, **options):
    return method(simulator, prior, batched=True, show_progress_bars=False, **{"seed": 1, **options})


def check(draws, x_o=X_O, wider=1.45, noise=NOISE, off=0.35):
    np.testing.assert_allclose(draws.mean(0), x_o, atol=off * noise)
    assert (draws.std(0) > 0.75 * noise).all()
    assert (draws.std(0) < wider * noise).all()


@pytest.fixture(scope="module")
def runs():
    """Each method's run, made when it is first asked for."""
    done = {}

    def run(method):
        if method not in done:
            inference = made(method)
            fit = replace(inference.learner.fit, **QUICK)
            done[method] = inference.run(X_O, 500, 2, options=replace(inference.learner, members=2, fit=fit)), inference
        return done[method]

    return run


def each():
    """One of each kind for every run of the tests, the others for the long ones."""
    others = (FMPE, NPSE, SNRE_A, SNRE_C, BNRE)
    methods = [*DIRECT, *VELOCITIES, *RATIOS]
    return [pytest.param(m, marks=pytest.mark.slow if m in others else [], id=m.name) for m in methods]


@pytest.mark.parametrize("method", each())
def test_the_driver_finds_the_posterior_over_rounds(method, runs):
    posterior, inference = runs(method)
    draws = posterior.sample((3000,))
    check(draws)
    assert (np.abs(draws) <= 1).all()
    later = {"SNPE_A": "gaussian", "SNPE_B": "posterior"}.get(method.name, "truncated")
    assert [record.proposal for record in inference.rounds] == ["prior", later]
    assert sum(record.asked for record in inference.rounds) == 500
    assert "multi-round" in str(posterior)


@pytest.mark.parametrize("method", SOME, ids=lambda method: method.name)
def test_its_density_is_normalised_and_that_of_its_draws(method, runs):
    posterior, _ = runs(method)
    axis = np.linspace(-0.999, 0.999, 100)
    grid = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    density = np.exp(posterior.log_prob(grid)) * (axis[1] - axis[0]) ** 2
    assert density.sum() == pytest.approx(1, abs=0.03)
    np.testing.assert_allclose(density @ grid / density.sum(), posterior.sample((3000,)).mean(0), atol=0.02)
    assert posterior.log_prob([[1.5, 0.0]])[0] == -np.inf


@pytest.mark.parametrize("method", SOME, ids=lambda method: method.name)
def test_its_maximum_and_conditionals(method, runs):
    posterior, _ = runs(method)
    best = posterior.map()
    assert posterior.log_prob(best[None])[0] >= posterior.log_prob(posterior.sample((1000,))).max() - 0.01
    np.testing.assert_allclose(best, X_O, atol=NOISE)  # a velocity's density is rougher at its top than its mean is off
    draws = posterior.sample_conditional((2000,), condition=X_O, dims=[1])
    assert draws.shape == (2000, 1)
    check(draws, X_O[1:], off=0.5)
    correlations = posterior.conditional_corrcoeff(X_O)  # the noise of the two is independent
    np.testing.assert_allclose(correlations, np.eye(2), atol=0.3)


@pytest.mark.parametrize("method", SOME, ids=lambda method: method.name)
def test_it_can_be_saved(method, runs, tmp_path):
    posterior, _ = runs(method)
    posterior.save(tmp_path / "posterior.npz")
    again = load(tmp_path / "posterior.npz")
    assert type(again) is type(posterior)
    np.testing.assert_array_equal(again.log_prob(X_O[None]), posterior.log_prob(X_O[None]))


@pytest.mark.parametrize(
    "method", [SNPE_B, SNPE_A, pytest.param(SNRE_B, marks=pytest.mark.slow)], ids=lambda method: method.name
)
def test_rounds_by_hand(method):
    inference = made(method)
    proposal = None
    for _ in range(2):
        posterior = inference(num_simulations=250, proposal=proposal, **QUICK)
        proposal = posterior.set_default_x(X_O)
    check(posterior.sample((3000,)))
    np.testing.assert_allclose(posterior.default_x, X_O[None])


def test_several_trials_add_up_for_ratios(runs):
    posterior, _ = runs(SNRE_B)
    trials = X_O + NOISE * np.array([[1.0, -1.0], [-1.0, 1.0], [0.5, 0.5], [-0.5, -0.5]])
    draws = posterior.sample((2000,), x=trials)
    check(draws, wider=1.7, noise=NOISE / 2, off=0.5)  # what one ratio is off by adds up


@pytest.mark.slow
@pytest.mark.parametrize(("name", "num"), AT_ONE_AND_FOUR)
def test_samplers_that_follow_the_ratios_gradient(runs, name, num):
    trials = X_O + NOISE * np.array([[1.0, -1.0], [-1.0, 1.0], [0.5, 0.5], [-0.5, -0.5]])
    draws = drawn_by_gradients(runs(SNRE_B)[0], name, X_O if num == 1 else trials)
    check(draws, noise=NOISE / np.sqrt(num), off=0.5)


def test_the_ratios_gradient_is_of_the_same_density(runs):
    surrogate = runs(SNRE_B)[0].surrogate
    z = 0.3 * np.random.default_rng(0).normal(size=(5, 2))
    for x in (X_O, np.stack([X_O, -X_O, X_O])):
        found = jax.jit(jax.vmap(unwrap(surrogate.differentiable(1, x))))(z.astype(np.float32))
        np.testing.assert_allclose(found, surrogate.log_likelihood(1, z, x) - 0.5 * (z**2).sum(1), atol=2e-3)


@pytest.mark.slow
@pytest.mark.parametrize("method", RATIOS, ids=lambda method: method.name)
def test_a_ratio_run_to_several_trials(method):
    trials = X_O + NOISE * np.array([[1.0, -1.0], [-1.0, 1.0], [0.5, 0.5], [-0.5, -0.5]])
    inference = made(method)
    posterior = inference.run(trials, 1500, 2, options=replace(inference.learner, members=2))
    check(posterior.sample((3000,)), wider=1.3, noise=NOISE / 2, off=0.5)  # over three seeds: .80 to 1.21, .43 off
    assert [record.proposal for record in inference.rounds] == ["prior", "truncated"]


@pytest.mark.parametrize(
    ("method", "shape"),
    [(SNLE, (2, 1)), *(pytest.param(method, (2, 3), marks=pytest.mark.slow) for method in (SNLE, SNRE_B))],
    ids=lambda value: getattr(value, "name", None),
)
def test_data_that_are_no_vector_tell_what_their_entries_do(method, shape):
    """x_o of the shape of one x is one trial, whatever the shape; trials lie along an axis before it."""
    trials = X_O[0] + NOISE * np.random.default_rng(0).standard_normal((3, *shape))
    z = np.random.default_rng(1).standard_normal((50, 2))

    def told(shape):
        def simulate(theta, rng):
            x = theta[:, :1] + NOISE * rng.normal(size=(len(theta), np.prod(shape)))
            return x.reshape(-1, *shape)

        inference = method(simulate, BOX, seed=1, batched=True, show_progress_bars=False)
        posterior = inference(num_simulations=60, max_num_epochs=2)
        seen = [posterior.condition_of(x) for x in (trials[0].reshape(shape), trials.reshape(3, *shape))]
        return [posterior.surrogate.log_likelihood(m, z, x) for x in seen for m in range(posterior.num_members)]

    one_and_three, flat = told(shape), told((np.prod(shape),))
    np.testing.assert_array_equal(one_and_three, flat)
    assert np.ptp(flat, axis=1).min() > 1


@pytest.mark.slow
def test_a_ratio_of_some_parameters(runs):
    _, inference = runs(SNRE_B)
    posterior = inference.marginal([1], x_o=X_O, **QUICK)
    draws = posterior.sample((3000,))
    assert draws.shape == (3000, 1)
    check(draws, X_O[1:])
    with pytest.raises(ArgumentError, match=r"parameters must be distinct indices from 0 to 1, found \[2\]"):
        inference.marginal([2])
    with pytest.raises(NotTrainedError, match="There are no simulations"):
        made(SNRE_B).marginal([0])


@pytest.mark.slow
def test_a_marginal_is_not_a_conditional():
    """x = theta_1 + theta_2 + noise tells little of theta_2 while theta_1 is free, and much once it is held."""
    rng, noise = np.random.default_rng(0), 0.3
    theta = rng.normal(size=(500, 2))
    x = theta.sum(1, keepdims=True) + noise * rng.normal(size=(500, 1))
    inference = SNRE_B(prior=[norm(0, 1), norm(0, 1)], seed=1, show_progress_bars=False)
    posterior = inference.append_simulations(theta, x).marginal([1], x_o=[1.0], max_num_epochs=30)
    draws, std = posterior.sample((4000,)), np.sqrt(1 - 1 / (2 + noise**2))  # .72; .29 where theta_1 is held
    assert draws.mean() == pytest.approx(1 / (2 + noise**2), abs=0.2 * std)
    assert draws.std() == pytest.approx(std, rel=0.15)


def test_priors_of_some_parameters():
    rows = np.array([[0.3, 0.2, 1.5]])
    independent = as_prior([norm(0, 1), gamma(2.0), norm(5, 1)])
    some = marginal(independent, [2, 1])
    np.testing.assert_allclose(some.log_prob(rows[:, [2, 1]]), norm(5, 1).logpdf(1.5) + gamma(2.0).logpdf(0.2))
    covariance = np.array([[1.0, 0.5, 0.2], [0.5, 2.0, 0.1], [0.2, 0.1, 1.0]])
    gaussian = as_prior(multivariate_normal(np.zeros(3), covariance))
    exact = multivariate_normal(np.zeros(2), covariance[np.ix_([0, 2], [0, 2])])
    np.testing.assert_allclose(marginal(gaussian, [0, 2]).log_prob(rows[:, [0, 2]]), exact.logpdf(rows[:, [0, 2]]))
    assert marginal(independent, [0, 1, 2]) is independent

    class Own:
        low, high = np.zeros(2), np.ones(2)

        def sample(self, shape, rng=None):
            return rng.random((*shape, 2))

        def log_prob(self, theta):
            return np.where(((theta >= 0) & (theta <= 1)).all(-1), 0.0, -np.inf)

    with pytest.raises(PriorError, match="The marginal of the prior is not known"):
        marginal(as_prior(Own()), [0])


def test_dividing_by_the_proposal_is_exact():
    """A mixture learned perfectly from a normal proposal's rows gives the exact posterior."""

    class Perfect:
        x_shape = (1,)
        members = ("the only one",)

        def components(self, x):
            # z ~ N(.5, .4^2), x = z + .3 e; u = (z - .5) / .4 is a standard normal under the proposal
            precision = 1.0 + (0.4 / 0.3) ** 2
            mean = (0.4 / 0.3) ** 2 * (x[0] - 0.5) / 0.4 / precision
            return Gaussians(np.zeros(1), np.array([[mean]]), np.array([[[precision]]]))

    posterior = DividedPosterior(
        Perfect(), as_prior(norm(0, 1)), np.array([0.5]), np.array([[0.4]]), multi_round=True, seed=0
    )
    mixture = posterior.components(np.array([0.8]))
    precision = 1 + 1 / 0.3**2
    assert mixture.precisions[0, 0, 0] == pytest.approx(precision)
    assert mixture.means[0, 0] == pytest.approx(0.8 / 0.3**2 / precision)


def test_dividing_a_mixture_of_correlated_normals_is_exact():
    """Three in two dimensions against the quotient of the densities, on a grid; the proposal is correlated, too."""
    rng = np.random.default_rng(0)
    factors = 0.4 * np.tril(rng.normal(size=(3, 2, 2)), -1) + np.eye(2)
    mixture = Gaussians(
        np.log([0.5, 0.3, 0.2]), rng.normal(size=(3, 2)), np.eye(2) + factors @ factors.transpose(0, 2, 1)
    )

    class Known:
        x_shape = (1,)
        members = ("the only one",)

        def components(self, x):
            return mixture

    proposal = np.array([0.3, -0.2]), np.array([[0.7, 0.0], [0.4, 0.5]])
    posterior = DividedPosterior(Known(), as_prior([norm(0, 1)] * 2), *proposal, multi_round=True, seed=0)
    axis = np.linspace(-6, 6, 301)
    grid = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    u = np.linalg.solve(proposal[1], (grid - proposal[0]).T).T
    parts = [multivariate_normal(m, np.linalg.inv(p)).pdf(u) for m, p in zip(*mixture[1:])]
    standard = multivariate_normal(np.zeros(2), np.eye(2))
    exact = np.exp(mixture.log_weights) @ parts * standard.pdf(grid) / standard.pdf(u)
    exact /= exact.sum() * (axis[1] - axis[0]) ** 2
    np.testing.assert_allclose(np.exp(posterior.log_prob_normal(grid, np.zeros(1))), exact, rtol=1e-6, atol=1e-9)
    draws = posterior.draw_normal(20_000, np.zeros(1), 0)
    mean, covariance = posterior.moments(np.zeros(1))
    np.testing.assert_allclose(mean, exact @ grid / exact.sum(), atol=1e-6)
    np.testing.assert_allclose(draws.mean(0), mean, atol=5 * np.sqrt(covariance.max() / 20_000))
    np.testing.assert_allclose(np.cov(draws.T), covariance, atol=0.03)


@dataclass(frozen=True)
class Normals:
    """Members that are normal whatever x is, by mean and precision: an ensemble for SNPE-A to divide."""

    members: tuple
    x_shape = (1,)

    def member(self, m):
        return Normals((self.members[m],))

    def components(self, x):
        means, precisions = np.array(self.members, float).T
        share = np.full(len(means), -np.log(len(means)))
        return Gaussians(share, means[:, None], precisions[:, None, None])


@pytest.mark.parametrize(
    ("members", "nats", "level"),
    [
        ([(0.5, 1.5)] * 3, 0.0, "pass"),
        ([(-9.0, 3.0), (9.0, 3.0)], np.log(2), "care"),
        ([(-0.5, 1.2), (0.5, 1.2)], None, "care"),  # alike under the proposal, and not once it is divided out
        ([(0.3, 1.5)], None, None),
    ],
)
def test_snpe_a_tells_its_members_disagreement(members, nats, level):
    """Of what each makes of the posterior: z ~ N(0, 0.5^2) was proposed."""
    made = np.array([0.0]), np.array([[0.5]])
    options = {"multi_round": True, "seed": 0, "x_o": np.zeros(1), "show_progress_bars": False}
    posterior = DividedPosterior(Normals(tuple(members)), as_prior(norm(0, 1)), *made, **options)
    told = {verdict.name: verdict for verdict in posterior.check()}
    if level is None:  # it is alone
        assert "members" not in told
        return
    assert told["members"].level == level
    if nats is None:  # by the densities: precision p / 0.5^2 - 3, mean p m / 0.5 over that
        precision = members[0][1] / 0.25 - 3
        grid = np.linspace(-5, 5, 4001)
        means = [p * m / 0.5 / precision for m, p in members]
        parts = np.stack([norm.pdf(grid, mean, precision**-0.5) for mean in means])
        ratio = parts * np.log(np.maximum(parts, 1e-300) / parts.mean(0))
        nats = ratio.mean(0).sum() * (grid[1] - grid[0])
    assert told["members"].statistic == pytest.approx(nats, abs=0.03)


def test_every_method_is_in_one_of_the_lists():
    published = {name: getattr(methods, name) for name in methods.__all__ if isinstance(getattr(methods, name), type)}
    assert {name: kind for name, kind in published.items() if issubclass(kind, Sequential)} == METHODS
    assert set(METHODS.values()) == {*DIRECT, *VELOCITIES, *RATIOS, *ELSEWHERE}


PUBLISHED = {
    *("SNPE", "SNPE_C", "APT", "NPE", "NPE_C", "SNPE_A", "NPE_A", "SNPE_B", "NPE_B", "TSNPE", "FMPE", "NPSE"),
    *("SNLE", "SNLE_A", "NLE", "NLE_A", "BNRE"),
    *("SNRE_A", "AALR", "NRE_A", "SNRE", "SNRE_B", "SRE", "NRE", "NRE_B", "SNRE_C", "CNRE", "NRE_C"),
}


def test_every_published_name_is_a_method():
    assert METHODS.keys() == PUBLISHED
    for name, method in METHODS.items():
        assert getattr(methods, name) is method
    posterior = infer(simulator, BOX, "NPE_A", num_simulations=40, seed=0, batched=True, show_progress_bars=False)
    assert isinstance(posterior, DividedPosterior)
    with pytest.raises(ArgumentError, match=r"method must be one of SNPE, SNPE_C.*found 'SNPF'"):
        infer(simulator, BOX, "SNPF")


ONE_NAME_OF_EACH = {method: name for name, method in METHODS.items()}.values()


@pytest.mark.slow
@pytest.mark.parametrize("name", ONE_NAME_OF_EACH)
def test_infer_by_every_name(name):
    posterior = infer(simulator, BOX, name, num_simulations=500, seed=1, batched=True, show_progress_bars=False)
    assert "amortized" in str(posterior)
    for x_o in (X_O, -X_O):
        check(posterior.sample((3000,), x=x_o), x_o, wider=1.7, off=0.5)


def test_what_they_refuse():
    with pytest.raises(ArgumentError, match=r"density_estimator of TSNPE must be 'maf' or 'nsf' or 'mdn'.*found 'cnf'"):
        made(TSNPE, density_estimator="cnf")
    with pytest.raises(ArgumentError, match="density_estimator of FMPE must be 'cnf'"):
        made(FMPE, density_estimator=posterior_nn("maf"))
    with pytest.raises(ArgumentError, match='classifier must be "resnet", "mlp", "linear"'):
        made(SNRE_A, classifier=3)
    with pytest.raises(ArgumentError, match="The loss of SNRE_B has no option gamma; it has num_atoms"):
        made(SNRE_B, loss_options={"gamma": 2.0})
    assert made(SNRE_C, loss_options={"gamma": 2.0}, classifier=classifier_nn("mlp")).learner.loss.gamma == 2.0
    with pytest.raises(ArgumentError, match="num_components must be a positive whole number, found 0"):
        made(SNPE_A, num_components=0)
    correlated = [norm(0, 1), gamma(2.0)]
    assert made(SNPE_A, correlated).prior.dim == 2
    with pytest.raises(PriorError, match="A prior is needed: BNRE"):
        BNRE(simulator)
    inference = made(SNPE_A)
    posterior = inference(num_simulations=40, max_num_epochs=2).set_default_x(X_O)
    with pytest.raises(ArgumentError, match=r"SNPE_A learns from the prior's simulations.*Found simulations from the"):
        inference.append_simulations(np.zeros((20, 2)), np.zeros((20, 2)), proposal=posterior)
    with pytest.raises(ArgumentError, match="sample_with must be one of"):
        made(SNLE, sample_with="gibbs")


@pytest.mark.parametrize(
    ("inference", "options", "message"),
    [
        (lambda: made(SNRE_C), RatioLearner(), r"SNRE_C learns, not what: found loss NRE_B.*, not NRE_C.*name 'SNRE',"),
        (lambda: made(SNLE, sample_with="nuts"), LikelihoodLearner(members=1), r"sampler Tempering\(\), not MCMC\("),
        (
            lambda: made(TSNPE),
            SideOptions(),
            r"TSNPE learns, not what: found likelihood .*, not None. Free to ",
        ),
        (lambda: made(FMPE), SideOptions(), "options of FMPE must be a VelocityLearner, found SideOptions"),
        (lambda: made(SNPE, density_estimator="mdn"), SideOptions(), r"found builders .*'nsf'.* not .*'mdn'"),
        (
            lambda: made(SNPE),
            LikelihoodLearner(),
            r"a SideOptions, found LikelihoodLearner. Free to change are",
        ),
    ],
    ids=["SNRE_C", "SNLE", "TSNPE", "FMPE", "SNPE's own", "SNPE"],
)
def test_options_leave_a_method_what_its_name_says(inference, options, message):
    with pytest.raises(ArgumentError, match=message):
        inference().run(X_O, 100, options=options)
    with pytest.raises(ArgumentError, match=r"options=dataclasses.replace\(inference.learner, members=2\)"):
        next(inference().iterate(X_O, 100, options=options))


@pytest.mark.slow
def test_options_change_how_a_method_learns():
    inference = made(SNPE)
    assert inference.free == ("members", "fit", "likelihood", "builders")
    tiny = SideOptions((posterior_nn("mdn", num_components=1),), 1, likelihood=None, fit=FitOptions(max_num_epochs=2))
    assert inference.run(X_O, 60, 1, options=tiny).ensemble.is_mixture_of_gaussians
    chains = made(SNLE, sample_with="nuts")
    few = replace(chains.learner, members=1, fit=FitOptions(max_num_epochs=2))
    assert check_options(few, chains.learner, chains.free, "SNLE") is few
    assert few.sampler == MCMC("nuts")


@pytest.mark.parametrize(("method", "proposal"), [(TSNPE, "mixture"), (SNPE_B, "truncated"), (SNPE_A, "mixture")])
def test_proposals_leave_a_method_what_its_name_says(method, proposal):
    with pytest.raises(ArgumentError, match=f"{method.name} with proposal='{proposal}' would not be {method.name}: it"):
        made(method).run(X_O, 100, proposal=proposal)


@pytest.mark.parametrize("method", VELOCITIES, ids=lambda method: method.name)
def test_velocities_have_no_atoms(method):
    with pytest.raises(ArgumentError, match="it has 'truncated' or 'mixture'"):
        made(method).run(X_O, 100, proposal="posterior")


@pytest.mark.slow
def test_a_ratio_run_goes_on_where_it_ended(tmp_path):
    path = tmp_path / "run.homing"
    inference = made(SNRE_B, store=path)
    next(inference.iterate(X_O, 500, 2))
    inference.close()
    resumed = made(SNRE_B, store=path)
    posterior = resumed.run(X_O, 500, 2)
    resumed.close()
    whole = made(SNRE_B).run(X_O, 500, 2)
    np.testing.assert_array_equal(posterior.sample((5,)), whole.sample((5,)))
    with pytest.raises(Exception, match="loss"):
        made(SNRE_B, store=path, loss_options={"num_atoms": 5})
