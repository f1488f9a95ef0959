# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
# ---

# %% [markdown]
# # A session in a notebook
#
# Do what the commands do, but in memory: edit faces, sweep a label, solve an inverse problem with your own operator,
# look at the figures, save. The models of rendered faces come with the package, so nothing is trained or downloaded.
# Run it as a script,
#
#     python examples/session_in_a_notebook.py [folder] [--quick]
#
# or cell by cell in an editor that supports `# %%`, or as a notebook (`jupytext --to notebook`), which shows the
# pictures below their cells. It takes about a minute on two CPU cores, and also writes the pictures to the folder.

# %%
import argparse
import sys
from pathlib import Path

import torch
from torch import Tensor

from spnn import Session
from spnn.operators import LinearOperator
from spnn.sampling.drawn import Drawn

parser = argparse.ArgumentParser(description="A session in a notebook.")
parser.add_argument("folder", nargs="?", default="outputs/session", type=Path, help="where the pictures go")
parser.add_argument("--quick", action="store_true", help="take few steps, to see that all of it runs")
arguments = parser.parse_args([] if "ipykernel" in sys.modules else None)  # a notebook's arguments are not ours
arguments.folder.mkdir(parents=True, exist_ok=True)
steps = 5 if arguments.quick else 50


def shown(name: str, drawn: Drawn) -> Drawn:
    """Save the picture; a notebook shows it if this is the last line of a cell."""
    drawn.save_overview(arguments.folder / f"{name}.png")
    return drawn


def report(what: str, value: float) -> None:
    """Print one number."""
    print(f"{what:<60}  {value:.3g}", flush=True)


# %% [markdown]
# ## Models and held-out images
#
# A session has a prior that draws faces, a network `g` that reads 40 labels, and a judge of the same labels that
# guidance never sees. `y` is the output of `g` for the images: a logit for each label.

# %%
run = Session.load()
images, y = run.held_out(4)
print(run, *run.models.readout.names[:5], tuple(images.shape), tuple(y.shape), sep="\n")

# %% [markdown]
# ## Edit
#
# Set labels, and the picture follows; the other labels become what they usually are with these. Each sample depends
# only on its image, the options and the seed, and is the same as `spnn sample task=edit` draws. The logits are met; the
# judge tells whether the pictures show what was asked for.

# %%
edited = run.edit(images, {"Smiling": "yes", "Eyeglasses": "yes"}, steps=steps, seed=0)
report("of what was set, is there by g, share", edited.metrics["edit_success"])
report("by the judge", edited.metrics["judge_edit_success"])
report("other labels that changed by the judge, of 40", edited.metrics["judge_side_effects"])
print(*edited.in_words(), edited.verdict or "The pictures are whole.", sep="\n")
shown("edit", edited)

# %% [markdown]
# ## Sweep
#
# One label from low to high, as probabilities, from the same noise.

# %%
shown("sweep", run.sweep(images[:2], {"Smiling": ["1%", "20%", "80%", "99%"]}, steps=steps))

# %% [markdown]
# ## An inverse problem of your own
#
# Any measurement with a pseudo-inverse is an operator. This one sees only the mean colour of each row of pixels; `pinv`
# spreads it over the row again, and is the Moore-Penrose inverse. The prior supplies the faces: all samples have the
# measured row means, and differ in everything else.


# %%
class RowMeans(LinearOperator):
    """The mean of each row of pixels, [B, C, H, W] -> [B, C, H, 1]."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(3, keepdim=True)

    def pinv(self, y: Tensor) -> Tensor:
        return y.expand(-1, -1, -1, self.image_shape[2])


rows = RowMeans(run.models.prior.image_shape)
scanner = Session(run.models.prior, rows)
measured = rows(images[:2])
solved = scanner.solve(measured, steps=steps, per_target=2, guidance="ddnm", values={"guidance.clip": False})
report("of the measured row means, largest error", (rows(solved.images) - measured.repeat_interleave(2, 0)).abs().max())
report("from one solution to another, mean difference", (solved.images[0] - solved.images[1]).abs().mean())
shown("solved", solved)

# %% [markdown]
# ## Figures
#
# Draw images from nothing but the labels of held-out ones, with guidance and without, and ask the judge. A study with
# intervals and a report is `run.evaluate("reconstruction", count=100)`, which takes minutes.

# %%
for guidance in ("nlbp_gentle", "none"):
    drawn = run.reconstruct(images, guidance=guidance, steps=steps)
    report(f"{guidance}: labels as in the image by the judge, share", drawn.metrics["judge_agreement"])
shown("reconstructed", drawn)

# %% [markdown]
# ## Save
#
# Save all models and a card in a folder. `Session.from_pretrained` loads it again, as does
# `NLBPPipeline.from_pretrained` for users of diffusers; `run.push_to_hub("owner/name")` publishes it.

# %%
saved = arguments.folder / "my-faces"
if not saved.exists():
    run.save_pretrained(saved)
again = Session.from_pretrained(saved)
report("what the saved network says differs by", (again.outputs(images) - torch.as_tensor(y)).abs().max())
print("pictures in", arguments.folder)
