"""Any linear physics of the library deepinv as a surjection (``pip install 'spnn[deepinv]'``)."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import Tensor

from spnn.operators.linear import LinearOperator

if TYPE_CHECKING:
    from deepinv.physics import LinearPhysics

__all__ = ["DeepinvOperator"]


class DeepinvOperator(LinearOperator):
    r"""``physics.A`` and ``physics.A_dagger`` as a linear operator.

    deepinv computes most pseudo-inverses by an iterative, slightly regularised solver, to about 1e-5. Refinement,
    :math:`x + A^\dagger (y - A x)`, squares that error each time.

    Arguments:
        physics: A :class:`deepinv.physics.LinearPhysics`; its noise is left out.
        image_shape: (C, H, W) of the images.
        refinements: How many times a pseudo-inverse is refined; 0 suffices where deepinv has a closed form.
    """

    def __init__(self, physics: "LinearPhysics", image_shape: Sequence[int], refinements: int = 1):
        super().__init__(image_shape)
        self.physics, self.refinements = physics, refinements

    def forward(self, x: Tensor) -> Tensor:
        return self.physics.A(x)

    def pinv(self, y: Tensor) -> Tensor:
        x = self.physics.A_dagger(y)
        for _ in range(self.refinements):
            x = x + self.physics.A_dagger(y - self.physics.A(x))
        return x
