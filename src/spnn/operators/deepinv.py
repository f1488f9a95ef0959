"""Any linear physics from the deepinv library as a surjection (``pip install 'spnn[deepinv]'``)."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor

from spnn.operators.linear import LinearOperator

if TYPE_CHECKING:
    from deepinv.physics import LinearPhysics

__all__ = ["DeepinvOperator"]


class DeepinvOperator(LinearOperator):
    r"""``physics.A`` and ``physics.A_dagger`` as a linear operator.

    If deepinv has no closed form, the pseudo-inverse comes from an iterative solver and is only as exact as that. By
    default this is LSQR, to a relative 1e-7; deepinv's own default, CG, stops at an absolute residual near 1e-5.

    Arguments:
        physics: A :class:`deepinv.physics.LinearPhysics`; its noise is ignored.
        image_shape: (C, H, W) of the images.
        **solver: Arguments of ``physics.A_dagger``: ``solver``, ``max_iter``, ``tol``.
    """

    def __init__(self, physics: "LinearPhysics", image_shape: Sequence[int], **solver: Any):
        super().__init__(image_shape)
        self.physics, self.solver = physics, {"solver": "lsqr"} | solver

    def forward(self, x: Tensor) -> Tensor:
        return self.physics.A(x)

    def pinv(self, y: Tensor) -> Tensor:
        return self.physics.A_dagger(y, **self.solver)
