"""Known degradations and changes of coordinates; the laws of all surjections are in test_surjection.py."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from spnn import Composition
from spnn.errors import InputError
from spnn.operators import (
    JPEG,
    AveragePool,
    Blur,
    Clipping,
    DeepinvOperator,
    Gamma,
    Grayscale,
    Inpainting,
    LinearOperator,
    Matrix,
    PhaseRetrieval,
    Ripple,
    gaussian_kernel,
)

SHAPE = (3, 6, 8)
MASK = torch.rand(6, 8, generator=torch.Generator().manual_seed(0)) > 0.4


def images(batch: int = 2) -> torch.Tensor:
    return torch.randn(batch, *SHAPE, dtype=torch.double)


def dense(function, shape: tuple[int, ...]) -> torch.Tensor:
    """The matrix of a linear function, from what it makes of the basis."""
    basis = torch.eye(torch.Size(shape).numel(), dtype=torch.double).reshape(-1, *shape)
    return function(basis).flatten(1).T


OPERATORS = {
    "inpainting": lambda: Inpainting(MASK, SHAPE),
    "inpainting of some channels": lambda: Inpainting(torch.stack([MASK, ~MASK, MASK]), SHAPE),
    "average blur": lambda: AveragePool(2, SHAPE),
    "grayscale": lambda: Grayscale(SHAPE),
    "mean of the channels": lambda: Grayscale(SHAPE, weights=(1 / 3, 1 / 3, 1 / 3)),
    "blur": lambda: Blur(gaussian_kernel(0.9, size=5), SHAPE),
    "motion blur": lambda: Blur(torch.tensor([[0.0, 0, 1, 2, 1]]), SHAPE),
    "blur with gains of zero": lambda: Blur(torch.tensor([[1.0, 2, 1]]), SHAPE, threshold=0),
    "blur by a mean": lambda: Blur(torch.ones(3, 3) / 9, SHAPE, threshold=0.1),
    "matrix of full rank": lambda: Matrix(torch.randn(20, 144), SHAPE),
    "matrix of rank 5": lambda: Matrix(torch.randn(20, 5).double() @ torch.randn(5, 144).double(), SHAPE),
}


@pytest.fixture(params=OPERATORS)
def operator(request) -> LinearOperator:
    return OPERATORS[request.param]().double()


def test_pseudo_inverse_is_moore_and_penrose_s(operator):
    matrix = dense(operator, SHAPE)
    shape = operator(images(1)).shape[1:]
    torch.testing.assert_close(dense(operator.pinv, shape), torch.linalg.pinv(matrix, rtol=1e-6), rtol=0, atol=1e-6)


def test_back_projection_is_the_range_null_space_step(operator):
    x, y = images(), operator(images())
    for strength in (0.3, 1.0, torch.tensor([0.2, 0.9], dtype=torch.double)):
        step = torch.as_tensor(strength).reshape(-1, 1, 1, 1) * operator.pinv(y - operator(x))
        torch.testing.assert_close(operator.back_project(x, y, strength), x + step)
        torch.testing.assert_close(operator.naive_back_project(x, y, strength), x + step)


def test_latents_lie_in_the_null_space(operator):
    z = operator.complete(images()).z[0]
    torch.testing.assert_close(operator(z), torch.zeros_like(operator(z)), rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", OPERATORS)
def test_what_an_operator_moves_to_a_device_holds_no_doubles_and_it_is_exact_in_double_precision(name):
    operator = OPERATORS[name]()
    assert not any(buffer.dtype == torch.double for buffer in operator.buffers())
    with torch.inference_mode():
        y = operator(images())
    assert y.dtype == torch.double
    x = images().requires_grad_()
    operator(x).sum().backward()
    torch.testing.assert_close(operator(operator.pinv(operator(x))), operator(x), rtol=0, atol=1e-10)
    assert operator(images().float()).dtype == torch.float32


@pytest.mark.parametrize("coordinates", [Gamma(2.2), Gamma(1 / 2.2), Ripple(1.3, 6), Ripple(0.4, 3.5)])
def test_coordinate_consistency(coordinates, operator):
    """The pseudo-inverse of A after φ is φ's inverse after A's pseudo-inverse."""
    surjection, x = Composition(coordinates, operator), images()
    y = surjection(x)
    torch.testing.assert_close(y, operator(coordinates(x)))
    torch.testing.assert_close(surjection.pinv(y), coordinates.inverse(operator.pinv(y)))
    torch.testing.assert_close(surjection(surjection.pinv(y)), y, rtol=0, atol=1e-8)


def test_gamma_keeps_black_white_and_the_range():
    x = torch.linspace(-1, 1, 101, dtype=torch.double)
    for gamma in (0.5, 2.2):
        y = Gamma(gamma)(x)
        assert y[0] == -1
        assert y[-1] == 1
        assert (y.diff() > 0).all()
    torch.testing.assert_close(Gamma(2.0)(torch.tensor([0.0])), torch.tensor([-0.5]))  # a quarter of the brightness


def test_ripple_shifts_rows_and_columns_by_whole_pixels_where_its_wave_is_whole():
    x = torch.zeros(1, 1, 8, 8, dtype=torch.double)
    x[..., 2, 3] = 1
    moved = Ripple(2.0, 8)(x)  # row 2, a quarter of the wave: 2 to the right; then column 5, at -sin(pi / 4)
    torch.testing.assert_close(moved.sum((-2, -1)), x.sum((-2, -1)))
    rows, columns = moved[0, 0].abs().sum(1), moved[0, 0].abs().sum(0)
    assert columns.argmax() == 5
    assert rows.argmax() in (0, 1)


def test_ripple_keeps_distances():
    x = images()
    torch.testing.assert_close(Ripple(1.7, 5)(x).norm(), x.norm())


def test_deepinv_s_physics_are_surjections():
    physics = pytest.importorskip("deepinv").physics
    decomposable = DeepinvOperator(physics.Inpainting(img_size=SHAPE, mask=MASK.double().expand(SHAPE)), SHAPE)
    x, y = images(), decomposable(images())
    torch.testing.assert_close(decomposable(decomposable.back_project(x, y)), y)
    torch.testing.assert_close(decomposable.invert(*decomposable.complete(x)), x)

    kernel = torch.tensor([[0, 0.1, 0], [0.1, 0.6, 0.1], [0, 0.1, 0]], dtype=torch.double)
    blur = DeepinvOperator(
        physics.Blur(kernel[None, None], padding="circular"), SHAPE, tol=1e-10
    )  # solved by iteration
    y = blur(images())
    torch.testing.assert_close(blur(blur.back_project(x, y)), y, rtol=0, atol=1e-6)
    closed_form = Blur(kernel, SHAPE, threshold=0)
    torch.testing.assert_close(blur.back_project(x, y), closed_form.back_project(x, y), rtol=0, atol=1e-6)
    torch.testing.assert_close(blur.invert(*blur.complete(x)), x)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Inpainting(torch.zeros(6, 8), SHAPE), "True somewhere"),
        (lambda: Inpainting(torch.ones(8, 6), SHAPE), r"expected a mask of shape .*, got \(8, 6\)"),
        (lambda: AveragePool(4, SHAPE), "6x8 pixels can't be averaged by squares of 4"),
        (lambda: AveragePool(0, SHAPE), "by squares of 0"),
        (lambda: Grayscale(SHAPE, weights=(1, 1)), "expected 3 weights"),
        (lambda: Blur(torch.ones(2, 3), SHAPE), "odd height and width"),
        (lambda: Blur(torch.ones(9, 9), SHAPE), "up to 6x8"),
        (lambda: Blur(torch.zeros(3, 3), SHAPE), "zero everywhere"),
        (lambda: Blur(torch.ones(3, 3), SHAPE, threshold=1), r"must lie in \[0, 1\)"),
        (lambda: Inpainting(MASK, SHAPE)(torch.zeros(1, 3, 8, 8)), r"expected images of shape \[B, 3, 6, 8\]"),
        (lambda: Matrix(torch.ones(3, 10), SHAPE), "expected a matrix of 144 columns"),
        (lambda: Gamma(0), "must be positive"),
        (lambda: AveragePool(2, SHAPE).complete(torch.zeros(1, 3, 8, 8)), r"expected images of shape \[B, 3, 6, 8\]"),
    ],
)
def test_what_is_wrong_with_an_operator_is_said(make, message):
    with pytest.raises(InputError, match=message):
        make()


NONLINEAR = {
    "clipping": (lambda: Clipping((3, 16, 32))),
    "jpeg": (lambda: JPEG((3, 16, 32), quality=20)),
    "jpeg without subsampling": (lambda: JPEG((3, 16, 32), quality=70, subsampling=False)),
    "jpeg of grey images": (lambda: JPEG((1, 8, 24), quality=5)),
}


@pytest.mark.parametrize("name", NONLINEAR)
@pytest.mark.parametrize("dtype", [torch.float32, torch.double])
def test_operators_that_are_not_linear_keep_the_laws(name, dtype):
    g = NONLINEAR[name]()
    x, other = (torch.randn(3, *g.image_shape, dtype=dtype) for _ in range(2))
    y = g(x)
    torch.testing.assert_close(g.invert(*g.complete(x)), x, rtol=0, atol=1e-5)
    torch.testing.assert_close(g(g.pinv(y)), y, rtol=0, atol=0 if name == "clipping" else 1e-5)
    torch.testing.assert_close(g(g.back_project(other, y)), y, rtol=0, atol=1e-5)
    torch.testing.assert_close(g.back_project(other, y, 0.0), other, rtol=0, atol=1e-3)  # JPEG keeps from its edges
    assert len(g.complete(x).z) == g.num_latents == len(g.complete_pinv(y).z)
    half = g.back_project(other, y, torch.tensor([0.5, 0.0, 1.0], dtype=dtype))
    assert (half[0] - other[0]).norm() > 0
    torch.testing.assert_close(half[2], g.back_project(other, y)[2])
    torch.testing.assert_close(half[1], other[1], rtol=0, atol=1e-3)


def test_back_projection_of_clipped_images_is_the_nearest_image():
    g, x, y = Clipping((1, 1, 4), 2.0), torch.tensor([0.9, 0.1, -0.8, 0.7]), torch.tensor([1.0, 1.0, -1.0, 0.2])
    moved = g.back_project(x.reshape(1, 1, 1, 4), y.reshape(1, 1, 1, 4)).flatten()
    torch.testing.assert_close(moved, torch.tensor([0.9, 0.5, -0.8, 0.1]))


@pytest.mark.parametrize(("quality", "channels"), [(10, 3), (50, 3), (90, 3), (30, 1)])
def test_the_pseudo_inverse_of_jpeg_decodes_as_pillow(quality, channels):
    rough = torch.rand(1, channels, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.double)
    smooth = torch.nn.functional.interpolate(rough, size=(32, 48), mode="bicubic").clamp(0.1, 0.9)
    bytes_ = (255 * smooth).round()
    g = JPEG((channels, 32, 48), quality=quality, subsampling=False)
    ours = 127.5 * (g.pinv(g(bytes_ / 127.5 - 1)) + 1)
    file, mode = io.BytesIO(), "RGB" if channels == 3 else "L"
    Image.fromarray(bytes_[0].permute(1, 2, 0).squeeze(2).byte().numpy(), mode).save(
        file, "JPEG", quality=quality, subsampling=0
    )
    decoded = np.asarray(Image.open(file)).astype(float).reshape(32, 48, channels)
    theirs = torch.from_numpy(decoded).permute(2, 0, 1)[None]
    lost = (theirs - bytes_).abs().mean()
    assert (ours - theirs).abs().mean() < min(1.0, 0.6 * lost)  # whole colours in the file, and the odd coefficient


@pytest.mark.parametrize("quality", [1, 9, 13, 37, 48, 60, 100])
def test_jpeg_s_tables_are_those_of_pillow_s_files(quality):
    file = io.BytesIO()
    Image.new("RGB", (16, 16)).save(file, "JPEG", quality=quality)
    g = JPEG((3, 16, 16), quality=quality)
    for number, backwards in enumerate(g.backwards):
        found = backwards.values.norm(dim=1)  # the cosines are of norm 1
        assert found.round().int().tolist() == list(Image.open(file).quantization[number])


def test_gradients_pass_jpeg_s_rounding():
    g = JPEG((3, 16, 16))
    x = torch.randn(1, 3, 16, 16, requires_grad=True)
    (g(x) * torch.randn(g(x).shape)).sum().backward()
    assert (x.grad.abs() > 0).float().mean() > 0.9


def test_phase_retrieval_sees_magnitudes_of_the_padded_image():
    g, x = PhaseRetrieval((1, 6, 8), oversampling=2), torch.rand(2, 1, 6, 8, dtype=torch.double) * 2 - 1
    assert g.padded == (8, 12)  # a quarter of each side, rounded down, at either end
    spectrum = torch.fft.fft2((x + 1) / 2, s=g.padded) / 96**0.5  # wherever the image is, magnitudes are the same
    torch.testing.assert_close(g(x), spectrum.abs().flatten(1))
    torch.testing.assert_close(g.invert(*g.complete(x)), x)
    torch.testing.assert_close(g(x.flip(2, 3)), g(x))  # what can't be told
    step = g.back_project(torch.rand(2, 1, 6, 8, dtype=torch.double), g(x))
    for _ in range(20):  # error reduction
        before, step = (g(step) - g(x)).norm(), g.back_project(step, g(x))
        assert (g(step) - g(x)).norm() < before


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Clipping((3, 8, 8), 1.0), "factor must be above 1"),
        (lambda: JPEG((3, 24, 24)), "blocks of 16x16 pixels, which 24x24 pixels don't divide into. operator.subs"),
        (lambda: JPEG((1, 12, 8)), "blocks of 8x8 pixels"),
        (lambda: JPEG((2, 16, 16)), "1 or 3 channels"),
        (lambda: JPEG((3, 16, 16), quality=0), "from 1 to 100"),
        (lambda: JPEG((3, 16, 16), quality=10.5), "from 1 to 100"),
        (lambda: PhaseRetrieval((3, 8, 8), -1), "at least 0"),
    ],
)
def test_degradations_that_can_not_be_are_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()
