"""A linear operator behind changes of coordinates."""

from collections.abc import Callable, Sequence

from spnn.operators.linear import LinearOperator
from spnn.surjection import Bijection, Composition

__all__ = ["seen_through"]


def seen_through(
    image_shape: Sequence[int], through: Sequence[Bijection], operator: Callable[..., LinearOperator]
) -> Composition:
    r"""A linear operator behind changes of coordinates: :math:`g = A \circ \varphi_n \circ \dots \circ \varphi_1`.

    Its pseudo-inverse undoes them: :math:`g^\dagger = \varphi_1^{-1} \circ \dots \circ A^\dagger` (coordinate
    consistency).

    Arguments:
        image_shape: (C, H, W) of the images.
        through: :math:`\varphi_1, \dots, \varphi_n`, in the order in which light passes them.
        operator: Makes ``A`` for that shape.
    """
    return Composition(*through, operator(image_shape=image_shape))
