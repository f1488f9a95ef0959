from functools import partial

import pytest
import torch

from spnn.diffusion import ImageNoise, NoiseSchedule, Sampler, UNetPrior
from spnn.diffusion.schedule import visited_steps
from spnn.errors import InputError

SCHEDULE = NoiseSchedule()
SHAPE = (1, 4, 4)


def gaussian_prior(deviation: float):
    """The exact prior of independent pixels of that standard deviation."""

    def prior(x, t):
        signal, sigma = SCHEDULE.signal_and_noise(t, x)
        return sigma * x / ((signal * deviation) ** 2 + sigma**2)

    return prior


def test_schedule_is_that_of_ddpm():
    assert SCHEDULE.alpha_bar(-1) == 1
    assert SCHEDULE.alpha_bar(0) == pytest.approx(1 - 1e-4)
    assert SCHEDULE.alpha_bar(1) == pytest.approx((1 - 1e-4) * (1 - (1e-4 + (2e-2 - 1e-4) / 999)))
    assert SCHEDULE.alpha_bar(999) == pytest.approx(4.0358e-5, rel=1e-3)


def test_visited_steps_without_time_travel_fall_evenly():
    assert visited_steps(4) == [750, 500, 250, 0, -1]
    assert visited_steps(100)[:2] == [990, 980]
    assert visited_steps(1) == [0, -1]


def test_visited_steps_with_time_travel_go_back_and_repeat():
    assert visited_steps(4, travel_length=2, travel_repeat=2) == [750, 500, 250, 0, 250, 500, 250, 0, -1]
    for arguments in ((0,), (1001,), (10, 1000, 0), (10, 1000, 1, 0)):
        with pytest.raises(InputError, match=r"must be (1 to 1000|at least 1)"):
            visited_steps(*arguments)


@pytest.mark.parametrize("eta", [0.0, 1.0])
@pytest.mark.parametrize("deviation", [0.3, 1.0])
def test_free_samples_of_a_gaussian_prior_have_its_deviation(eta, deviation):
    samples = Sampler(SCHEDULE, 250, eta=eta)(gaussian_prior(deviation), ImageNoise(range(400), SHAPE))
    assert samples.mean().item() == pytest.approx(0, abs=4 * deviation / samples.numel() ** 0.5)
    assert samples.std().item() == pytest.approx(deviation, rel=0.06)


@pytest.mark.parametrize("prediction", ["epsilon", "sample", "velocity"])
def test_a_prior_that_predicts_its_target_gives_the_noise(prediction):
    prior = UNetPrior(
        (3, 8, 8),
        schedule=SCHEDULE,
        patch=2,
        prediction=prediction,
        block_out_channels=[8, 8],
        down_block_types=["DownBlock2D"] * 2,
        up_block_types=["UpBlock2D"] * 2,
        norm_num_groups=4,
    )
    x0, noise, t = torch.randn(4, 3, 8, 8), torch.randn(4, 3, 8, 8), torch.tensor([10, 200, 500, 999])
    x = SCHEDULE.add_noise(x0, noise, t)
    assert prior(x, t).mean.shape == x.shape  # the real network
    prior.predict = lambda x, t: prior.target(x0, noise, t)  # a perfect one
    torch.testing.assert_close(prior(x, t).noise, noise, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(prior(x, t).mean, x0, rtol=1e-3, atol=1e-3)


def test_sampling_can_start_from_an_image():
    image = torch.rand(3, *SHAPE) * 2 - 1
    prior = gaussian_prior(0.5)
    near, far = (
        Sampler(SCHEDULE, 100, start=start)(prior, ImageNoise(range(3), SHAPE), image=image) for start in (50, 900)
    )
    assert (near - image).square().mean() < 0.1 < 0.2 < (far - image).square().mean()
    assert Sampler(SCHEDULE, 100, start=55).num_steps == 6  # 50, 40, ..., 0
    for arguments in ({"image": image}, {}):
        with pytest.raises(InputError, match="`start` needs an image"):
            Sampler(SCHEDULE, start=None if arguments else 500)(prior, ImageNoise(range(3), SHAPE), **arguments)


def test_priors_and_samplers_refuse_what_they_cannot_do():
    with pytest.raises(InputError, match="patches"):
        UNetPrior((3, 9, 9), patch=2)
    with pytest.raises(InputError, match="'noise'"):
        UNetPrior((3, 8, 8), prediction="noise")
    blocks = {"down_block_types": ["DownBlock2D"], "up_block_types": ["UpBlock2D"], "block_out_channels": [32]}
    with pytest.raises(InputError, match=r"attention_head_dim=64 must divide .*\[32\]"):
        UNetPrior((3, 8, 8), attention_head_dim=64, **blocks)
    with pytest.raises(InputError, match=r"can't be made of these options.*30"):
        UNetPrior((3, 8, 8), **{**blocks, "block_out_channels": [30]})
    with pytest.raises(InputError, match="eta"):
        Sampler(SCHEDULE, eta=2.0)
    with pytest.raises(InputError, match="can't start from step -5"):
        Sampler(SCHEDULE, start=-5)


class PosteriorSample:
    """Draws clean images from what the noisy ones leave open, under a prior of independent pixels."""

    def __init__(self, deviation, fresh_noise=True):
        self.deviation, self.fresh_noise = deviation, fresh_noise

    def guide(self, denoise, x, level):
        left_open = (self.deviation**-2 + (level.signal / level.sigma) ** 2) ** -0.5
        found = denoise(x)
        return found._replace(mean=found.mean + left_open * denoise.noise())


def test_a_guidance_may_draw_clean_images_and_ask_for_new_noise_at_each_step():
    """Then a few steps give the prior's law, not only many."""
    draw = partial(Sampler(SCHEDULE, 3), gaussian_prior(0.5))
    samples = draw(ImageNoise(range(1000), SHAPE), PosteriorSample(0.5))
    assert samples.std().item() == pytest.approx(0.5, rel=0.03)
    torch.testing.assert_close(draw(ImageNoise(range(3), SHAPE), PosteriorSample(0.5)), samples[:3])
    assert draw(ImageNoise(range(1000), SHAPE), PosteriorSample(0.5, fresh_noise=False)).std().item() > 0.55


def test_a_solver_of_second_order_is_nearer_to_the_flow_with_fewer_steps():
    """Of Gaussian pixels, the flow without noise scales each image, which can be computed."""
    deviation, noise = 0.5, torch.randn(2, *SHAPE)

    def error(steps, order):
        sampler = Sampler(SCHEDULE, steps, eta=0.0, order=order)
        alpha = SCHEDULE.alpha_bar(sampler.visited[0])
        expected = noise * deviation / (alpha * deviation**2 + 1 - alpha) ** 0.5
        return (sampler(gaussian_prior(deviation), lambda: noise) - expected).abs().max().item()

    assert error(20, order=2) < error(40, order=1)
    assert error(40, order=2) < error(20, order=2) / 3
    with pytest.raises(InputError, match="order is 1 or 2, got 3"):
        Sampler(SCHEDULE, 10, order=3)


def test_a_solver_of_second_order_keeps_the_law_of_its_noise_and_time_travel():
    sampler = Sampler(SCHEDULE, 50, eta=1.0, order=2, travel_length=5, travel_repeat=2)
    samples = sampler(gaussian_prior(0.5), ImageNoise(range(400), SHAPE))
    assert samples.std().item() == pytest.approx(0.5, rel=0.06)
