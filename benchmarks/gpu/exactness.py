"""Whether the device's results are right: laws, reference tensors, and the CPU's image for the same seed."""

from collections.abc import Iterator

import torch
from torch import Tensor

from benchmarks.gpu.check import PRECISIONS, REPOSITORY, Setting, network, precision, unet, within
from spnn import SPNN, Composition, Session, Surjection
from spnn.diffusion import UNetPrior
from spnn.operators import AveragePool, Ripple

# Ten times the errors measured on a CPU, where the factors of products were rounded by hand for TF32. Rounding breaks
# the laws only where a sub-network, or W in TF32, sees rounded values: otherwise both directions round the same values
# in the same way.
LAWS = {"float32": 2e-5, "tf32": 1e-2, "bf16": 1e-2}
REFERENCES = {"float32": 1e-4, "tf32": 2e-2, "bf16": 1e-1}
IMAGE = 1e-3  # different kernels on the same CPU differ by 6e-6


def laws(setting: Setting) -> Iterator[tuple[str, dict]]:
    """The largest errors of the laws, relative to the largest value that they should give."""
    surjections = {f"{size} px": network(size) for size in setting.sizes}
    glass = Composition(Ripple(1.5, 16), AveragePool(4, (3, 32, 32)))
    for name, surjection in {**surjections, "pixels behind glass": glass}.items():
        surjection = surjection.to(setting.device)
        shape = getattr(surjection, "image_shape", (3, 32, 32))
        generator = torch.Generator().manual_seed(0)
        x, other = torch.rand(2, 4, *shape, generator=generator).to(setting.device) * 1.8 - 0.9
        for kind in PRECISIONS:
            with precision(kind, setting.device), torch.no_grad():
                sides = sides_of_laws(surjection, x, surjection(other).float())
            errors = {law: (left - right).abs().max() / right.abs().max() for law, (left, right) in sides.items()}
            yield f"{name}, {kind}", {law: within(error, LAWS[kind]) for law, error in errors.items()}


def sides_of_laws(g: Surjection, x: Tensor, y: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
    """Both sides of each law, in the precision that is set; :func:`spnn.metrics.penrose_errors` never autocasts."""
    seen, nearest = g(x), g.pinv(y)
    back = g(nearest)
    return {
        "g_pinv": (back, y),
        "g_pinv_g": (g(g.pinv(seen)), seen),
        "pinv_g_pinv": (g.pinv(back), nearest),
        "back_projection": (g(g.back_project(x, y)), y),
        "completion": (g.invert(*g.complete(x)), x),
    }


def references(setting: Setting) -> Iterator[tuple[str, dict]]:
    """The largest differences from tensors that were computed by the papers' code."""
    device, folder = setting.device, REPOSITORY / "tests/data"
    for kind in PRECISIONS:
        for mixing, case in torch.load(folder / "spnn_reference.pt", map_location=device, weights_only=True).items():
            net = SPNN.from_published(case["state_dict"]).to(device).requires_grad_(False)
            x, target = case["x"], case["y_target"]
            with precision(kind, device), torch.no_grad():
                found = {"y": (net(x), case["y"]), "pinv": (net.pinv(target), case["pinv"])}
                for strength, moved in case["nlbp"].items():
                    found[f"back_projection {strength}"] = net.back_project(x, target, float(strength)), moved
            yield f"{mixing}, {kind}", differences(found, kind)
        case = torch.load(folder / "unet_reference.pt", map_location=device, weights_only=True)
        prior = UNetPrior.from_ddim_checkpoint(case["state_dict"], image_size=16).to(device)
        with precision(kind, device), torch.no_grad():
            found = {"noise": (prior(case["x"], case["t"]).noise, case["eps"])}
        yield f"UNet, {kind}", differences(found, kind)


def differences(pairs: dict[str, tuple[Tensor, Tensor]], kind: str) -> dict[str, dict]:
    return {name: within((a - b).abs().max(), REFERENCES[kind]) for name, (a, b) in pairs.items()}


def image(setting: Setting) -> Iterator[tuple[str, dict]]:
    """The largest difference in a pixel between the device's and the CPU's images for the same seed."""
    size = min(setting.sizes)
    y = torch.randn(2, 40, generator=torch.Generator().manual_seed(0))
    images = []
    for accelerator in ("auto", "cpu"):
        # No stop rule: an image may be just near enough on one device and just too far on the other.
        values = {"trainer.accelerator": accelerator, "trainer.precision": "32-true", "guidance.stop": None}
        session = Session(unet(size), network(size))
        images.append(session.solve(y, guidance="nlbp", steps=min(setting.steps, 10), values=values).images)
    yield f"{size} px, guided", within((images[0] - images[1]).abs().max(), IMAGE)
