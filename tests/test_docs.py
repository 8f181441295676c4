"""The documentation: each page's code and commands run as they are printed, and all builds without a warning."""

import ast
import html
import importlib.util
import inspect
import json
import pkgutil
import re
import shlex
import subprocess
import sys
import tomllib
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

import homing
from homing import diagnostics, embeddings, plots, posteriors
from homing.cli import app, failures, main
from homing.estimators import classifier_nn, likelihood_nn
from homing.inference import NPSE, SNLE, SNPE, SNRE_B, FromLast, Mixture, SideOptions, Stop, TrainOptions, Truncated
from homing.inference.infer import METHODS
from homing.inference.methods import METHODS as PROPOSALS
from homing.inference.running import DEFAULTS
from homing.plots.pairplot import OPTIONS as OPTIONS_OF_PAIRPLOT
from homing.training import FitOptions

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
CELL = re.compile(r"^```\{code-cell\}\n(?::[^\n]*\n\n?)*(.*?)^```$", re.MULTILINE | re.DOTALL)
PRINTED = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NOT_READ = re.compile(r"<(pre|code|script|style|head)\b.*?</\1>", re.DOTALL)
TAG = re.compile(r"<[^>]+>")
RAW_TEX = re.compile(r".*(?:\\[a-zA-Z(\[]|\$\S|[_^]\{).*")
PAGES = {
    path.relative_to(DOCS).as_posix(): cells
    for path in sorted(DOCS.rglob("*.md"))
    if "_build" not in path.parts and (cells := CELL.findall(path.read_text(encoding="utf-8")))
}

# Pages whose code is about a simulator, a prior and an observation of the reader's: printed, and not run when built.
SKETCHES = ["coming-from-sbi.md", "index.md"]

# What sbi 0.27 publishes in its rooms for inference, priors, simulators, networks, plots and diagnostics, and what it
# did from 2020 to 2022.
NAMES_OF_SBI = """
AALR APT ActiveSubspace BNRE BarDiagOptions BoxUniform CNNEmbedding CNRE CategoricalMADE CategoricalMassEstimator
CausalCNNEmbedding ConditionalDensityEstimator ConditionalScoreEstimator ConditionalVectorFieldEstimator ConditionedMDN
ContourOffDiagOptions DirectPosterior DirectPosteriorParameters EnsemblePosterior FCEmbedding FMPE FigOptions
FilteredDirectPosterior FilteredDirectPosteriorParameters FlowMatchingEstimator HistDiagOptions HistOffDiagOptions
ImportanceSamplingPosterior ImportanceSamplingPosteriorParameters KdeDiagOptions KdeOffDiagOptions LC2ST LC2STScores
LC2STState LC2ST_NF LRUEmbedding MCABC MCMCPosterior MCMCPosteriorParameters MNLE MNPE MarginalTrainer
MixedDensityEstimator MixtureDensityEstimator MoG MultipleIndependent MultivariateGaussianMDN NFlowsFlow NLE NLE_A NPE
NPE_A NPE_A_Posterior NPE_B NPE_C NPE_PFN NPSE NRE NRE_A NRE_B NRE_C NeuralInference PermutationInvariantEmbedding
PlotOffDiagOptions RatioEstimator RejectionPosterior RejectionPosteriorParameters ResNetEmbedding1D ResNetEmbedding2D
RestrictedPrior RestrictionEstimator SMCABC SNL SNLE SNLE_A SNPE SNPE_A SNPE_B SNPE_C SNRE SNRE_A SNRE_B SNRE_C SRE
ScatterDiagOptions ScatterOffDiagOptions SpectralConvEmbedding TransformerEmbedding UnconditionalDensityEstimator
VIPosterior VIPosteriorParameters VectorFieldPosterior VectorFieldPosteriorParameters ZukoFlow ZukoUnconditionalFlow
append_samples append_simulations biased_mmd biased_mmd_hypothesis_test build_categoricalmassestimator
build_flow_matching_estimator build_linear_classifier build_made build_maf build_maf_rqs build_mdn build_mlp_classifier
build_mnle build_mnpe build_nsf build_posterior build_resnet_classifier build_score_matching_estimator
build_tabpfn_flow build_vector_field_estimator build_zuko_bpf build_zuko_gf build_zuko_maf build_zuko_naf
build_zuko_ncsf build_zuko_nice build_zuko_nsf build_zuko_sospf build_zuko_unaf c2st calc_misspecification_logprob
calc_misspecification_mmd check_c2st check_if_proposal_has_default_x check_prior check_sbc check_tarp classifier_nn
conditional_corrcoeff conditional_marginal_plot conditional_pairplot conditional_potential default_x
diagonal_linear_gaussian estimate_normalization_constant eval_conditional_density evaluate get_dataloaders
get_density_thresholder get_kde get_nltp get_nn_models get_samples get_simulations gradient_ascent handle_invalid_x
infer l1 l2 leakage_correction likelihood_estimator_based_potential likelihood_nn linear_gaussian list_all_logs log_prob
log_prob_batched loss map marginal_nn marginal_plot marginal_plot_with_probs_intensity mcmc_parameters mcmc_transform
mixed_likelihood_estimator_based_potential mmd_distance mse_distance net pairplot plot_summary plot_tarp
posterior_estimator_based_potential posterior_flow_nn posterior_nn posterior_sampler posterior_score_nn
posterior_shrinkage posterior_zscore potential pp_plot pp_plot_lc2st prepare_for_sbi process_prior process_simulator
process_x provide_presimulated q ratio_estimator_based_potential regularized_ot_dual rejection_sampling_parameters
run_sbc run_tarp sample sample_batched sample_conditional sample_via_ode sbc_rank_plot set_default_x set_mcmc_method
set_mcmc_parameters set_q set_rejection_sampling_parameters set_sample_with_mcmc set_vi_method simulate_for_sbi
simulate_in_batches summary to train train_amortized transformed_potential unbiased_mmd_squared
unbiased_mmd_squared_hypothesis_test validate_theta_and_x vector_field_estimator_based_potential vi_method
wasserstein_2_squared wasserstein_distance
"""

