r"""Linear operators, :math:`g = A`, with the Moore-Penrose pseudo-inverse.

The completion is :math:`G(x) = (A x,\; x - A^\dagger A x)`: the measurement, and the part of ``x`` that lies in the
null space, as an image. The latents of :math:`G(0)` are zero, so Definition 4.2 gives the ``x`` that has no part in the
null space, :math:`A^\dagger y`. Back-projection is DDNM's step in the range, :math:`x + \lambda A^\dagger (y - A x)`.

References:
    Zero-Shot Image Restoration Using Denoising Diffusion Null-Space Model (Wang, Yu, Zhang, 2023),
    https://arxiv.org/abs/2212.00490
"""

from abc import abstractmethod
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from spnn.errors import InputError
from spnn.operators.constants import Exact
from spnn.surjection import Completion, Surjection, per_sample

__all__ = ["AveragePool", "Blur", "Grayscale", "Inpainting", "LinearOperator", "Matrix", "gaussian_kernel"]


class LinearOperator(Surjection):
    """Base of linear operators, [B, C, H, W] -> [B, ...]. A subclass implements :meth:`forward` and :meth:`pinv`.

    Arguments:
        image_shape: (C, H, W) of the images.

    Raises:
        InputError: When used on images of another shape.
    """

    num_latents = 1

    def __init__(self, image_shape: Sequence[int]):
        super().__init__()
        self.image_shape = torch.Size(image_shape)
        self.register_forward_pre_hook(_check_shape)

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """Return ``A x``."""

    @abstractmethod
    def pinv(self, y: Tensor) -> Tensor:
        r"""Return :math:`A^\dagger y`."""

    def complete(self, x: Tensor) -> Completion:
        r"""Return :math:`(A x, [x - A^\dagger A x])`."""
        if x.shape[1:] != self.image_shape:
            raise InputError(
                f"expected images of shape [B, {', '.join(map(str, self.image_shape))}], got {tuple(x.shape)}."
            )
        y = self(x)
        return Completion(y, [x - self.pinv(y)])

    def invert(self, y: Tensor, z: list[Tensor]) -> Tensor:
        r"""Return :math:`A^\dagger y + z`, for a ``z`` in the null space."""
        return self.pinv(y) + z[0]

    def invert_with_log_det(self, y: Tensor, z: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Return that image, and 0: volumes are stretched by the same factor everywhere."""
        return self.invert(y, z), y.new_zeros(len(y))

    def nearest_latents(self, z: list[Tensor]) -> list[Tensor]:
        """The parts of ``z`` in the null space."""
        return [z[0] - self.pinv(self(z[0]))]

    def complete_pinv(self, y: Tensor) -> Completion:
        """Return ``(y, [0])``."""
        return Completion(y, [y.new_zeros(len(y), *self.image_shape)])

    def _nlbp(self, x: Tensor, here: Completion, there: Completion, strength: float | Tensor) -> Tensor:
        return x + per_sample(strength, x) * self.pinv(there.y - here.y)

    _naive = _nlbp  # for a linear operator, the two rules are the same


def _check_shape(operator: LinearOperator, inputs: tuple[Tensor]) -> None:
    shape, found = operator.image_shape, inputs[0].shape
    if found[1:] != shape:
        raise InputError(f"expected images of shape [B, {', '.join(map(str, shape))}], got {tuple(found)}.")


class Inpainting(LinearOperator):
    """Keep the known pixels, [B, C, H, W] -> [B, n].

    Arguments:
        mask: True where a pixel is known, [H, W] or [C, H, W].
        image_shape: (C, H, W) of the images.

    Raises:
        InputError: If the mask has another shape, or no pixel is known.
    """

    known: Tensor

    def __init__(self, mask: Tensor, image_shape: Sequence[int]):
        super().__init__(image_shape)
        mask = torch.as_tensor(mask, dtype=torch.bool)
        if mask.shape not in (self.image_shape, self.image_shape[1:]) or not mask.any():
            raise InputError(
                f"expected a mask of shape {self.image_shape[1:]} or {self.image_shape} that is True somewhere, got "
                f"{tuple(mask.shape)} with {int(mask.sum())} True."
            )
        self.register_buffer("known", mask.expand(self.image_shape).flatten().nonzero().squeeze(1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1)[:, self.known]

    def pinv(self, y: Tensor) -> Tensor:
        x = y.new_zeros(len(y), self.image_shape.numel())
        return x.index_copy(1, self.known, y).unflatten(1, self.image_shape)


class AveragePool(LinearOperator):
    """Average squares of ``factor`` x ``factor`` pixels, [B, C, H, W] -> [B, C, H/f, W/f]; for super-resolution.

    Arguments:
        factor: f.
        image_shape: (C, H, W) of the images; f must divide H and W.

    Raises:
        InputError: If f doesn't divide H and W.
    """

    def __init__(self, factor: int, image_shape: Sequence[int]):
        super().__init__(image_shape)
        _, height, width = self.image_shape
        if factor < 1 or height % factor or width % factor:
            raise InputError(f"{height}x{width} pixels can't be averaged by squares of {factor}.")
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(x, self.factor)

    def pinv(self, y: Tensor) -> Tensor:
        return y.repeat_interleave(self.factor, dim=2).repeat_interleave(self.factor, dim=3)


class Grayscale(LinearOperator):
    """A weighted sum of the channels, [B, C, H, W] -> [B, 1, H, W]; for colourisation.

    Arguments:
        image_shape: (C, H, W) of the images.
        weights: One per channel; by default the luma weights of red, green and blue (ITU-R BT.601).

    Raises:
        InputError: If there is not one weight per channel, or all are zero.
    """

    def __init__(self, image_shape: Sequence[int], weights: Sequence[float] = (0.299, 0.587, 0.114)):
        super().__init__(image_shape)
        given = torch.as_tensor(weights, dtype=torch.double)
        if given.shape != self.image_shape[:1] or not given.any():
            raise InputError(f"expected {self.image_shape[0]} weights, not all zero, got {given.tolist()}.")
        self.weights = Exact(given[:, None, None])
        self.inverse = Exact(given[:, None, None] / given.square().sum())

    def forward(self, x: Tensor) -> Tensor:
        return (x * self.weights(x)).sum(dim=1, keepdim=True)

    def pinv(self, y: Tensor) -> Tensor:
        return y * self.inverse(y)


class Blur(LinearOperator):
    r"""Circular convolution of each channel, [B, C, H, W] -> [B, C, H, W]; for deblurring.

    A blur nearly removes some frequencies. Those with a gain below ``threshold`` are treated as lost: they are removed,
    so that ``A`` maps onto the images without them, and :math:`A^\dagger` divides by the gains of the others. (So
    ``y`` satisfies :math:`A A^\dagger y = y` if it is such an image.)

    Arguments:
        kernel: The kernel, with odd height and width, not larger than the image; its middle is the origin.
        image_shape: (C, H, W) of the images.
        threshold: The smallest gain that counts, as a fraction of the largest. The smaller it is, the more an error in
            ``y`` is amplified: by up to 1/threshold.

    Raises:
        InputError: If the kernel has an even size, is larger than the image, or is zero; or if the threshold is not in
            [0, 1).
    """

    def __init__(self, kernel: Tensor, image_shape: Sequence[int], threshold: float = 1e-2):
        super().__init__(image_shape)
        kernel = torch.as_tensor(kernel, dtype=torch.double)
        _, height, width = self.image_shape
        if kernel.ndim != 2 or any(k % 2 == 0 or k > n for k, n in zip(kernel.shape, (height, width), strict=True)):
            raise InputError(
                f"expected a kernel of odd height and width up to {height}x{width}, got {tuple(kernel.shape)}."
            )
        if not kernel.any():
            raise InputError("the kernel is zero everywhere.")
        if not 0 <= threshold < 1:
            raise InputError(f"the threshold must lie in [0, 1), got {threshold}.")
        padded = F.pad(kernel, (0, width - kernel.shape[1], 0, height - kernel.shape[0]))
        padded = padded.roll((-(kernel.shape[0] // 2), -(kernel.shape[1] // 2)), dims=(0, 1))
        gain = torch.fft.rfft2(padded)
        lost = gain.abs() <= max(threshold, 1e-12) * gain.abs().max()
        self.gain = Exact(torch.view_as_real(gain.masked_fill(lost, 0)))
        self.inverse_gain = Exact(torch.view_as_real((1 / gain).masked_fill(lost, 0)))

    def forward(self, x: Tensor) -> Tensor:
        return self._filter(x, self.gain)

    def pinv(self, y: Tensor) -> Tensor:
        return self._filter(y, self.inverse_gain)

    def _filter(self, x: Tensor, gain: Exact) -> Tensor:
        exact = x.to(torch.promote_types(x.dtype, torch.float32))  # no Fourier transform in half precision
        filtered = torch.fft.rfft2(exact) * torch.view_as_complex(gain(exact))
        return torch.fft.irfft2(filtered, s=self.image_shape[1:]).to(x.dtype)


def gaussian_kernel(sigma: float, size: int | None = None) -> Tensor:
    """A Gaussian kernel for :class:`Blur`, [size, size], with sum 1.

    Arguments:
        sigma: Standard deviation in pixels.
        size: Height and width, odd; by default the kernel reaches three deviations to each side.
    """
    reach = (size or 2 * round(3 * sigma) + 1) // 2
    line = torch.exp(-0.5 * (torch.arange(-reach, reach + 1, dtype=torch.double) / sigma) ** 2)
    kernel = torch.outer(line, line)
    return kernel / kernel.sum()


class Matrix(LinearOperator):
    r"""Any matrix, [B, C, H, W] -> [B, rows]; for small images.

    If its rows are linearly dependent, it maps onto a subspace, and :math:`A A^\dagger y = y` only holds there.

    Arguments:
        matrix: [rows, C H W].
        image_shape: (C, H, W) of the images.

    Raises:
        InputError: If the matrix doesn't have C H W columns.
    """

    def __init__(self, matrix: Tensor, image_shape: Sequence[int]):
        super().__init__(image_shape)
        columns = self.image_shape.numel()
        if matrix.ndim != 2 or matrix.shape[1] != columns:
            raise InputError(f"expected a matrix of {columns} columns, got shape {tuple(matrix.shape)}.")
        self.matrix, self.inverse = Exact(matrix), Exact(torch.linalg.pinv(matrix.double()))

    def forward(self, x: Tensor) -> Tensor:
        return self._multiply(x.flatten(1), self.matrix)

    def pinv(self, y: Tensor) -> Tensor:
        return self._multiply(y, self.inverse).unflatten(1, self.image_shape)

    @staticmethod
    def _multiply(x: Tensor, matrix: Exact) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            return F.linear(x, matrix(x))
