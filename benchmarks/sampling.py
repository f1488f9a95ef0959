"""The cost of a guided sampling step with the published architectures at 256 px, ours and a literal one.

    python -m benchmarks.sampling                        # a few minutes on two cores
    python -m benchmarks.sampling --device cuda --precision bf16-mixed

The prior is the UNet of DDPM's CelebA-HQ model, and the network is the published 256-pixel SPNN. Both have random
weights, which cost the same as trained ones. The literal side samples one image at a time in float32, as the published
code does: the prior, one pass of ``g`` for the stop rule, and back-projection by its formula
(``benchmarks/literal.py``). Our side samples a batch with :class:`~spnn.diffusion.Sampler` and
:class:`~spnn.diffusion.BackProjection`. Both sides have the same weights; each time is the best of several runs of a
step.
"""

import argparse
import os
from functools import partial

os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # as spnn.entry does; for both sides

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from benchmarks import literal
from benchmarks.core import measure
from spnn import SPNN
from spnn.diffusion import BackProjection, ConstantStrength, Denoised, ImageNoise, Sampler, UNetPrior
from spnn.entry import fast_precision

DDPM_CELEBAHQ = {
    "block_out_channels": (128, 128, 256, 256, 512, 512),
    "down_block_types": ("DownBlock2D",) * 4 + ("AttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "AttnUpBlock2D") + ("UpBlock2D",) * 4,
    "layers_per_block": 2,
    "attention_head_dim": None,
    "downsample_padding": 0,
    "flip_sin_to_cos": False,
    "freq_shift": 1,
    "norm_eps": 1e-6,
}
SHAPE = (3, 256, 256)


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=8, help="images at a time on our side")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default=fast_precision(), choices=["32-true", "bf16-mixed"], help="of our prior")
    parser.add_argument("--seconds", type=float, default=20.0, help="the least to measure each part for")
    options = parser.parse_args()
    device, batch = options.device, options.batch

    torch.manual_seed(0)
    theirs = literal.LiteralSPNN(256).to(device).requires_grad_(False)
    ours = SPNN.from_published(theirs.state_dict()).to(device).requires_grad_(False)
    prior = UNetPrior(SHAPE, **DDPM_CELEBAHQ).to(device).eval().requires_grad_(False)
    x0, target = torch.randn(1, *SHAPE, device=device), torch.randn(1, 40, device=device)
    time = partial(measure, budget=options.seconds, device=device)

    # One image at a time, by the formulas.
    t = torch.full((1,), 500, device=device)
    literal_prior = time(lambda: prior.unet(x0, t).sample)[0]

    def literal_guidance() -> Tensor:
        assert (theirs(x0).sigmoid() - target.sigmoid()).abs().mean() > 0.03
        return literal.back_project(theirs, x0, target, 1.0)

    expected = literal_guidance()
    literal_nlbp = time(literal_guidance)[0]

    # A batch, by the sampler. `sample.py` moves the weights to channels-last, too.
    prior = prior.to(memory_format=torch.channels_last)
    targets = target.expand(batch, -1)
    guidance = BackProjection(ours, targets, schedule=ConstantStrength(1.0), stop=0.03)
    error = (guidance(x0.expand(batch, -1, -1, -1), 0)[0] - expected[0]).abs().max() / expected.abs().max()

    def denoise(x: Tensor, t: Tensor) -> Denoised:
        with torch.autocast(device, torch.bfloat16, enabled=options.precision == "bf16-mixed"):
            return prior(x, t)

    x, times = torch.randn(batch, *SHAPE, device=device), torch.full((batch,), 500, device=device)
    our_prior = time(lambda: denoise(x, times))[0]
    our_nlbp = time(lambda: guidance(x, 0))[0]
    one_step, noise = Sampler(prior.schedule, steps=1, clip=True), ImageNoise(range(batch), SHAPE, device)
    our_step = time(lambda: one_step(denoise, noise, guidance))[0]

    table = Table("one sampling step, 256 px", "batch", "prior", "guidance", "step", "guidance's share", "per image")
    for column in table.columns[1:]:
        column.justify = "right"
    for name, size, *parts, step in (
        ("literal, 32-true", 1, literal_prior, literal_nlbp, literal_prior + literal_nlbp),
        (f"ours, {options.precision}", batch, our_prior, our_nlbp, our_step),
    ):
        seconds = [f"{value:.2f} s" for value in (*parts, step)]
        table.add_row(name, str(size), *seconds, f"{parts[1] / step:.0%}", f"{step / size:.2f} s")
    console = Console(width=110)
    console.print(table)
    ratio = our_step / batch / (literal_prior + literal_nlbp)
    console.print(
        f"an image in a batch of {batch} costs [bold]{ratio:.2f}[/bold] of one alone, literally; error of guidance "
        f"{error:.0e}\ntorch {torch.__version__}, {torch.get_num_threads()} threads on {device}"
    )


if __name__ == "__main__":
    main()