# The arguments of what has a counterpart here that is called in the same way.
ARGUMENTS_OF_SBI = {
    SNPE: """prior simulator density_estimator device logging_level summary_writer tracker show_progress_bars
        num_workers simulation_batch_size sample_with_mcmc mcmc_method mcmc_parameters rejection_sampling_parameters
        use_combined_loss show_round_summary""",
    NPSE: "prior vf_estimator score_estimator density_estimator sde_type device logging_level summary_writer tracker",
    SNRE_B: "prior classifier device logging_level summary_writer tracker show_progress_bars",
    SNPE.append_simulations: "theta x proposal exclude_invalid_x data_device from_round algorithm",
    SNPE.train: """num_atoms training_batch_size learning_rate validation_fraction stop_after_epochs max_num_epochs
        clip_max_norm calibration_kernel resume_training force_first_round_loss discard_prior_samples use_combined_loss
        retrain_from_scratch retrain_from_scratch_each_round exclude_invalid_x show_train_summary dataloader_kwargs
        loss_kwargs num_classes gamma regularization_strength ema_loss_decay validation_times
        validation_times_nugget""",
    SNLE.build_posterior: """density_estimator vector_field_estimator prior sample_with mcmc_method vi_method
        direct_sampling_parameters mcmc_parameters vi_parameters rejection_sampling_parameters
        importance_sampling_parameters posterior_parameters vectorfield_sampling_parameters""",
    posteriors.Posterior.sample: """sample_shape x show_progress_bars max_sampling_batch_size reject_outside_prior
        max_sampling_time return_partial_on_timeout predictor corrector predictor_params corrector_params steps ts
        iid_method iid_params guidance_method guidance_params method thin warmup_steps num_chains init_strategy
        init_strategy_parameters mp_context target_accept oversampling_factor num_samples_to_find_max
        num_iter_to_find_max m""",
    posteriors.Posterior.log_prob: """theta x norm_posterior track_gradients leakage_correction_params
        normalization_constant_params ode_kwargs individually""",
    posteriors.Posterior.map: """x num_iter num_to_optimize init_method num_init_samples save_best_every
        force_update""",
    posteriors.MCMCPosterior: """potential_fn proposal theta_transform method thin warmup_steps num_chains
        init_strategy init_strategy_parameters mp_context device x_shape target_accept""",
    posteriors.EnsemblePosterior: "posteriors weights theta_transform device",
    homing.infer: "simulator prior method num_simulations num_workers init_kwargs train_kwargs build_posterior_kwargs",
    homing.simulate_for_sbi: """simulator proposal num_simulations num_workers simulation_batch_size seed
        show_progress_bar""",
    homing.BoxUniform: "low high reinterpreted_batch_ndims device",
    homing.posterior_nn: """model z_score_theta z_score_x hidden_features num_transforms num_bins embedding_net
        num_components""",
    likelihood_nn: """model z_score_theta z_score_x hidden_features num_transforms num_bins embedding_net
        num_components""",
    classifier_nn: "model z_score_theta z_score_x hidden_features embedding_net_theta embedding_net_x",
    homing.pairplot: """samples points limits subset upper lower diag figsize labels ticks offdiag diag_kwargs
        upper_kwargs lower_kwargs fig_kwargs fig axes discrete_indices""",
    plots.marginal_plot: "samples points limits subset diag figsize labels ticks diag_kwargs fig_kwargs fig axes",
    plots.conditional_pairplot: """density condition limits points subset resolution figsize labels ticks fig axes""",
    posteriors.Posterior.conditional_corrcoeff: "density limits condition subset resolution",
    plots.sbc_rank_plot: """ranks num_posterior_samples num_bins plot_type parameter_labels ranks_labels colors fig
        ax""",
}


