"""The documentation: each page's code runs as it is printed, and all of it builds without a warning."""

import html
import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"
CELL = re.compile(r"^```\{code-cell\}\n(?::[^\n]*\n\n?)*(.*?)^```$", re.MULTILINE | re.DOTALL)
NOT_READ = re.compile(r"<(pre|code|script|style|head)\b.*?</\1>", re.DOTALL)
TAG = re.compile(r"<[^>]+>")
RAW_TEX = re.compile(r".*(?:\\[a-zA-Z(\[]|\$\S|[_^]\{).*")
PAGES = {
    path.relative_to(DOCS).as_posix(): cells
    for path in sorted(DOCS.rglob("*.md"))
    if "_build" not in path.parts and (cells := CELL.findall(path.read_text(encoding="utf-8")))
}

# What sbi 0.27 publishes in its rooms for inference, priors, simulators, networks, plots and diagnostics.
NAMES_OF_SBI = """
ActiveSubspace BNRE BoxUniform CNNEmbedding CausalCNNEmbedding DirectPosterior EnsemblePosterior FCEmbedding FMPE
ImportanceSamplingPosterior LC2ST LC2STScores LC2STState LC2ST_NF LRUEmbedding MCABC MCMCPosterior MNLE MNPE
MarginalTrainer MultipleIndependent NLE NLE_A NPE NPE_A NPE_B NPE_C NPE_PFN NPSE NRE NRE_A NRE_B NRE_C
NeuralInference PermutationInvariantEmbedding RejectionPosterior ResNetEmbedding1D ResNetEmbedding2D RestrictedPrior
RestrictionEstimator SMCABC VIPosterior VectorFieldPosterior calc_misspecification_logprob
calc_misspecification_mmd check_sbc check_tarp classifier_nn conditional_corrcoeff conditional_pairplot
conditional_potential diagonal_linear_gaussian get_density_thresholder get_nltp likelihood_estimator_based_potential
likelihood_nn linear_gaussian marginal_nn marginal_plot mcmc_transform mixed_likelihood_estimator_based_potential
pairplot plot_tarp posterior_estimator_based_potential posterior_flow_nn posterior_nn posterior_score_nn pp_plot
pp_plot_lc2st process_prior process_simulator ratio_estimator_based_potential run_sbc run_tarp sbc_rank_plot
simulate_for_sbi simulate_in_batches transformed_potential vector_field_estimator_based_potential
"""


def test_all_cells_are_found():
    assert len(PAGES) >= 10
    for page, cells in PAGES.items():
        assert len(cells) == (DOCS / page).read_text(encoding="utf-8").count("{code-cell}")


def pages():
    """Tutorials are for every run of the tests, how-to pages for the long ones."""
    return [page if page.startswith("tutorials/") else pytest.param(page, marks=pytest.mark.slow) for page in PAGES]


@pytest.mark.parametrize("page", pages())
def test_the_code_of_a_page_runs(page, tmp_path, monkeypatch):
    from matplotlib import pyplot

    monkeypatch.chdir(tmp_path)
    names = {"__name__": "__main__"}  # functions travel to workers as those of a script do
    for cell in PAGES[page]:
        exec(compile(cell, page, "exec"), names)
    pyplot.close("all")
    assert not list(tmp_path.iterdir())  # a page leaves nothing behind


def test_the_documentation_builds_without_a_warning(tmp_path, monkeypatch):
    """Code is run by the test above; `make docs` runs it where it is shown."""
    monkeypatch.setenv("HOMING_DOCS_EXECUTION", "off")
    command = [sys.executable, "-m", "sphinx", "--fail-on-warning", "-q", "-b", "html", str(DOCS), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr
    pages = {path.relative_to(DOCS).with_suffix(".html") for path in DOCS.rglob("*.md") if "_build" not in path.parts}
    assert not {page for page in pages if not (tmp_path / page).exists()}
    assert "<math" in (tmp_path / "mathematics" / "losses.html").read_text(encoding="utf-8")
    for page in pages:
        text = NOT_READ.sub("", (tmp_path / page).read_text(encoding="utf-8"))
        assert not RAW_TEX.findall(html.unescape(TAG.sub("", text))), page


def test_the_guide_for_users_of_sbi_names_what_there_is():
    """Every name of sbi has a row, and every `homing.name` on the page exists."""
    text = (DOCS / "coming-from-sbi.md").read_text(encoding="utf-8")
    names = set(re.findall(r"`(?:from )?(homing(?:\.\w+)+)", text))
    assert len(names) > 10
    assert not set(NAMES_OF_SBI.split()) - set(re.findall(r"\w+", text))
    for name in names:
        room, _, last = name.rpartition(".")
        assert hasattr(importlib.import_module(room), last) or importlib.util.find_spec(name), name
