"""Our guidances as algorithms of InverseBench, on doubles of its networks and operators.

They keep the interface of https://github.com/devzhk/InverseBench at b113d67b62ce8db811dc033c8fa12dfdfdfa93f0:
``models/precond.py``, ``inverse_problems/base.py``, ``image_restore.py`` and ``inverse_scatter.py``, ``main.py``.
"""

import pytest
import torch

from spnn.errors import InputError
from spnn.inversebench import InverseBenchAlgorithm

SIZE, DEVIATION = 8, 0.5


class Net(torch.nn.Module):
    """A denoiser with the interface of EDMPrecond: that of images N(0.2, 0.5²)."""

    img_channels, img_resolution, sigma_min, sigma_max = 1, SIZE, 0.002, 80.0

    def __init__(self):
        super().__init__()
        self.mean = torch.nn.Parameter(torch.tensor(0.2))

    def forward(self, x, sigma, class_labels=None):
        assert x.dtype == torch.float32 and sigma.shape == () and self.sigma_min <= sigma <= self.sigma_max
        return self.mean + DEVIATION**2 / (DEVIATION**2 + sigma**2) * (x - self.mean)


class Operator:
    """As BaseOperator."""

    def __init__(self, sigma_noise=0.0, unnorm_shift=0.0, unnorm_scale=1.0, device="cpu"):
        self.sigma_noise, self.unnorm_shift, self.unnorm_scale = sigma_noise, unnorm_shift, unnorm_scale
        self.device = device

    def __call__(self, inputs):
        out = self.forward(inputs["target"])
        return out + self.sigma_noise * torch.randn_like(out)

    def unnormalize(self, inputs):
        return (inputs + self.unnorm_shift) * self.unnorm_scale


class Inpainting(Operator):
    def __init__(self, **options):
        super().__init__(**options)
        self.M = (torch.arange(SIZE * SIZE).reshape(1, SIZE, SIZE) % 3 > 0).float()
        self.S = torch.ones_like(self.M)

    def forward(self, data):
        return data * self.M

    def Ut(self, y):
        return y

    V = Vt = Ut


class Scattering(Operator):
    """As InverseScatter: one image at a time, in its own units, complex and of double precision, and of low rank."""

    def __init__(self, **options):
        super().__init__(unnorm_shift=1.0, unnorm_scale=0.5, **options)
        generator = torch.Generator().manual_seed(1)
        A = torch.randn(48, SIZE * SIZE, generator=generator, dtype=torch.double)
        A[40:] = A[:8]  # of rank 40
        self.A = A
        self.U, self.S, self.V_t = torch.linalg.svd(A, full_matrices=False)
        self.M = (self.S.abs() > 1e-3).float()

    def forward(self, f, unnormalize=True):
        assert len(f) == 1
        y = self.A @ self.unnormalize(f.to(torch.float64)).flatten()
        return torch.view_as_complex(y.reshape(1, 4, 6, 2))

    def Vt(self, x):
        return (self.V_t @ x.to(torch.float64).flatten(-3)[..., None]).squeeze(-1)

    def V(self, x):
        return (self.V_t.T @ x[..., None].to(torch.float64)).reshape(-1, 1, SIZE, SIZE).to(torch.float32)

    def Ut(self, x):
        return (self.U.T @ torch.view_as_real(x).flatten(-3)[..., None]).squeeze(-1)


class Squares(Operator):
    """Not linear, and without a decomposition."""

    def forward(self, data):
        return self.unnormalize(data).square()


def image(seed: int = 0) -> torch.Tensor:
    return 0.2 + DEVIATION * torch.randn(1, 1, SIZE, SIZE, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("operator", [Inpainting(), Inpainting(unnorm_shift=1.0, unnorm_scale=0.5), Scattering()])
def test_measurements_without_noise_are_met(operator):
    y = operator({"target": image()})
    found = InverseBenchAlgorithm(Net(), operator, steps=10).inference(y, num_samples=2)
    assert found.shape == (2, 1, SIZE, SIZE) and not torch.equal(found[0], found[1])
    for one in found:
        torch.testing.assert_close(operator.forward(one[None]), y, rtol=1e-4, atol=1e-4)


def test_samples_of_noisy_measurements_are_around_the_posterior_s_mean():
    operator = Inpainting(sigma_noise=DEVIATION)
    torch.manual_seed(2)
    y = operator({"target": image()})
    posterior = 0.2 + 0.5 * operator.M * (y - 0.2)  # as noise and images have the same deviation

    def error(guidance: str | None) -> float:
        algorithm = InverseBenchAlgorithm(Net(), operator, steps=50, guidance=guidance)
        return (algorithm.inference(y, num_samples=16).mean(0) - posterior).square().mean().item()

    assert error(None) < 0.03 < 0.05 < error("ddnm")


def test_an_operator_without_a_decomposition_is_followed_by_gradients():
    operator = Squares(unnorm_shift=1.0, unnorm_scale=0.5)
    y = operator({"target": image()})
    net = Net()
    free = InverseBenchAlgorithm(net, operator, steps=50, guidance="none").inference(y)
    found = InverseBenchAlgorithm(net, operator, steps=50, values={"guidance.rate": 3.0}).inference(y)

    def misfit(x: torch.Tensor) -> torch.Tensor:
        return (operator.forward(x) - y).square().mean()

    assert misfit(found) < 0.5 * misfit(free)
    with pytest.raises(InputError, match="Squares has no singular value decomposition"):
        InverseBenchAlgorithm(net, operator, guidance="ddnm").inference(y)


def test_a_decomposition_of_something_else_is_refused():
    operator = Scattering()
    operator.S = operator.S.flip(0)
    with pytest.raises(InputError, match="the decomposition of Scattering is not that of its forward"):
        InverseBenchAlgorithm(Net(), operator)