def test_all_cells_are_found():
    assert len(PAGES) >= 10
    for page, cells in PAGES.items():
        assert len(cells) == (DOCS / page).read_text(encoding="utf-8").count("{code-cell}")


@pytest.mark.printed
@pytest.mark.parametrize("page", PAGES)
def test_the_code_of_a_page_runs(page, tmp_path, monkeypatch):
    from matplotlib import pyplot

    monkeypatch.chdir(tmp_path)
    names = {"__name__": "__main__"}  # functions travel to workers as those of a script do
    for cell in PAGES[page]:
        exec(compile(cell, page, "exec"), names)
    pyplot.close("all")
    assert not list(tmp_path.iterdir())  # a page leaves nothing behind


def printed(page, language):
    """The blocks of a page that are printed only, in a language; the path is from the documentation's folder."""
    text = (DOCS / page).read_text(encoding="utf-8")
    return [block for its_language, block in PRINTED.findall(text) if its_language == language]


def test_what_is_printed_only_is_run_by_a_test():
    pages = [path.relative_to(DOCS).as_posix() for path in sorted(DOCS.rglob("*.md")) if "_build" not in path.parts]
    assert [page for page in pages if printed(page, "python")] == SKETCHES
    with_commands = [page for page in pages if re.search(r"^homing ", "".join(printed(page, "sh")), re.MULTILINE)]
    assert with_commands == ["command-line.md"]


