# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
# ---

# %% [markdown]
# # From a linear operator to a guided diffusion sampler
#
# One rule, back-projection, in five steps: a matrix, the same matrix behind a change of coordinates, a coupling block
# in the plane, a network that reads handwritten digits, and that network inside a diffusion sampler.
# `docs/concepts.md` explains the mathematics; here we compute it. Run it as a script,
#
#     python examples/from_linear_to_spnn.py [folder] [--quick]
#
# or cell by cell in an editor that supports `# %%`, or as a notebook (`jupytext --to notebook`). It takes about a
# minute on two CPU cores, and writes four pictures to the folder.

# %%
import argparse
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import torch
import torch.nn.functional as F
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sklearn.svm import SVC
from torch import Tensor, nn

from spnn import SPNN, Bijection, Composition, Surjection
from spnn.data import Digits
from spnn.data.module import scale_to_unit_range
from spnn.diffusion import BackProjection, ImageNoise, PiecewiseStrength, Sampler, UNetPrior
from spnn.latents import with_pinv
from spnn.operators import Matrix
from spnn.sampling.pictures import save_grid, save_strip
from spnn.training.learning_rate import warmup_cosine

parser = argparse.ArgumentParser(description="From a linear operator to a guided diffusion sampler.")
parser.add_argument("folder", nargs="?", default="outputs/example", type=Path, help="where the pictures go")
parser.add_argument("--quick", action="store_true", help="train much too briefly, to see that all of it runs")
arguments = parser.parse_args([] if "ipykernel" in sys.modules else None)  # a notebook's arguments are not ours
arguments.folder.mkdir(parents=True, exist_ok=True)
torch.manual_seed(1)
torch.set_num_threads(1)  # two are no faster on tensors this small, and slower if other processes use the cores


def report(where: str, what: str, value: float | Tensor) -> None:
    """Print one number."""
    print(f"{where:<12}  {what:<44}  {torch.as_tensor(value).item():.2g}", flush=True)


# %% [markdown]
# ## 1. A linear operator
#
# `A` reads one number from a point of the plane. Infinitely many points give the same reading; the Moore-Penrose
# pseudo-inverse takes the one nearest to the origin. Back-projection moves a point `x` just far enough for its reading
# to be `y`. Every operator and network of the library is a `Surjection` and works on batches of images: a point is an
# image with two channels and one pixel.


# %%
def points(*coordinates: tuple[float, float]) -> Tensor:
    """Points of the plane as images, [N, 2, 1, 1]."""
    return torch.tensor(coordinates, dtype=torch.double).reshape(-1, 2, 1, 1)


def check(where: str, g: Surjection, x: Tensor, y: Tensor) -> None:
    """Print the errors of the exact laws, and that of the naive rule, which is exact only if ``g`` is linear."""
    half = (g(x) + y) / 2
    report(where, "right inverse: |g(g†(y)) - y|", (g(g.pinv(y)) - y).abs().max())
    report(where, "Penrose 2: |g†(g(g†(y))) - g†(y)|", (g.pinv(g(g.pinv(y))) - g.pinv(y)).abs().max())
    report(where, "back-projected: |g(x') - y|", (g(g.back_project(x, y)) - y).abs().max())
    report(where, "half of the way: |g(x') - (g(x) + y)/2|", (g(g.back_project(x, y, 0.5)) - half).abs().max())
    report(where, "naive: |g(x + g†(y) - g†(g(x))) - y|", (g(g.naive_back_project(x, y)) - y).abs().max())


A = Matrix(torch.tensor([[0.8, 0.6]], dtype=torch.double), image_shape=(2, 1, 1))
u, y = points((-1.0, 1.1)), torch.tensor([[0.9]], dtype=torch.double)
check("linear", A, u, y)
report("linear", "DDNM: |x' - (x + A†(y - Ax))|", (A.back_project(u, y) - (u + A.pinv(y - A(u)))).abs().max())

