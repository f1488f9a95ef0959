"""The formulas of the paper, evaluated literally; benchmarks and tests compare the library with this.

Nothing is shared with the library. The published architectures are built from the table of their layers, with the
published layout of parameters (``SPNN.from_published(literal.state_dict())`` is the same network); ``W`` is rebuilt
at each use; each term of a formula is a pass through the network.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["ARCHITECTURES", "LiteralSPNN", "back_project", "inverse_losses", "task_losses"]

_256_R4 = "c3 {0}, c3 {0}, c3/2 {1}, c3 {1}, T {0}, c3"
_1X1_LAST = [(1, None, "c1 512, c1 256, c1 128, c1", "c1 128, c1 256, c1 512, c1")]
_32 = [
    (4, 32, "PS 4, c3 32, c3 128, c3/2 256, c3 512, c3/2 512, c3", "c3 512, c3 256, c3 128, c3 64, c3"),
    (8, 1024, *["PS 8, c3 128, c3 256, c3/2 512, c3 512, c3/2 1024, c3/2"] * 2),
    *_1X1_LAST,
]
ARCHITECTURES = {
    # image size: (unshuffle, channels kept, layers of s and t, layers of r) of each block
    256: [
        (4, 12, *[_256_R4.format(128, 256)] * 2),
        (4, 48, *[_256_R4.format(256, 512)] * 2),
        (4, 192, *[_256_R4.format(512, 1024)] * 2),
        (4, 1024, "c1 2048, c1 1536, c1", "c1 1536, c1 2048, c1"),
        *_1X1_LAST,
    ],
    64: [
        (2, 6, *["c3 64, c3/2 128, c3 128, T 64, c3"] * 2),
        (1, 3, *["c3 64, c3 64, c3 64, c3"] * 2),
        *_32,
    ],
    32: _32,
    # Not a published one, but small enough for a quick test.
    8: [(2, 6, *["c3 8, c3/2 16, T 8, c3"] * 2), (4, None, "c1 64, c1", "c1 64, c1")],
}


class SubNetwork(nn.Module):
    def __init__(self, layers: str, width: int, out: int):
        super().__init__()
        net = []
        for layer in layers.split(", "):
            kind, *number = layer.split()
            if kind == "PS":
                net.append(nn.PixelShuffle(int(number[0])))
                width //= int(number[0]) ** 2
                continue
            before, width = width, int(number[0]) if number else out
            if kind == "T":
                net.append(nn.ConvTranspose2d(before, width, 4, stride=2, padding=1))
            else:
                kernel = int(kind[1])
                net.append(nn.Conv2d(before, width, kernel, stride=2 if "/2" in kind else 1, padding=kernel // 2))
            if number:
                net.append(nn.ReLU())
        self.net = nn.Sequential(*net)

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


class CayleyMix(nn.Module):
    def __init__(self, channels: int):
        super().__init__()
        self.A_unconstrained = nn.Parameter(torch.randn(channels, channels) / channels**0.5)

    def forward(self) -> Tensor:
        A = self.A_unconstrained - self.A_unconstrained.T
        identity = torch.eye(len(A), dtype=A.dtype, device=A.device)
        return torch.linalg.solve((1 + 1e-6) * identity + A, identity - A)[:, :, None, None]


class Block(nn.Module):
    def __init__(self, mixed: int, kept: int, st: str, r: str):
        super().__init__()
        self.kept = kept
        self.mix = CayleyMix(mixed)
        self.s, self.t = SubNetwork(st, mixed - kept, kept), SubNetwork(st, mixed - kept, kept)
        self.r = SubNetwork(r, kept, mixed - kept)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        u = F.conv2d(x, self.mix())
        x0, x1 = u[:, : self.kept], u[:, self.kept :]
        return x0 * torch.exp(2 * torch.tanh(self.s(x1))) + torch.tanh(self.t(x1)), x1

    def inverse(self, y: Tensor, x1: Tensor | None) -> Tensor:
        if x1 is None:
            x1 = torch.tanh(self.r(y))
        x0 = (y - torch.tanh(self.t(x1))) * torch.exp(-2 * torch.tanh(self.s(x1)))
        return F.conv2d(torch.cat([x0, x1], dim=1), self.mix().transpose(0, 1))


class LiteralSPNN(nn.Module):
    """The published network for images of ``size`` pixels and ``outputs`` attributes, with random weights."""

    def __init__(self, size: int, outputs: int = 40):
        super().__init__()
        blocks, channels = [], 3
        for unshuffle, kept, st, r in ARCHITECTURES[size]:
            if unshuffle > 1:
                blocks.append(nn.PixelUnshuffle(unshuffle))
            blocks.append(Block(channels * unshuffle**2, kept or outputs, st, r))
            channels = kept
        self.pinn = nn.Module()
        self.pinn.blocks = nn.ModuleList(blocks)

    def complete(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        latents = []
        for block in self.pinn.blocks:
            if isinstance(block, nn.PixelUnshuffle):
                x = block(x)
            else:
                x, z = block(x)
                latents.append(z)
        return x.flatten(1), latents

    def invert(self, y: Tensor, latents: list[Tensor] | None = None) -> Tensor:
        """``G^{-1}(y, latents)``; without latents ``g†(y)``."""
        x, latents = y[:, :, None, None], list(latents) if latents else None
        for block in reversed(self.pinn.blocks):
            if isinstance(block, nn.PixelUnshuffle):
                x = F.pixel_shuffle(x, block.downscale_factor)
            else:
                x = block.inverse(x, latents.pop() if latents else None)
        return x

    def forward(self, x: Tensor) -> Tensor:
        return self.complete(x)[0]

    def pinv(self, y: Tensor) -> Tensor:
        return self.invert(y)


def back_project(net: LiteralSPNN, x: Tensor, target: Tensor, strength: float) -> Tensor:
    """Definition 4.3: ``G^{-1}( G(x) + λ [ G(g†(y)) - G(g†(g(x))) ] )``."""
    y, z = net.complete(x)
    y_there, z_there = net.complete(net.pinv(target))
    y_near, z_near = net.complete(net.pinv(y))
    moved = [at + strength * (to - near) for at, to, near in zip(z, z_there, z_near, strict=True)]
    return net.invert(y + strength * (y_there - y_near), moved)


def task_losses(net: LiteralSPNN, x: Tensor, attributes: Tensor) -> dict[str, Tensor]:
    """Phase 1 as published: classification, reconstruction and the right-inverse ("cycle") error."""
    y = net(x)
    pinv = net.pinv(y)
    return {
        "task": F.binary_cross_entropy_with_logits(y, attributes, reduction="sum") / len(x),
        "reconstruction": F.mse_loss(pinv, x),
        "cycle": F.mse_loss(net(pinv), y),
    }


def inverse_losses(net: LiteralSPNN, x: Tensor) -> dict[str, Tensor]:
    """Phase 2 as published: distance of the latents from those of zero, reconstruction, and the cycle error."""
    with torch.no_grad():
        y = net(x)
        _, z_zero = net.complete(torch.zeros_like(x[:1]))
    pinv = net.pinv(y)
    _, z = net.complete(pinv)
    difference = torch.cat([(a - b).flatten(1) for a, b in zip(z, z_zero, strict=True)], dim=1)
    return {
        "natural": difference.square().mean(),
        "reconstruction": F.mse_loss(pinv, x),
        "cycle": F.mse_loss(net(pinv), y),
    }