@pytest.mark.printed
@pytest.mark.parametrize("page", SKETCHES)
def test_a_sketch_runs_with_the_readers_own_problem(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    x_o = np.array([0.5, -0.5])
    names = {}
    for block in printed(page, "python"):
        prior = homing.BoxUniform(low=[-2, -2], high=[2, 2])
        names |= {
            "simulator": lambda theta, rng: theta + 0.1 * rng.normal(size=theta.shape),
            "prior": prior,
            "x_o": x_o,
        }
        exec(compile(block, page, "exec"), names)
        draws = names["posterior"].sample((2000,), show_progress_bars=False)  # N(x_o, 0.1²)
        assert np.abs(draws.mean(0) - x_o).max() < 0.05
        assert np.abs(draws.std(0) / 0.1 - 1).max() < 0.4
    assert not list(tmp_path.iterdir())


@pytest.mark.printed
def test_the_commands_of_the_readme_and_of_the_page_on_them_run(tmp_path, monkeypatch, capsys):
    """From an empty folder to a posterior that is to be believed, line by line."""
    monkeypatch.chdir(tmp_path)
    blocks = printed("../README.md", "sh") + printed("command-line.md", "sh")
    lines = re.findall(r"^homing (.*)$", "\n".join(blocks), re.MULTILINE)
    commands = list(dict.fromkeys(tuple(shlex.split(line, comments=True)) for line in lines))
    assert [command[0] for command in commands] == ["init", "run", "check", "plot", "report"]
    for command in commands:
        assert main(command) == 0, capsys.readouterr().err
    assert {path.name for path in tmp_path.iterdir()} == {f"problem.{kind}" for kind in ("py", "homing", "png", "html")}
    capsys.readouterr()
    assert main(["status", "problem.homing", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert sum(row["ok"] for row in told["rounds"]) == 1000
    assert told["check"].startswith("Believe")
    for row, value in zip(told["posterior"], (2.0, 0.5)):  # what made x_o
        assert row["q05"] < value < row["q95"]


@pytest.mark.printed
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


def test_every_room_has_its_page_of_reference():
    """Every room that lists what it publishes, or that a page names."""
    pages = (path for path in DOCS.rglob("*.md") if "_build" not in path.parts)
    named = {name for page in pages for name in re.findall(r"homing\.(\w+)", page.read_text(encoding="utf-8"))}
    rooms = {module.name for module in pkgutil.iter_modules(homing.__path__)}
    public = {room for room in rooms if hasattr(importlib.import_module(f"homing.{room}"), "__all__")}
    listed = re.search(
        r"^:maxdepth: 1\n\n(.*?)^```", (DOCS / "api" / "index.md").read_text(), re.MULTILINE | re.DOTALL
    )[1]
    assert public | (named & rooms) <= set(listed.split())
    for room in set(listed.split()) - {"face"}:
        text = (DOCS / "api" / f"{room}.md").read_text(encoding="utf-8")
        assert text.startswith(f"# `homing.{room}`\n")
        names = getattr(importlib.import_module(f"homing.{room}"), "__all__", [])
        assert f".. automodule:: homing.{room}\n   :members:" in text or all(
            f"homing.{room}.{name}" in text for name in names
        )


def code_of(page):
    """What a page shows as code: its blocks, and what is between backticks in its text."""
    text = page.read_text(encoding="utf-8")
    blocks = re.findall(r"^```.*?^```$", text, re.MULTILINE | re.DOTALL)
    return [*blocks, *re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL))]


METHODS_OF_POSTERIORS = [
    *("sample", "log_prob", "map", "set_default_x", "sample_conditional", "conditional_corrcoeff", "boundary", "check"),
    *("pairplot", "to_arviz", "save"),
]
OPTIONS = [
    *(SNPE, SNPE.__call__, SNPE.run, SNPE.iterate, SNPE.check, SNPE.report, SNPE.ask, SNPE.tell),
    *(SNPE.append_simulations, SNPE.train, SNPE.build_posterior),
    *(homing.infer, homing.simulate_for_sbi, homing.posterior_nn, homing.command, homing.pairplot),
    *(homing.open, homing.load, SideOptions, FitOptions, Stop, TrainOptions, likelihood_nn, classifier_nn),
    *dict.fromkeys(METHODS.values()),
    *(Truncated, FromLast, Mixture, homing.report.report, homing.report.watch),
    *(getattr(diagnostics, name) for name in diagnostics.__all__ if name.startswith("check_")),
    *(posteriors.MCMCPosterior, posteriors.ImportanceSamplingPosterior, posteriors.RejectionPosterior),
    *(posteriors.VIPosterior, posteriors.EnsemblePosterior, posteriors.Tempering, posteriors.MCMC),
    *(posteriors.Importance, posteriors.Rejection, posteriors.Variational),
    *(getattr(posteriors.Posterior, name) for name in METHODS_OF_POSTERIORS),
    *(getattr(embeddings, name) for name in embeddings.__all__ if name.endswith("Embedding")),
]


@pytest.mark.parametrize("call", OPTIONS, ids=lambda call: call.__qualname__)
def test_a_page_tells_of_every_option(call):
    pages = [page for folder in ("how-to", "tutorials") for page in (DOCS / folder).glob("*.md")]
    words = {word for page in pages for code in code_of(page) for word in re.findall(r"\w+", code)}
    named = inspect.signature(call).parameters.values()
    missing = {option.name for option in named if option.kind is not option.VAR_KEYWORD} - words - {"self"}
    assert not missing


def table(page, heading):
    """The rows below a heading of a page, each a list of its cells."""
    text = (DOCS / page).read_text(encoding="utf-8").partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    rows = [line.strip("|").split(" | ") for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row] for row in rows[2:]]


