"""A posterior handed to ArviZ: what is in the groups, and that ArviZ's own functions read them."""

import sys

import numpy as np
import pytest
import scipy.stats as st

from homing.errors import ArgumentError, MissingError, ObservationError, ShapeError
from homing.priors import BoxUniform
from learning import made, posterior_of

arviz = pytest.importorskip("arviz")
pytestmark = pytest.mark.filterwarnings("ignore")  # ArviZ's own
PRIOR = BoxUniform([-2.0, 0.0], [2.0, 5.0])
X_O = np.array([0.1, -0.2])


@pytest.fixture(scope="module")
def posterior():
    return posterior_of(made("mdn"), PRIOR, x_o=X_O)


def test_groups(posterior):
    predictive = np.random.default_rng(0).normal(size=(50, 2))
    data = posterior.to_arviz(400, labels=["a", "b (km)"], predictive=predictive)
    theta = data["posterior"]["theta"]
    assert theta.dims == ("chain", "draw", "parameter")
    assert theta.shape == data["prior"]["theta"].shape == (4, 100, 2)
    assert theta["parameter"].values.tolist() == ["a", "b (km)"]
    draws = theta.values.reshape(-1, 2)
    np.testing.assert_allclose(data["sample_stats"]["lp"].values.ravel(), posterior.log_prob(draws), rtol=1e-5)
    np.testing.assert_array_equal(data["observed_data"]["x"], X_O)
    np.testing.assert_array_equal(data["posterior_predictive"]["x"][0], predictive)
    assert st.kstest(data["prior"]["theta"].values[..., 1].ravel(), st.uniform(0, 5).cdf).pvalue > 1e-3
    assert data["posterior"].attrs["inference_library"] == "homing"


def test_draws_are_the_posteriors_in_any_chain(posterior):
    theta = posterior.to_arviz(4000)["posterior"]["theta"].values
    other = posterior.sample((20_000,))
    for chain in theta:
        assert all(st.ks_2samp(chain[:, j], other[:, j]).pvalue > 1e-4 for j in range(2))


def test_arviz_reads_it(posterior, tmp_path):
    """Its summary, its plots and its files, as ArviZ 0.x and 1.x have them."""
    data = posterior.to_arviz(400, predictive=np.random.default_rng(0).normal(size=(50, 2)))
    summary = arviz.summary(data)
    assert len(summary) == 2
    assert (summary["r_hat"].astype(float) < 1.05).all()
    theta = data["posterior"]["theta"].values.reshape(-1, 2)
    np.testing.assert_allclose(summary["mean"].astype(float), theta.mean(0), atol=2e-3)
    if "InferenceData" in vars(arviz):
        axes = arviz.plot_posterior(data)
        assert axes.shape == (2,)
        assert "theta[0]" in axes[0].get_title()
        assert arviz.plot_pair(data, kind="scatter").has_data()
        assert arviz.plot_ppc(data, num_pp_samples=20).lines
    else:
        assert dict(data["posterior_predictive"].sizes) == {"chain": 1, "draw": 50, "x_0": 2}
        assert arviz.plot_dist(data).viz["dist"]["theta"].sizes["parameter"] == 2
        assert arviz.plot_pair(data).viz["scatter"].notnull().sum() == 4  # of each chain, below the diagonal
        predictive = arviz.plot_ppc_dist(data, num_samples=20).viz  # which compares it with observed_data
        assert len(predictive["predictive_dist"]["x"].values.ravel()) == 20
        assert predictive["observed_dist"]["x"].item().get_xdata().size
    data.to_netcdf(tmp_path / "posterior.nc")
    again = arviz.from_netcdf(tmp_path / "posterior.nc")
    np.testing.assert_array_equal(again["posterior"]["theta"], data["posterior"]["theta"])


def test_errors_teach(posterior, monkeypatch):
    with pytest.raises(ArgumentError, match="multiple of 4, one or more a chain, found 10"):
        posterior.to_arviz(10)
    with pytest.raises(
        ArgumentError, match=r"labels must have one text for each of the 2 parameters, found 1: \['a'\]"
    ):
        posterior.to_arviz(8, labels=["a"])
    with pytest.raises(ShapeError, match=r"predictive must have shape \(m, 2\), found \(5, 3\)"):
        posterior.to_arviz(8, predictive=np.zeros((5, 3)))
    with pytest.raises(ObservationError, match="no x to condition on"):
        posterior_of(made("mdn"), PRIOR).to_arviz(8)
    monkeypatch.setitem(sys.modules, "arviz", None)
    with pytest.raises(MissingError, match=r"to_arviz needs ArviZ, which is not installed: pip .*'homing\[arviz\]'"):
        posterior.to_arviz(8)


def test_pairplot_stays_within_the_support():
    """Where a posterior touches the prior's bound, its picture ends there; the prior is drawn along."""
    posterior = posterior_of(made("mdn"), BoxUniform([0.0, 0.0], [0.5, 0.5]), x_o=X_O)
    figure, axes = posterior.pairplot(500, diag="kde", samples_labels="posterior")
    assert all(0 <= end <= 0.5 for ax in np.diag(axes) for end in ax.get_xlim())
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["posterior", "prior"]
    assert not posterior.pairplot(500, prior=False, limits=[-1, 1])[0].legends
    figure.clear()
