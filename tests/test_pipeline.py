"""A session behind the interface of diffusers' pipelines: the pixels are the session's."""

import numpy as np
import pytest
import torch
from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel
from diffusers.utils import BaseOutput
from PIL import Image

from spnn import Session
from spnn.errors import InputError
from spnn.operators import Inpainting
from spnn.pipeline import NLBPPipeline

STEPS = 6


@pytest.fixture(scope="module")
def session() -> Session:
    return Session.load("digits")


@pytest.fixture(scope="module")
def pipe(session) -> NLBPPipeline:
    return NLBPPipeline(session).to("cpu", torch.float32)


@pytest.fixture(scope="module")
def images(session) -> torch.Tensor:
    """In [0, 1], with the levels of 8 bits, as a PIL image has them."""
    return (session.held_out(3)[0] / 2 + 0.5).mul(255).round() / 255


def drawn_by(session: Session, task: str, *given, **options) -> torch.Tensor:
    values = {"trainer.precision": "32-true", "trainer.accelerator": "cpu"}
    return getattr(session, task)(*given, steps=STEPS, values=values, **options).images / 2 + 0.5


@pytest.mark.parametrize("kind", ["pil", "np", "pt"])
def test_edits_and_reconstructions_are_the_session_s(session, pipe, images, kind):
    given = {
        "pil": [Image.fromarray((255 * image[0]).byte().numpy()).convert("RGB") for image in images],
        "np": images.permute(0, 2, 3, 1).numpy(),
        "pt": images,
    }[kind]
    edited = pipe(given, {"digit": 3}, num_inference_steps=STEPS, generator=4, output_type="pt", others="keep")
    expected = drawn_by(session, "edit", 2 * images - 1, {"digit": 3}, others="keep", seed=4)
    torch.testing.assert_close(edited.images, expected.clamp(0, 1), rtol=0, atol=1e-5)
    assert 0 <= edited.metrics["edit_success"] <= 1
    found = pipe(given, num_inference_steps=STEPS, generator=4, output_type="pt")["images"]
    torch.testing.assert_close(found, drawn_by(session, "reconstruct", 2 * images - 1, seed=4).clamp(0, 1))


def test_new_images_and_solutions_are_the_session_s(session, pipe, images):
    options = {"num_inference_steps": STEPS, "generator": 4, "output_type": "pt"}
    found = pipe(set={"digit": 3}, batch_size=2, **options).images
    torch.testing.assert_close(found, drawn_by(session, "generate", {"digit": 3}, 2, seed=4).clamp(0, 1))
    torch.testing.assert_close(
        pipe(batch_size=2, **options).images, drawn_by(session, "unconditional", 2, seed=4).clamp(0, 1)
    )
    y = session.outputs(2 * images - 1)
    torch.testing.assert_close(pipe(y=y, **options).images, drawn_by(session, "solve", y, seed=4).clamp(0, 1))


def test_outputs_are_as_diffusers_returns_them(pipe):
    options = {"batch_size": 2, "num_inference_steps": 2, "generator": 0}
    tensor = pipe(output_type="pt", **options).images
    array = pipe(output_type="np", **options).images
    output = pipe(**options)
    assert isinstance(output, BaseOutput) and output[0] is output.images and output.images[0].size == (8, 8)
    np.testing.assert_array_equal(array, tensor.permute(0, 2, 3, 1).numpy())
    np.testing.assert_array_equal(np.asarray(output.images[1]), (255 * array[1, ..., 0]).round())
    shown, _ = pipe(return_dict=False, **options)
    assert shown[0].tobytes() == output.images[0].tobytes()


def test_a_generator_goes_on_from_call_to_call(pipe):
    def drawn(generator) -> torch.Tensor:
        return pipe(num_inference_steps=2, generator=generator, output_type="pt").images

    generator = torch.Generator().manual_seed(5)
    first, second = drawn(generator), drawn(generator)
    assert torch.equal(first, drawn(torch.Generator().manual_seed(5))) and not torch.equal(first, second)
    torch.manual_seed(3)
    free = drawn(None)
    torch.manual_seed(3)
    assert torch.equal(free, drawn(None))