def test_the_settings_of_methods_are_those_of_the_code():
    rows = table("how-to/methods.md", "A method's own settings")
    assert len(rows) == 7
    for methods, setting, _ in rows:
        name, value = re.fullmatch(r"`(\w+)=(.*)`", setting).groups()
        for method in map(METHODS.__getitem__, re.findall(r"`(\w+)`", methods)):
            parameters = inspect.signature(method).parameters
            assert name in parameters
            if name == "loss_options":
                defaults = {field.name: field.default for field in fields(method.loss)}
                given = ast.literal_eval(value)
                assert given == {option: defaults[option] for option in given}
            elif value:
                assert parameters[name].default == ast.literal_eval(value)
    told = {
        (method, option)
        for methods, setting, _ in rows
        for method in re.findall(r"`(\w+)`", methods)
        for option in re.findall(r'"(\w+)"', setting)
    }
    assert told == {(m.name, field.name) for m in METHODS.values() if hasattr(m, "loss") for field in fields(m.loss)}


def test_the_settings_of_proposals_are_those_of_the_code():
    rows = table("how-to/rounds.md", "Change where rounds simulate")
    assert [ast.literal_eval(name.strip("`")) for name, *_ in rows] == list(PROPOSALS)
    for name, value, _, settings in rows:
        known = PROPOSALS[ast.literal_eval(name.strip("`"))]
        assert value == f"`{type(known).__name__}()`"
        told = {option: ast.literal_eval(given) for option, given in re.findall(r"`(\w+)=(.*?)`", settings)}
        assert told == {field.name: getattr(known, field.name) for field in fields(known) if field.init}


def test_the_settings_of_samplers_are_those_of_the_code():
    for value, settings in table("how-to/methods.md", "How a posterior is drawn"):
        (kind,) = {getattr(posteriors, name) for name in re.findall(r"`(\w+)\(", value)}
        names = [field.name for field in fields(kind) if field.name != "method"]
        assert re.findall(r"`(\w+)`", settings) == names


@pytest.mark.parametrize("method", dict.fromkeys(METHODS.values()), ids=lambda method: method.__name__)
def test_every_methods_mathematics_has_its_formula_and_its_source(method):
    text = inspect.getmodule(method).__doc__
    assert re.search(r"^    .*~", text, re.MULTILINE)  # what is drawn from what, and the loss
    assert re.search(r"^Sources?: .*https://", text, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "benchmarks/README.md"])
def test_links_lead_to_what_is_there(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    links = re.findall(r"\]\((?!https?:)([^)#\s]+)", text)
    assert links or page != "README.md"
    assert not [link for link in links if not (ROOT / page).parent.joinpath(link).exists()]


def rows_of(text):
    """The rows of all tables in a text, numbers as numbers, by their first cell."""
    rows = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("|")]
    return {row[0].strip().strip("*"): [as_number(cell.strip()) for cell in row[1:]] for row in rows}


def as_number(cell):
    return float(cell.replace(",", "")) if re.fullmatch(r"[\d,]*\.?\d+", cell) else cell


