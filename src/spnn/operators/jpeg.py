"""JPEG compression: the coefficients that a file keeps."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from spnn.errors import InputError
from spnn.operators.constants import Exact
from spnn.operators.linear import AveragePool
from spnn.surjection import Completion, Surjection

__all__ = ["JPEG"]

_BLOCK = 8
_LUMA = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)
_CHROMA = (
    (17, 18, 24, 47, 99, 99, 99, 99),
    (18, 21, 26, 66, 99, 99, 99, 99),
    (24, 26, 56, 99, 99, 99, 99, 99),
    (47, 66, 99, 99, 99, 99, 99, 99),
    *((99,) * 8,) * 4,
)
_COLOURS = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))  # Y, Cb and Cr
_ROUNDING = 1e-3  # share of a step: coefficients this near the boundary could be rounded to the next whole number


class JPEG(Surjection):
    r"""The quantised coefficients of an image's cosine transform in blocks of 8x8 pixels, [B, C, H, W] -> [B, n]. They
    are whole numbers.

    The latents are the parts that rounding removed from the coefficients, and the fine colour detail that subsampling
    removed. The pseudo-inverse is a JPEG decoder. Back-projection sets the whole numbers and keeps the rest, as DDRM
    does for JPEG. Because rounding is flat, gradients ignore it ("straight through").

    Arguments:
        image_shape: (C, H, W) of the images, with one channel, or three for red, green and blue.
        quality: 1 to 100, as in libjpeg.
        subsampling: Whether colour is averaged over 2x2 pixels (4:2:0).

    Raises:
        InputError: If a side is not a multiple of 8 (16 with subsampling), there are not 1 or 3 channels, or the
            quality is out of range.

    References:
        ITU-T recommendation T.81 (1992), annex K (tables)
        JPEG Artifact Correction using Denoising Diffusion Restoration Models (Kawar et al., 2022),
        https://arxiv.org/abs/2209.11888
    """

    def __init__(self, image_shape: Sequence[int], quality: int = 10, subsampling: bool = True):
        super().__init__()
        self.image_shape = torch.Size(image_shape)
        channels, height, width = self.image_shape
        if channels not in (1, 3):
            raise InputError(f"JPEG takes images of 1 or 3 channels, got {channels}.")
        side = 2 * _BLOCK if subsampling and channels == 3 else _BLOCK
        if height % side or width % side:
            raise InputError(
                f"JPEG works on blocks of {side}x{side} pixels, which {height}x{width} pixels don't divide into."
                + (" operator.subsampling=false takes multiples of 8." if side > _BLOCK else "")
            )
        if isinstance(quality, bool) or not isinstance(quality, int) or not 1 <= quality <= 100:
            raise InputError(f"operator.quality is a whole number from 1 to 100, got {quality!r}.")
        self.pool = AveragePool(2, (2, height, width)) if side > _BLOCK else None
        colour = torch.tensor(_COLOURS).double() if channels == 3 else torch.ones(1, 1).double()
        self.to_planes, self.from_planes = Exact(127.5 * colour), Exact(torch.linalg.inv(colour) / 127.5)
        place, frequency = torch.arange(_BLOCK).double(), torch.arange(_BLOCK).double()[:, None]
        cosines = torch.cos(math.pi / _BLOCK * (place + 0.5) * frequency) / 2
        cosines[0] /= math.sqrt(2)
        scale = 5000 // quality if quality < 50 else 200 - 2 * quality
        tables = [torch.tensor(table).flatten() for table in (_LUMA, _CHROMA)[:channels]]
        tables = [((table * scale + 50) / 100).floor().clamp(1, 255).double() for table in tables]
        transform = torch.kron(cosines, cosines)  # orthogonal
        self.forwards = [Exact(transform.T / table) for table in tables]
        self.backwards = [Exact(transform * table[:, None]) for table in tables]
        reduced = (height // 2, width // 2) if self.pool else (height, width)
        self.plane_shapes = [(1, height, width), (2, *reduced)][:channels]
        self.num_latents = len(self.plane_shapes) + (self.pool is not None)

    def complete(self, x: Tensor) -> Completion:
        colours = torch.einsum("pc,bchw->bphw", self.to_planes(x), x)
        planes = [colours[:, :1] - 0.5, colours[:, 1:]][: len(self.plane_shapes)]
        detail: list[Tensor] = []
        if self.pool:
            planes[1], detail = self.pool.complete(planes[1])
        y, z = [], []
        for plane, forwards in zip(planes, self.forwards, strict=True):
            coefficients = self._blocks(plane) @ forwards(x)
            whole = coefficients.round()
            y.append((coefficients + (whole - coefficients).detach()).flatten(1))
            z.append(coefficients - whole)
        return Completion(torch.cat(y, 1), [*z, *detail])

    def invert(self, y: Tensor, z: list[Tensor]) -> Tensor:
        planes, sizes = [], [math.prod(shape) for shape in self.plane_shapes]
        parts = zip(y.split(sizes, 1), z, self.backwards, self.plane_shapes, strict=False)
        for whole, rest, backwards, shape in parts:
            planes.append(self._pixels((whole.reshape(rest.shape) + rest) @ backwards(y), shape))
        if self.pool:
            planes[1] = self.pool.invert(planes[1], z[2:])
        colours = torch.cat([planes[0] + 0.5, *planes[1:]], 1)
        return torch.einsum("cp,bphw->bchw", self.from_planes(y), colours)

    def complete_pinv(self, y: Tensor) -> Completion:
        """Return ``y`` and zeros."""
        z = [y.new_zeros(len(y), math.prod(shape) // _BLOCK**2, _BLOCK**2) for shape in self.plane_shapes]
        return Completion(y, [*z, y.new_zeros(len(y), *self.pool.image_shape)] if self.pool else z)

    def _nlbp(self, x: Tensor, here: Completion, there: Completion, strength: float | Tensor) -> Tensor:
        parts, detail = here.z[: len(self.plane_shapes)], here.z[len(self.plane_shapes) :]
        inside = [part.clamp(_ROUNDING - 0.5, 0.5 - _ROUNDING) for part in parts]
        return super()._nlbp(x, Completion(here.y, [*inside, *detail]), there, strength)

    @staticmethod
    def _blocks(plane: Tensor) -> Tensor:
        """Split planes [B, C, H, W] into blocks, [B, C * H/8 * W/8, 64]."""
        blocks = plane.unflatten(2, (-1, _BLOCK)).unflatten(4, (-1, _BLOCK))  # B, C, H/8, 8, W/8, 8
        return blocks.transpose(3, 4).flatten(4).flatten(1, 3)

    @staticmethod
    def _pixels(blocks: Tensor, shape: Sequence[int]) -> Tensor:
        """Join blocks to planes: the inverse of :meth:`_blocks`."""
        channels, height, width = shape
        grid = (channels, height // _BLOCK, width // _BLOCK)
        return blocks.unflatten(2, (_BLOCK, _BLOCK)).unflatten(1, grid).transpose(3, 4).flatten(4, 5).flatten(2, 3)
