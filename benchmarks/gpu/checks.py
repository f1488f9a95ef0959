"""All checks, in their order: what is exact first, then what is fast."""

from functools import partial

from benchmarks.gpu.check import Check, Setting
from benchmarks.gpu.data import data
from benchmarks.gpu.exactness import image, laws, references
from benchmarks.gpu.sampling import gradients, sampling
from benchmarks.gpu.speed import rates, steps

__all__ = ["checks"]


def checks(setting: Setting) -> list[Check]:
    """The checks of a setting; their seconds add up to less than eight minutes."""
    return [
        Check("rates", rates, 20),
        Check("laws", laws, 40),
        Check("references", references, 20),
        Check("image", image, 30),
        *(Check(f"steps at {size} px", partial(steps, size=size), 75) for size in setting.sizes),
        Check("sampling", sampling, 65),
        Check("gradients", gradients, 30),
        Check("data", data, 40),
    ]
