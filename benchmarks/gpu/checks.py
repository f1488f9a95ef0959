"""All checks in their order: first exactness, then speed, then the steps that take long to compile."""

from functools import partial

from benchmarks.gpu.check import Check, Setting
from benchmarks.gpu.data import data
from benchmarks.gpu.exactness import image, laws, references
from benchmarks.gpu.sampling import gradients, sampling
from benchmarks.gpu.speed import compiled, rates, steps

__all__ = ["checks"]


def checks(setting: Setting) -> list[Check]:
    """The checks for a setting; their time limits add up to less than eight minutes."""
    return [
        Check("rates", rates, 20),
        Check("laws", laws, 15),
        Check("references", references, 10),
        Check("image", image, 15),
        *(Check(f"steps at {size} px", partial(steps, size=size), 40) for size in setting.sizes),
        Check("sampling", sampling, 70),
        Check("gradients", gradients, 25),
        Check("data", data, 25),
        Check("compiled steps", partial(compiled, size=min(setting.sizes)), 170),
    ]