# Rows of the README's table of speed, by what they are called in that of the benchmarks.
SPEED = {
    "the tutorial by hand (two rounds of 500, one MAF), first run ever, s": "tutorial, NumPy, first run ever, s",
    "the tutorial, compiled before, s": "tutorial, NumPy, compiled before, s",
    "training a MAF, 10,000 simulations, rows x epochs / s": "training, MAF, N = 10,000",
    "training a spline flow, likewise": "training, NSF, N = 10,000",
    "draws from a MAF, 1 / s": "draws, MAF, 1 / s",
    "draws from a spline flow, 1 / s": "draws, NSF, 1 / s",
}


def test_the_readmes_figures_are_those_of_the_benchmarks():
    """Each row of its tables of measurements is that of the table it was taken from."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8").partition("## Measured")[2].partition("\n## ")[0]
    source = (ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8")
    speed, accuracy = (
        rows_of(source.partition(f"## {name}")[2].partition("\n## ")[0]) for name in ("Speed", "Accuracy")
    )
    told = rows_of(readme)
    for name, row in SPEED.items():
        assert told.pop(name) == speed[row][:2], name

    published = " ".join(source.partition("Published, by")[2].split()).partition("corrected run: ")[2]
    names = ("SNPE", "SNLE", "SNRE", "best method of each task")
    scores = [re.search(rf"{name} (\.\d+) and (\.\d+)", published).groups() for name in names]
    at = zip(("1,000", "10,000"), (accuracy["mean"][1], accuracy["mean"][3]), zip(*scores))
    for number, own, others in at:
        assert told.pop(f"{number} simulations") == [own, *map(float, others)], number
    assert accuracy["mean of the 8 tasks"][0:3:2] == [accuracy["mean"][1], accuracy["mean"][3]]
    headings = [row for row, cells in told.items() if set(row) != {"-"}]
    assert headings == ["mean C2ST of the 8 tasks", "two processors, medians of 5"]  # and no row is left
    assert told[headings[0]] == ["homing", "published: SNPE", "SNLE", "SNRE", "best method of each task"]


def test_the_decision_on_jax_has_the_benchmarks_figures():
    speed = rows_of((ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8"))
    (reason,) = rows_of((DOCS / "decisions.md").read_text(encoding="utf-8"))["JAX inside"]
    training, whole = (speed[f"tutorial, NumPy, compiled before{what}, s"] for what in (": training alone", ""))
    assert [float(number) for number in re.findall(r"\d\.\d(?= s| and)", reason)] == [*training[:2], *whole[:2]]


def test_the_first_page_tells_of_every_extra():
    """And of what each brings for users, by the names of the packages."""
    text = (DOCS / "index.md").read_text(encoding="utf-8")
    told = dict(re.findall(r"^\| `(\w+)` \| (.*?) \|", text, re.MULTILINE))
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    assert set(told) == set(extras)
    spelled = {"torch": "PyTorch", "arviz": "ArviZ"}
    for extra in set(extras) - {"docs", "test"}:
        assert told[extra] == ", ".join(
            spelled.get(name := re.match(r"[\w-]+", package)[0], name) for package in extras[extra]
        )
    other = re.match(r"homing\[(.*)\]", extras["docs"][0])[1].split(",")
    assert re.findall(r"`(\w+)`", told["docs"]) == other
    assert set(re.match(r"homing\[(.*)\]", extras["test"][0])[1].split(",")) == set(extras) - {"test"}


def test_every_exit_code_is_told():
    """Where commands are told of, in their help, and to who calls them from Python."""
    codes = {value for name, value in vars(failures).items() if name.isupper() and isinstance(value, int)} | {
        app._PIPE_CLOSED
    }
    page = (
        (DOCS / "command-line.md")
        .read_text(encoding="utf-8")
        .partition("The exit code is ")[2]
        .partition("An\nerror")[0]
    )
    texts = page, app.homing_.__doc__.partition("Exit codes: ")[2], main.__doc__.partition("The exit code: ")[2]
    for text in texts:
        assert {int(number) for number in re.findall(r"\b\d+\b", text)} == codes


GUIDE = (DOCS / "coming-from-sbi.md").read_text(encoding="utf-8")
GUIDES_ROWS = [
    [cell.strip() for cell in line.strip("|").split(" | ")]
    for line in GUIDE.splitlines()
    if line.startswith("|") and not line.startswith(("|---", "| sbi |"))
]


def found(name):
    """What a full name stands for: a module, or what is in one, or in a class of one."""
    parts = name.split(".")
    value = homing
    for k, part in enumerate(parts[1:], start=2):
        try:
            value = getattr(value, part)
        except AttributeError:
            value = importlib.import_module(".".join(parts[:k]))
    return value


def taken(call):
    """The names of a callable's arguments; those of training are behind two stars."""
    parameters = inspect.signature(call).parameters.values()
    trains = any(option.kind is option.VAR_KEYWORD and option.name == "training" for option in parameters)
    runs = any(option.kind is option.VAR_KEYWORD and option.name == "running" for option in parameters)
    return (
        {option.name for option in parameters}
        | set(SNPE.training_options * trains)
        | (set(DEFAULTS) if runs else set())
    )