# %% [markdown]
# ## 2. The same in other coordinates
#
# Let `φ` be a bijection; this one turns a point around the origin, by more the farther out it is. `g = A ∘ φ` is not
# linear in `x`, but it is linear in `φ(x)`. So its pseudo-inverse is `φ⁻¹ ∘ A†`, and its back-projection is that of
# `A`, done on `φ(x)`; `Composition` derives both from its parts. The naive rule adds in the wrong coordinates, and
# misses.


# %%
class Swirl(Bijection):
    """Turn each point by an angle in proportion to its distance from the origin."""

    def __init__(self, strength: float):
        super().__init__()
        self.strength = strength

    def forward(self, x: Tensor) -> Tensor:
        return self._turn(x, self.strength)

    def inverse(self, y: Tensor) -> Tensor:
        return self._turn(y, -self.strength)

    @staticmethod
    def _turn(x: Tensor, strength: float) -> Tensor:
        a, b = x.unbind(1)
        angle = strength * torch.hypot(a, b)
        return torch.stack((angle.cos() * a - angle.sin() * b, angle.sin() * a + angle.cos() * b), dim=1)


swirl = Swirl(0.6)
g = Composition(swirl, A)
x = swirl.inverse(u)
check("coordinates", g, x, y)
report("coordinates", "consistency: |g†(y) - φ⁻¹(A†y)|", (g.pinv(y) - swirl.inverse(A.pinv(y))).abs().max())
moved, apart = g.back_project(x, y), swirl.inverse(A.back_project(u, y))
report("coordinates", "|x' - φ⁻¹(A's back-projection of φ(x))|", (moved - apart).abs().max())

# %% [markdown]
# Level sets, the points that the pseudo-inverse returns, and the path from `x` to `{g = y}`, for `A` and for `A ∘ φ`:

# %%
BLUE, ORANGE, GREEN, PURPLE, GREY = "#0072B2", "#D55E00", "#009E73", "#AA4499", "#BBBBBB"


def flat(x: Tensor) -> Tensor:
    """Images [N, 2, 1, 1] as two rows of coordinates, [2, N]."""
    return x.detach().flatten(1).T


def draw_plane(axis: Axes, g: Surjection, x: Tensor, y: Tensor, title: str, places: dict[str, tuple[int, int]]) -> None:
    """Draw a surjection from the plane to a line, and both rules of back-projection, from ``x`` to ``y``.

    ``places`` has the offset of each label from its point, in typographic points.
    """
    span = torch.linspace(-2, 2, 200, dtype=torch.double)
    grid = torch.stack(torch.meshgrid(span, span, indexing="xy"), dim=-1).reshape(-1, 2, 1, 1)
    with torch.no_grad():
        values = g(grid).reshape(200, 200)
        pinvs = g.pinv(torch.linspace(-3, 3, 400, dtype=torch.double)[:, None])
        way = torch.cat([g.back_project(x, y, strength) for strength in torch.linspace(0, 1, 50).tolist()])
        ends = {"x": x, "x'": way[-1:], "g†(g(x))": g.pinv(g(x)), "g†(y)": g.pinv(y)}
        ends["naive"] = g.naive_back_project(x, y)
    axis.contour(span, span, values, levels=torch.linspace(-3, 3, 25), colors=GREY, linewidths=0.6, linestyles="solid")
    axis.contour(span, span, values, levels=[y.item()], colors=BLUE, linewidths=2)
    axis.plot(*flat(pinvs), color=GREEN, linewidth=1.4, linestyle="--")
    axis.plot(*flat(torch.cat((x, ends["naive"]))), color=PURPLE, linewidth=1.4, linestyle=":")
    axis.plot(*flat(way), color=ORANGE, linewidth=2)
    colours = {"x": "black", "x'": ORANGE, "g†(g(x))": GREEN, "g†(y)": GREEN, "naive": PURPLE}
    for name, place in places.items():
        axis.plot(*flat(ends[name]), "o", color=colours[name], markersize=5)
        axis.annotate(
            name, flat(ends[name])[:, 0].tolist(), place, textcoords="offset points", ha="center", va="center",
            color=colours[name], fontsize=9, bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.8},
        )  # fmt: skip
    axis.set(xlim=(-2, 2), ylim=(-2, 2), xticks=[], yticks=[], aspect="equal")
    axis.set_title(title, fontsize=10)


