import pytest
import torch

from spnn import SPNN
from spnn.diffusion import BackProjection, ImageNoise, NoiseSchedule, PiecewiseStrength, Sampler, UNetPrior
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


def net() -> SPNN:
    plan = [{"unshuffle": 4, "channels": 3, "st": "conv1 8, conv1", "r": "conv1 8, conv1"}]
    net = SPNN(SHAPE, plan)
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return net.requires_grad_(False)


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


def test_an_image_does_not_depend_on_its_batch():
    network, prior = net(), gaussian_prior(0.5)
    targets = network(torch.randn(4, *SHAPE))

    def sample(which):
        guidance = BackProjection(
            network, targets[which], strength=PiecewiseStrength([(600, 0.5), (0, 1.0)]), stop=0.05
        )
        return Sampler(SCHEDULE, 20)(prior, ImageNoise([7 + i for i in which], SHAPE), guidance)

    together = sample([0, 1, 2, 3])
    for i in range(4):
        torch.testing.assert_close(sample([i])[0], together[i], rtol=0, atol=1e-4)


def test_full_back_projection_leads_to_the_target():
    network = net()
    target = network(torch.randn(5, *SHAPE))
    guidance = BackProjection(network, target, strength=PiecewiseStrength([(0, 1.0)]))
    samples = Sampler(SCHEDULE, 20)(gaussian_prior(0.5), ImageNoise(range(5), SHAPE), guidance)
    torch.testing.assert_close(network(samples), target, rtol=0, atol=1e-4)


def test_stopped_images_are_left_alone_and_others_moved():
    network = net()
    x = torch.randn(3, *SHAPE)
    target = network(x)
    target[1] += 3
    for rule in ("nlbp", "naive"):
        guidance = BackProjection(network, target, strength=PiecewiseStrength([(0, 1.0)]), stop=0.05, rule=rule)
        moved = guidance(x, 0)
        assert torch.equal(moved[[0, 2]], x[[0, 2]])
        assert not torch.allclose(moved[1], x[1])


def test_clipping_keeps_pixels_in_range():
    network, noise = net(), ImageNoise(range(4), SHAPE)
    target = network(3 * torch.randn(4, *SHAPE))
    guidance = BackProjection(network, target, strength=PiecewiseStrength([(0, 1.0)]), clip=True)
    for step in Sampler(SCHEDULE, 10, clip=True).trajectory(gaussian_prior(2.0), noise, guidance):
        assert step.x0.abs().max() <= 1


def test_strength_is_constant_between_its_levels():
    strength = PiecewiseStrength([(600, 0.5), (0, 1.0), (400, 0.0)])
    assert [strength(t) for t in (999, 600, 599, 400, 399, 0)] == [0.5, 0.5, 0.0, 0.0, 1.0, 1.0]
    for levels in ([], [(400, 1.0)], [(0, 1.5)]):
        with pytest.raises(InputError):
            PiecewiseStrength(levels)


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
    assert prior(x, t).shape == x.shape  # the real network
    prior.predict = lambda x, t: prior.target(x0, noise, t)  # a perfect one
    torch.testing.assert_close(prior(x, t), noise, rtol=1e-3, atol=1e-3)


def test_priors_and_guidance_refuse_unknown_choices():
    with pytest.raises(InputError, match="patches"):
        UNetPrior((3, 9, 9), schedule=SCHEDULE, patch=2)
    with pytest.raises(InputError, match="'noise'"):
        UNetPrior((3, 8, 8), schedule=SCHEDULE, prediction="noise")
    with pytest.raises(InputError, match="'linear'"):
        BackProjection(net(), torch.zeros(1, 3), strength=PiecewiseStrength([(0, 1.0)]), rule="linear")
    with pytest.raises(InputError, match="eta"):
        Sampler(SCHEDULE, eta=2.0)
