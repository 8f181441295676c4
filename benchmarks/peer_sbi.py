"""What sbi needs for the work that homing is timed at. Runs in an environment with sbi 0.27, not in homing's.

Each subcommand prints one JSON line to standard output; what sbi itself says goes to standard error. sbi is used as its
documentation does and with its defaults (threads, network, batches of 200), without progress bars. The simulator is
called once for a whole round, which is sbi's fastest way.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
import warnings
from contextlib import redirect_stdout
from importlib.metadata import version
from pathlib import Path
from typing import Any

DIM = 3
NEVER = 2**31 - 1


def process_age() -> float:
    """Seconds since this process started, the interpreter's own start included (Linux)."""
    after_name = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    started = int(after_name[19]) / os.sysconf("SC_CLK_TCK")
    return time.clock_gettime(time.CLOCK_BOOTTIME) - started


def peak_memory() -> float:
    """This process's largest resident size so far, in MiB (Linux); `ru_maxrss` may be the parent's."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def linear_gaussian(theta: Any) -> Any:
    import torch

    return theta + 1.0 + 0.1 * torch.randn_like(theta)


def box_prior() -> Any:
    import torch
    from sbi.utils import BoxUniform

    return BoxUniform(low=-2 * torch.ones(DIM), high=2 * torch.ones(DIM))


def new_inference(prior: Any, model: str = "maf") -> Any:
    from sbi.inference import NPE_C

    return NPE_C(prior, density_estimator=model, show_progress_bars=False)


def tutorial() -> dict[str, Any]:
    """The multi-round tutorial: two rounds of 500, the second with the atomic loss, then 10,000 draws at x_o = 0."""
    started = process_age()
    import torch
    from sbi.inference import simulate_for_sbi

    imported = process_age()

    prior = box_prior()
    inference = new_inference(prior)
    x_o = torch.zeros(1, DIM)
    proposal, simulate, train, epochs = prior, [], [], []  # sbi knows round 1 by this being the very prior it was given
    for _ in range(2):
        begin = time.perf_counter()
        theta, x = simulate_for_sbi(linear_gaussian, proposal, 500, simulation_batch_size=None, show_progress_bar=False)
        simulated = time.perf_counter()
        inference.append_simulations(theta, x, proposal=proposal).train()
        proposal = inference.build_posterior().set_default_x(x_o)
        simulate.append(simulated - begin)
        train.append(time.perf_counter() - simulated)
        epochs.append(inference.summary["epochs_trained"][-1])
    begin = time.perf_counter()
    draws = proposal.sample((10_000,), show_progress_bars=False)
    sample = time.perf_counter() - begin
    return {
        "total": process_age(),
        "import": imported - started,
        "simulate": simulate,
        "train": train,
        "epochs": epochs,
        "sample": sample,
        "mean": draws.mean(0).tolist(),
        "std": draws.std(0).tolist(),
    }


def train(model: str, n: int, epochs: int, loss: str) -> dict[str, Any]:
    """Rows times epochs a second, by sbi's own clock around each epoch (training and validation), after a warm-up."""
    warm_up = 3
    prior = box_prior()
    inference = new_inference(prior, model)
    theta = prior.sample((n,))
    x = linear_gaussian(theta)
    before = 0
    if loss == "mle":
        inference.append_simulations(theta, x)
    else:
        # An epoch's cost does not depend on where the rows come from, only on there being a second round.
        inference.append_simulations(theta[: n // 2], x[: n // 2]).train(max_num_epochs=1)
        posterior = inference.build_posterior().set_default_x(x[:1])
        inference.append_simulations(theta[n // 2 :], x[n // 2 :], proposal=posterior)
        before = len(inference.summary["epoch_durations_sec"])
    # sbi trains one epoch more than it is asked for.
    inference.train(max_num_epochs=warm_up + epochs - 1, stop_after_epochs=NEVER)
    seconds = inference.summary["epoch_durations_sec"][before + warm_up :]
    return {
        "model": model,
        "loss": loss,
        "n": n,
        "epochs": len(seconds),
        "seconds": sum(seconds),
        "row_epochs_per_second": n * len(seconds) / sum(seconds),
    }


def sample(model: str, n: int, batch: int) -> dict[str, Any]:
    """Draws, and evaluations of `log_prob` at them, a second, of a posterior trained on 1,000 simulations."""
    import torch

    prior = box_prior()
    inference = new_inference(prior, model)
    theta = prior.sample((1_000,))
    inference.append_simulations(theta, linear_gaussian(theta)).train()
    posterior = inference.build_posterior().set_default_x(torch.zeros(1, DIM))
    # The first calls warm up, and sbi estimates the mass outside the prior in them, once.
    posterior.log_prob(posterior.sample((batch,), show_progress_bars=False))

    begin = time.perf_counter()
    draws = posterior.sample((n,), max_sampling_batch_size=batch, show_progress_bars=False)
    sampled = time.perf_counter()
    log_prob = torch.cat([posterior.log_prob(part) for part in draws.split(batch)])
    evaluated = time.perf_counter()
    if not log_prob.isfinite().all():
        raise RuntimeError("sbi's posterior drew samples to which it gives no probability.")
    return {
        "model": model,
        "n": n,
        "batch": batch,
        "draws_per_second": n / (sampled - begin),
        "log_probs_per_second": n / (evaluated - sampled),
    }


def sequential(
    method: str, data: str, task: str, observation: int, rounds: int, budget: int, draws: int, out: str
) -> dict[str, Any]:
    """Rounds of equal size that simulate from the last posterior, then draws of the last, written to a file."""
    import numpy as np
    import torch
    from sbi.inference import NLE, NRE

    import tasks

    known, (x_o, _, _) = tasks.make(task, data), tasks.load(data, task, observation)
    prior = as_torch(known.prior)
    rng, x = np.random.default_rng(1), torch.as_tensor(x_o, dtype=torch.float32)[None]
    torch.manual_seed(1)

    def simulator(theta: Any) -> Any:
        return torch.as_tensor(known.simulator(theta.numpy().astype(np.float64), rng), dtype=torch.float32)

    began = time.perf_counter()
    inference = {"snle": NLE, "snre": NRE}[method](prior, show_progress_bars=False)
    proposal, simulating = prior, 0.0
    for size in np.diff(np.round(np.linspace(0, budget, rounds + 1)).astype(int)).tolist():
        theta = proposal.sample((size,)) if proposal is prior else proposal.sample((size,), show_progress_bars=False)
        tick = time.perf_counter()
        simulated = simulator(theta)
        simulating += time.perf_counter() - tick
        inference.append_simulations(theta, simulated).train()
        proposal = inference.build_posterior().set_default_x(x)
    trained = time.perf_counter()
    samples = proposal.sample((draws,), show_progress_bars=False)
    ended = time.perf_counter()
    np.save(out, samples.numpy())
    return {"method": method, "task": task, "seconds": ended - began - simulating, "sample": ended - trained}


def as_torch(prior: Any) -> Any:
    """A task's prior: a box, independent log-normal or normal ones, or a multivariate normal."""
    import numpy as np
    import torch
    from sbi.utils import BoxUniform, MultipleIndependent
    from torch.distributions import LogNormal, MultivariateNormal, Normal

    def tensor(value: Any) -> Any:
        return torch.as_tensor(np.atleast_1d(value), dtype=torch.float32)

    if isinstance(prior, tuple):
        return BoxUniform(*map(tensor, prior))
    if not isinstance(prior, list):
        return MultivariateNormal(tensor(prior.mean), tensor(prior.cov))
    if prior[0].dist.name == "lognorm":
        parts = [LogNormal(tensor(np.log(p.kwds["scale"])), tensor(p.args[0])) for p in prior]
    else:
        parts = [Normal(tensor(p.mean()), tensor(p.std())) for p in prior]
    return MultipleIndependent(parts)


def memory() -> dict[str, Any]:
    tutorial()
    return {"peak_mib": peak_memory()}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="What sbi needs for the work that homing is timed at.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("tutorial", help=tutorial.__doc__)
    commands.add_parser("memory", help="The tutorial's peak memory.")
    trainer = commands.add_parser("train", help=train.__doc__)
    sampler = commands.add_parser("sample", help=sample.__doc__)
    for command in (trainer, sampler):
        command.add_argument("--model", choices=["maf", "nsf"], default="maf")
    trainer.add_argument("--n", type=int, default=10_000)
    trainer.add_argument("--epochs", type=int, default=20)
    trainer.add_argument("--loss", choices=["mle", "atomic"], default="mle")
    sampler.add_argument("--n", type=int, default=1_000_000)
    sampler.add_argument("--batch", type=int, default=10_000, help="Rows a call; 10,000 is sbi's own choice.")
    runner = commands.add_parser("sequential", help=sequential.__doc__)
    runner.add_argument("--method", choices=["snle", "snre"], required=True)
    runner.add_argument("--data", required=True)
    runner.add_argument("--task", default="slcp")
    runner.add_argument("--observation", type=int, default=1)
    runner.add_argument("--rounds", type=int, default=3)
    runner.add_argument("--budget", type=int, default=1000)
    runner.add_argument("--draws", type=int, default=10_000)
    runner.add_argument("--out", required=True, help="file for the draws")
    return parser.parse_args()


def main() -> None:
    options = vars(arguments())
    command = options.pop("command")
    with tempfile.TemporaryDirectory() as folder, redirect_stdout(sys.stderr):
        os.chdir(folder)  # sbi writes its TensorBoard logs to where it is run
        warnings.simplefilter("ignore")
        commands = (tutorial, train, sample, memory, sequential)
        result = {function.__name__: function for function in commands}[command](**options)
        os.chdir("/")
    print(json.dumps({"command": command, "sbi": version("sbi"), **result}))


if __name__ == "__main__":
    main()
