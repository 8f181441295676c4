"""Simulators that hold random generators of their own, as users write them. Each call makes a fresh one."""

import functools
import itertools
import random
import types

import jax
import numpy as np
import scipy.stats as st
import torch


class InAnObject:
    def __init__(self, rng=None):
        self.rng = np.random.default_rng(0) if rng is None else rng

    def __call__(self, theta):
        return theta + self.noise(len(theta))

    def noise(self, num):
        return self.rng.normal(size=num)


class OfAClass:
    rng = np.random.default_rng(0)

    def simulate(self, theta):
        return theta + type(self).rng.normal(size=len(theta))


class Slots:
    __slots__ = ("rng",)

    def __init__(self):
        self.rng = np.random.RandomState(0)

    def __call__(self, theta):
        return theta + self.rng.normal(size=len(theta))


class JaxKey:
    def __init__(self, key):
        self.key = key

    def __call__(self, theta):
        self.key, key = jax.random.split(self.key)
        return theta + np.asarray(jax.random.normal(key, theta.shape))


def closure():
    rng = np.random.default_rng(0)
    return lambda theta: theta + rng.normal(size=len(theta))


def default_argument():
    def simulator(theta, gen=np.random.default_rng(0)):  # noqa: B008
        return theta + gen.normal(size=len(theta))

    return simulator


RNG = np.random.default_rng(0)
_MODULE = types.ModuleType("somebodys_physics")
exec(
    "import numpy as np\nrng = np.random.default_rng(0)\ndef noise(n):\n    return rng.normal(size=n)\n",
    _MODULE.__dict__,
)


def _of_this_module(theta):
    return theta + [RNG.normal() for _ in theta]


def _of_another_module(theta):
    return theta + _MODULE.noise(len(theta))


def generator_of_torch():
    generator = torch.Generator().manual_seed(0)
    return lambda theta: theta + torch.randn(len(theta), generator=generator).numpy()


def of_python():
    own = random.Random(0)
    return lambda theta: theta + np.array([own.gauss(0, 1) for _ in theta])


def frozen_of_scipy():
    noise = st.norm(0, 1)
    noise.random_state = np.random.default_rng(0)
    return lambda theta: theta + noise.rvs(size=len(theta))


def iterator():
    rng = np.random.default_rng(0)
    noise = (rng.normal() for _ in itertools.count())
    return lambda theta: theta + np.array([next(noise) for _ in theta])


def key_in_a_closure():
    key = jax.random.PRNGKey(0)

    def simulator(theta):
        nonlocal key
        key, own = jax.random.split(key)
        return theta + np.asarray(jax.random.normal(own, theta.shape))

    return simulator


def method():
    inner = InAnObject()

    def add(theta, noise):
        return theta + noise(len(theta))

    return functools.partial(add, noise=inner.noise)


def nested():
    return InAnObject(types.SimpleNamespace(normal=[np.random.default_rng(0)][0].normal))


HOLDERS = {
    "in an object": InAnObject,
    "seeded by the system": lambda: InAnObject(np.random.default_rng()),
    "philox": lambda: InAnObject(np.random.Generator(np.random.Philox(3))),
    "of a class": lambda: OfAClass().simulate,
    "slots": Slots,
    "closure": closure,
    "default argument": default_argument,
    "this module": lambda: _of_this_module,
    "another module": lambda: _of_another_module,
    "torch.Generator": generator_of_torch,
    "random.Random": of_python,
    "scipy.stats": frozen_of_scipy,
    "iterator": iterator,
    "method in a partial": method,
    "nested": nested,
    "vectorized": lambda: np.vectorize(closure(), signature="(d)->(d)"),
    "JAX key": lambda: JaxKey(jax.random.key(0)),
    "raw JAX key": lambda: JaxKey(jax.random.PRNGKey(0)),
    "JAX key in a closure": key_in_a_closure,
}