def test_a_callback_sees_each_step_and_can_end_the_drawing(pipe):
    seen = []

    def see(own: NLBPPipeline, step: int, timestep: int, tensors: dict[str, torch.Tensor]) -> None:
        assert own is pipe
        seen.append((step, timestep, tensors["x0"]))

    found = pipe(batch_size=2, num_inference_steps=STEPS, output_type="pt", callback_on_step_end=see).images
    assert [step for step, _, _ in seen] == list(range(STEPS))
    timesteps = [timestep for _, timestep, _ in seen]
    assert timesteps == sorted(timesteps, reverse=True) and timesteps[-1] == 0
    torch.testing.assert_close((seen[-1][2] / 2 + 0.5).clamp(0, 1), found)

    def stop(*_: object) -> None:
        raise KeyError("enough")

    with pytest.raises(KeyError, match="enough"):
        pipe(callback_on_step_end=stop)


def test_a_saved_folder_loads_as_a_pipeline_and_as_a_session(pipe, tmp_path):
    pipe.save_pretrained(tmp_path / "mine")
    card = (tmp_path / "mine/README.md").read_text()
    assert 'NLBPPipeline.from_pretrained("mine")' in card
    again = NLBPPipeline.from_pretrained(tmp_path / "mine", torch_dtype=torch.float32).to("cpu")
    options = {"num_inference_steps": 2, "generator": 1, "output_type": "pt"}
    found = again(batch_size=2, **options).images
    torch.testing.assert_close(found, pipe(batch_size=2, **options).images)
    loaded = Session.from_pretrained(tmp_path / "mine")
    values = {"trainer.precision": "32-true", "trainer.accelerator": "cpu"}
    torch.testing.assert_close(
        (loaded.unconditional(2, steps=2, seed=1, values=values).images / 2 + 0.5).clamp(0, 1), found
    )


@pytest.fixture(scope="module")
def ddpm() -> DDPMPipeline:
    torch.manual_seed(0)
    unet = UNet2DModel(
        sample_size=8, block_out_channels=(8, 8), down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"), norm_num_groups=4,
    )  # fmt: skip
    return DDPMPipeline(unet, DDPMScheduler())


def test_a_pipeline_of_diffusers_solves_for_an_operator(ddpm):
    operator = Inpainting(torch.arange(64).reshape(8, 8) % 3 == 0, (3, 8, 8))
    pipe = NLBPPipeline.from_diffusers(ddpm, operator).to("cpu", torch.float32)
    assert all(parameter.requires_grad for parameter in ddpm.unet.parameters())
    y = torch.rand(2, 66) * 2 - 1
    values = {"guidance.clip": False}
    found = pipe(y=y, num_inference_steps=STEPS, guidance="ddnm", output_type="pt", generator=0, values=values).images
    torch.testing.assert_close(operator(2 * found - 1), y, rtol=0, atol=1e-4)
    half = DDPMPipeline(ddpm.unet.half(), ddpm.scheduler)
    again = NLBPPipeline.from_diffusers(half, operator).to("cpu", torch.float32)
    ddpm.unet.float()
    assert again(y=y, num_inference_steps=STEPS, output_type="pt").images.isfinite().all()
    with pytest.raises(InputError, match="only a run can be saved"):
        pipe.save_pretrained("x")
    with pytest.raises(InputError, match="expected a pipeline with a unet and a scheduler, got UNet2DModel"):
        NLBPPipeline.from_diffusers(ddpm.unet, operator)


def test_mistakes_are_named(session, pipe, images):
    for arguments, message in (
        ({"images": 2 * images - 1}, r"expected images in \[0, 1\], as diffusers has them, got -1"),
        ({"images": "face.png"}, "expected images as PIL images, .* got str"),
        ({"images": images / 0}, r"expected images in \[0, 1\]"),
        ({"output_type": "latent"}, "output_type is pil, np or pt, not 'latent'"),
        ({"images": images, "y": session.outputs(images)}, "give wanted outputs, y, or images and labels"),
        ({"generator": [torch.Generator()] * 3}, "expected a generator or a seed, got list"),
        ({"set": {"digitt": 3}}, "did you mean digit"),
        ({"guidanze": "naive"}, "guidanze"),
    ):
        with pytest.raises((InputError, TypeError), match=message):
            pipe(num_inference_steps=2, **arguments)
    with pytest.raises(InputError, match=r"the prior computes in .*, not in torch.float64"):
        pipe.to(torch.float64)
    with pytest.raises(InputError, match="the first device of a kind, not cuda:1"):
        pipe.to("cuda:1")