def two_planes() -> tuple[Figure, Iterable[Axes]]:
    """Two planes side by side, with a legend below."""
    figure = Figure(figsize=(8, 4.5), dpi=110, layout="constrained")
    figure.get_layout_engine().set(w_pad=0.1, h_pad=0.1)
    axes = figure.subplots(1, 2)
    meanings = {
        "{g = y}": {"color": BLUE, "linewidth": 2},
        "other level sets": {"color": GREY, "linewidth": 0.8},
        "all g†(·)": {"color": GREEN, "linestyle": "--"},
        "NLBP, λ from 0 to 1": {"color": ORANGE, "linewidth": 2},
        "naive rule": {"color": PURPLE, "linestyle": ":"},
    }
    lines = [axes[0].plot([], [], label=meaning, **style)[0] for meaning, style in meanings.items()]
    figure.legend(handles=lines, loc="outside lower center", ncols=5, frameon=False, fontsize=9)
    return figure, axes


figure, axes = two_planes()
ABOVE, BELOW, RIGHT = (0, 11), (0, -12), (24, 0)  # offsets of a label from its point
places = {"x": ABOVE, "x'": ABOVE, "g†(g(x))": BELOW, "g†(y)": RIGHT}
draw_plane(axes[0], A, u, y, "g = A, linear", places)
draw_plane(axes[1], g, x, y, "g = A ∘ φ", places | {"naive": ABOVE})
figure.savefig(arguments.folder / "plane_coordinates.png")

# %% [markdown]
# ## 3. A coupling block
#
# A network learns both what to read and in which coordinates. A block rotates by `W` and keeps `x0`, which it rescales
# and shifts depending on the part that it drops, `x1`; its completion is `G(x) = (x0 s(x1) + t(x1), x1)`. Phase 1
# trains `W`, `s` and `t` to tell how far along an arc a point lies. A pseudo-inverse has to choose `x1` for a given
# `y`. The natural choice is that of `G(0)`, with nothing to train; phase 2 instead trains `r(y)` to return to points
# near the data. `g` doesn't contain `r`, so the laws hold for both.