def test_the_guide_for_users_of_sbi_has_a_row_for_every_name():
    """In the first cells of its tables, as code; and each row says what is here."""
    assert all(len(row) == 2 and all(row) for row in GUIDES_ROWS)
    named = {
        word
        for first, _ in GUIDES_ROWS
        for code in re.findall(r"`([^`]+)`", first)
        for word in re.findall(r"\w+", code)
    }
    assert not set(NAMES_OF_SBI.split()) - named


@pytest.mark.parametrize("call", ARGUMENTS_OF_SBI, ids=lambda call: call.__qualname__)
def test_the_guide_for_users_of_sbi_has_a_row_for_every_argument_that_is_not_taken(call):
    rows = [re.findall(r"(\w+)=", code) for first, _ in GUIDES_ROWS for code in re.findall(r"`([^`]+)`", first)]
    told = {name for row in rows for name in row}
    assert not set(ARGUMENTS_OF_SBI[call].split()) - taken(call) - told


def test_the_guide_for_users_of_sbi_names_what_there_is():
    """Every `homing.name` on the page exists."""
    names = set(re.findall(r"`(?:from )?(homing(?:\.\w+)+)", GUIDE)) | set(re.findall(r"\b(homing\.\w+)\(", GUIDE))
    assert len(names) > 40
    for name in names:
        assert found(name) is not None, name


def test_what_is_the_same_as_in_sbi_is_so():
    """What rows of the guide call the same is there, by its name, and takes the arguments that are named."""
    same = 0
    for first, second in GUIDES_ROWS:
        if not second.startswith("the same"):
            continue
        where = found(re.match(r"the same(?: names?)? in `(homing[\w.]+)`", second)[1])
        for code in re.findall(r"`([^`]+)`", first):
            same += 1
            if re.fullmatch(r"\w+=", code):
                assert code[:-1] in taken(where), code
                continue
            tree = ast.parse(code.lstrip("."), mode="eval").body
            name = tree.func.id if isinstance(tree, ast.Call) else tree.id
            itself = name in ("inference", getattr(where, "__name__", ""))
            value = (where.__call__ if name == "inference" else where) if itself else getattr(where, name)
            if isinstance(tree, ast.Call):
                given = {arg.id for arg in tree.args if isinstance(arg, ast.Name)} | {
                    word.arg for word in tree.keywords
                }
                assert given <= taken(value), code
    assert same > 50


def test_what_the_guide_for_users_of_sbi_says_to_write_is_taken():
    """Every argument that a second cell gives by name is one of something that is published."""
    published = [*OPTIONS, *ARGUMENTS_OF_SBI, SNLE.build_posterior, homing.posteriors.SampledPosterior, SNRE_B]
    known = {name for call in published for name in taken(call)} | set(OPTIONS_OF_PAIRPLOT)
    given = {
        name
        for _, second in GUIDES_ROWS
        for code in re.findall(r"`([^`]+)`", second)
        for name in re.findall(r"(\w+)=", code)
    }
    assert len(given) > 40
    assert not given - known