# %%
def fit(parameters: Iterable[nn.Parameter], loss: Callable[[], Tensor], steps: int, rate: float) -> float:
    """Minimise ``loss`` and return its last value."""
    steps = max(10, steps // 20) if arguments.quick else steps
    optimizer = torch.optim.Adam(parameters, lr=rate)
    schedule = warmup_cosine(optimizer, steps)
    for _ in range(steps):
        optimizer.zero_grad()
        value = loss()
        value.backward()
        optimizer.step()
        schedule.step()
    return value.item()


angle = torch.empty(500, 1, dtype=torch.double).uniform_(-1.3, 1.3)
radius = 1.2 + 0.12 * torch.randn_like(angle)
arc = torch.stack((radius * angle.sin(), radius * angle.cos() - 0.5), dim=1)[..., None]  # [500, 2, 1, 1]

block = SPNN((2, 1, 1), [{"channels": 1, "st": "conv1 64, conv1", "r": "conv1 64, conv1"}], scale_bound=1.0).double()
fit(block.parameters(), lambda: F.mse_loss(block(arc), angle), steps=300, rate=1e-2)
report("block", "error on the arc: mean |g(x) - angle|", (block(arc) - angle).abs().mean())
natural = with_pinv(block, "closed_form")
fit(block.pinv_parameters(), lambda: F.mse_loss(block.pinv(block(arc)), arc), steps=200, rate=1e-2)
block.requires_grad_(False)

x, y = points((-1.5, 0.6)), torch.tensor([[0.4]], dtype=torch.double)
for name, g in {"natural": natural, "trained r": block}.items():
    check(name, g, x, y)
    report(name, "reconstruction: mean (g†(g(x)) - x)²", (g.pinv(g(arc)) - arc).square().mean())

# %% [markdown]
# Claim 2: with the natural latents, `x'` is the point of `{g = y}` that is nearest to `x` in the metric of `G`. We try
# a thousand other points of that set, and none is nearer:

# %%
here = natural.complete(x)
others = natural.invert(y.expand(1000, -1), [here.z[0] + torch.randn(1000, 1, 1, 1, dtype=torch.double)])


def distance(to: Tensor) -> Tensor:
    """The squared distance from ``x`` in the metric of the completion, [N]."""
    there = natural.complete(to)
    return (there.y - here.y).square().sum(1) + (there.z[0] - here.z[0]).square().flatten(1).sum(1)


report("natural", "thousand others: |g(other) - y|", (natural(others) - y).abs().max())
nearer = distance(others) < distance(natural.back_project(x, y))
report("natural", "Claim 2: others that are nearer than x'", nearer.sum())

figure, axes = two_planes()
for axis in axes:
    axis.plot(*flat(arc), ".", color="#56B4E9", markersize=3, alpha=0.5)
draw_plane(axes[0], natural, x, y, "the latents of G(0)", places | {"naive": BELOW, "g†(y)": (24, -11)})
draw_plane(axes[1], block, x, y, "the latents r(y), trained", places | {"naive": ABOVE})
figure.savefig(arguments.folder / "plane_coupling.png")

# %% [markdown]
# ## 4. Digits
#
# The same with four blocks, from 8x8 pixels to ten logits; pixel-unshuffles turn squares of pixels into channels. Phase
# 1 learns to recognise digits and to reconstruct the image, as published except for a smaller weight; noise on the
# images prepares the network for the noisy images in a sampler. Phase 2 trains only the latents.

# %%
source = Digits()


def load(split: str) -> tuple[Tensor, Tensor]:
    """Images [N, 1, 8, 8] in [-1, 1], and which digit each is, [N, 10] in {0, 1}."""
    dataset = source.split(split)
    items = [dataset[i] for i in range(len(dataset))]
    pictures = torch.stack([item["image"] for item in items])
    return scale_to_unit_range(pictures), torch.stack([item["labels"] for item in items])


images, labels = load("train")
held_out, truth = load("test")

net = SPNN(
    (1, 8, 8),
    [
        {"unshuffle": 2, "channels": 3, "st": "conv3 32, conv3", "r": "conv3 32, conv3"},  # 4x4
        {"unshuffle": 2, "channels": 8, "st": "conv3 64, conv3", "r": "conv3 64, conv3"},  # 2x2
        {"unshuffle": 2, "channels": 24, "st": "conv1 128, conv1", "r": "conv1 128, conv1"},  # 1x1
        {"channels": 10, "st": "conv1 64, conv1", "r": "conv1 64, conv1"},
    ],
    scale_bound=1.0,
)


def batch_of(size: int) -> tuple[Tensor, Tensor]:
    chosen = torch.randint(len(images), (size,))
    return images[chosen], labels[chosen]


def phase_one() -> Tensor:
    image, label = batch_of(64)
    seen = image + 0.15 * torch.rand(64, 1, 1, 1) * torch.randn_like(image)
    y = net(seen)
    task = F.binary_cross_entropy_with_logits(y, label, reduction="none").sum(1).mean()
    return task + 10 * F.mse_loss(net.pinv(y), image)


def phase_two() -> Tensor:
    image, _ = batch_of(64)
    with torch.no_grad():
        y = net(image)
    x, (_, z) = net.pinv_with_completion(y)
    natural = sum((own - zero).square().sum() for own, zero in zip(z, latents_of_zero, strict=True))
    return 10 * F.mse_loss(x, image) + 0.1 * natural / sum(own.numel() for own in z)


fit(net.parameters(), phase_one, steps=500, rate=3e-3)
net.requires_grad_(False)
for parameter in net.pinv_parameters():
    parameter.requires_grad_(True)
latents_of_zero = net.complete(torch.zeros(1, 1, 8, 8)).z
fit(net.pinv_parameters(), phase_two, steps=100, rate=1e-3)
net.eval().requires_grad_(False)

count = 40 if arguments.quick else 100
held_out, digit = held_out[:count], truth[:count].argmax(1)
y = net(held_out)
another = y.roll(1, dims=0)  # the logits of another image
moved = net.back_project(held_out, another)
check("digits", net, held_out, another)
report("digits", "accuracy", (y.argmax(1) == digit).float().mean())
report("digits", "reconstruction: mean (g†(g(x)) - x)²", (net.pinv(y) - held_out).square().mean())

# %% [markdown]
# ## 5. Guided sampling
#
# The network reads an image that was moved to another's logits as that other digit, but nobody would write it like
# that: the rule asks for the right logits, not for a good picture. A diffusion prior knows what digits look like, but
# no labels. At each sampling step it predicts the clean image; guidance back-projects that prediction to the wanted
# logits; the sampler continues from there. A judge that guidance never sees, a support vector machine, reads the
# results.

# %%
prior = UNetPrior(
    (1, 8, 8),
    patch=2,
    prediction="sample",
    block_out_channels=[32, 64],
    layers_per_block=1,
    down_block_types=["DownBlock2D", "DownBlock2D"],
    up_block_types=["UpBlock2D", "UpBlock2D"],
    norm_num_groups=8,
)


def denoising() -> Tensor:
    image, _ = batch_of(64)
    t, noise = torch.randint(prior.schedule.num_steps, (64,)), torch.randn_like(image)
    return F.mse_loss(prior.predict(prior.schedule.add_noise(image, noise, t), t), image)


fit(prior.parameters(), denoising, steps=500, rate=2e-3)
prior.eval().requires_grad_(False)

sampler = Sampler(prior.schedule, steps=10 if arguments.quick else 50, clip=True)
half_below_400 = PiecewiseStrength([(400, 0.0), (0, 0.5)])
guidance = BackProjection(net, y, schedule=half_below_400, stop=0.015, clip=True)


def noise() -> ImageNoise:
    """The same noise each time it is asked for: one seed per image."""
    return ImageNoise(range(len(held_out)), prior.image_shape)


trajectories = {
    "free": list(sampler.trajectory(prior, noise())),
    "guided": list(sampler.trajectory(prior, noise(), guidance)),
}
judge = SVC(gamma=0.001 * 8**2).fit(images.flatten(1), labels.argmax(1))


def readers(where: str, pictures: Tensor, wanted: Tensor) -> None:
    """Print how often the network, and the judge, read a picture as the wanted digit."""
    report(where, "the network reads the wanted digit, share", (net(pictures).argmax(1) == wanted).float().mean())
    report(where, "the judge reads the wanted digit, share", judge.score(pictures.flatten(1), wanted))


free, guided = (steps[-1].x0 for steps in trajectories.values())
readers("held-out x", held_out, digit)
readers("moved x'", moved, digit.roll(1))
readers("free", free, digit)
readers("guided", guided, digit)
report("moved x'", "largest |pixel|", moved.abs().max())
report("guided", "largest |pixel|", guided.abs().max())
report("guided", "mean |σ(g(sample)) - σ(y)|", (net(guided).sigmoid() - y.sigmoid()).abs().mean())

# %% [markdown]
# Held-out digits; the images that the pseudo-inverse makes from their ten logits; the same digits moved to the logits
# of another one; and the prior's samples, free and guided by the logits. Then, how two samples form with and without
# guidance:

# %%
shown = [int((digit == d).nonzero()[0]) for d in range(8)]
rows = {
    "held-out x": held_out,
    "g†(g(x))": net.pinv(y),
    "x', with the\nlogits of another": moved,
    "free sample": free,
    "guided by g(x)": guided,
}
captions = [f"{digit[i]} (x': a {digit.roll(1)[i]})" for i in shown]
save_grid({name: pictures[shown] for name, pictures in rows.items()}, captions, arguments.folder / "digits.png")

places = sampler.evenly_spread(8)
frames = {
    f"{digit[i]}, {name}": torch.stack([steps[place].x0[i] for place in places])
    for i in (shown[3], shown[5])
    for name, steps in trajectories.items()
}
levels = [sampler.levels()[place] for place in places]
save_strip(torch.stack(list(frames.values())), levels, list(frames), arguments.folder / "trajectory.png")
print("pictures in", arguments.folder)
