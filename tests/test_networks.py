"""Mixing, plans, precision and memory of the networks."""

import copy
from pathlib import Path

import pytest
import torch
import yaml
from torch import nn

from benchmarks.literal import ARCHITECTURES, LiteralSPNN
from spnn import SPNN
from spnn.errors import InputError
from spnn.networks import MIXINGS, SurjectiveCoupling
from spnn.networks.convolution import Conv2d, Upsampling
from spnn.networks.mixing import OrthogonalMixing, build_mixing

CONFIGS = Path(__file__).parents[1] / "conf/network"
CONV = {"st": "conv3 8, conv3", "r": "conv3 8, conv3"}
POINT = {"st": "conv1 8, conv1", "r": "conv1 8, conv1"}


def network(**options) -> SPNN:
    plan = [
        {"unshuffle": 2, "channels": 6, **CONV},
        {"unshuffle": 4, "channels": 20, **POINT},
        {"channels": 4, **POINT},
    ]
    net = SPNN((3, 8, 8), plan, **options)
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=0.1)
    return net


def images(batch: int = 2) -> torch.Tensor:
    return torch.randn(batch, 3, 8, 8)


@pytest.fixture(params=sorted(set(MIXINGS) - {"identity"}))
def mixing(request) -> OrthogonalMixing:
    return build_mixing(request.param, 12)


def computations(mixing: OrthogonalMixing) -> list:
    """A list that grows by one at each computation of ``W``."""
    calls, compute = [], mixing.compute_weight
    mixing.compute_weight = lambda parameter: calls.append(None) or compute(parameter)
    return calls


@pytest.mark.parametrize("name", MIXINGS)
@pytest.mark.parametrize("channels", [1, 2, 12, 200])
def test_mixing_is_orthogonal(name, channels):
    mix = build_mixing(name, channels)
    x = torch.randn(2, channels, 3, 4)
    torch.testing.assert_close(mix.inverse(mix(x)), x, rtol=0, atol=5e-6)
    torch.testing.assert_close(mix(x).norm(dim=1), x.norm(dim=1))
    torch.testing.assert_close(build_mixing("identity", channels)(x), x)
    if name != "identity":
        mix.double()
        identity = torch.eye(channels, dtype=torch.double)
        torch.testing.assert_close(mix.weight @ mix.weight.T, identity, rtol=0, atol=1e-10)


def test_cayley_is_the_cayley_transform():
    mix = build_mixing("cayley", 7).double()
    skew, identity = mix.parameter - mix.parameter.T, torch.eye(7, dtype=torch.double)
    torch.testing.assert_close((identity + skew) @ mix.weight, identity - skew)


def test_weight_is_computed_once_per_model_in_inference(mixing):
    calls = computations(mixing)
    x = torch.randn(1, 12, 2, 2)
    with torch.no_grad():
        mixing.inverse(mixing(x))
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        mixing.inverse(mixing(x))
    assert len(calls) == 1
    assert mixing.weight.dtype == torch.float32


@pytest.mark.parametrize("fused", [False, True])
def test_weight_is_computed_once_per_update_in_training_and_never_stale(mixing, fused):
    calls = computations(mixing)
    optimizer = torch.optim.Adam(mixing.parameters(), lr=0.1, fused=fused)
    x, mixed = torch.randn(1, 12, 2, 2), []
    for step in range(3):
        mixed.append(mixing(x))
        (mixed[-1] * mixing.inverse(x)).sum().backward()
        assert len(calls) == step + 1
        optimizer.step()
        optimizer.zero_grad()
    assert not torch.allclose(mixed[0], mixed[1])
    assert not torch.allclose(mixed[1], mixed[2])


def test_gradients_of_mixing_are_its_slopes(mixing):
    mixing.double()
    x = torch.randn(2, 12, 2, 1, dtype=torch.double, requires_grad=True)

    def mix(x: torch.Tensor, parameter: torch.Tensor) -> torch.Tensor:
        mixing.train()  # gradcheck changes the parameter behind its back
        return mixing(x) * mixing.inverse(x.sin())

    assert torch.autograd.gradcheck(mix, (x, mixing.parameter))
    assert torch.autograd.gradgradcheck(mix, (x, mixing.parameter), fast_mode=True)


def test_weight_follows_parameters_that_come_to_lie_where_others_lay():
    mixing = build_mixing("cayley", 64).requires_grad_(False)
    for _ in range(20):
        for _ in range(2):
            mixing.parameter = nn.Parameter(torch.randn(64, 64), requires_grad=False)
        torch.testing.assert_close(mixing.weight, mixing.compute_weight(mixing.parameter))


def test_weight_looked_at_between_gradient_and_update_is_not_kept(mixing):
    optimizer = torch.optim.SGD(mixing.parameters(), lr=0.1, fused=True)
    x = torch.randn(1, 12, 2, 2)
    mixing(x).square().sin().sum().backward()
    with torch.no_grad():
        before = mixing(x)
        optimizer.step()
        assert not torch.allclose(mixing(x), before)


def test_weight_of_a_frozen_mixing_outlives_the_updates_of_others(mixing):
    calls = computations(mixing.requires_grad_(False))
    other = nn.Parameter(torch.ones(()))
    optimizer = torch.optim.SGD([other], lr=0.1)
    for _ in range(3):
        (other * mixing(torch.randn(1, 12, 2, 2))).sum().backward()
        optimizer.step()
    assert len(calls) == 1


def test_weight_follows_whatever_changes_the_parameter(mixing):
    def assert_current():
        torch.testing.assert_close(mixing.weight, mixing.compute_weight(mixing.parameter), rtol=1e-5, atol=1e-6)

    new = torch.randn_like(mixing.parameter)
    with torch.no_grad():
        assert mixing.weight is mixing.weight
        mixing.parameter.add_(new)
        assert_current()
        mixing.load_state_dict({"parameter": new})
        assert_current()
        mixing.parameter = nn.Parameter(2 * new + 1)
        assert_current()
        mixing.bfloat16().float()
        assert_current()
        mixing.double()
        assert_current()
        assert mixing.weight.dtype == torch.double
        mixing.weight  # noqa: B018
        mixing.parameter.data.copy_(-new)  # as the EMA callback does, around a change of mode
        mixing.eval()
        assert_current()


def test_weight_of_a_copy_is_its_own(mixing):
    mixing(torch.randn(1, 12, 2, 2))  # with a graph
    twin = copy.deepcopy(mixing)
    with torch.no_grad():
        torch.testing.assert_close(twin.weight, mixing.weight)
        twin.parameter.add_(1)
        assert not torch.allclose(twin.weight, mixing.weight)


def test_gradients_with_and_without_inference_between_are_the_same():
    net = network()
    x = images()

    def gradient() -> torch.Tensor:
        net.zero_grad()
        net.pinv(net(x)).square().sum().backward()
        return net.parts[0].mixing.parameter.grad.clone()

    first = gradient()
    with torch.inference_mode():
        net(x)
    with torch.no_grad():
        net(x)
    torch.testing.assert_close(gradient(), first)


def test_backward_passes_accumulate():
    net, x = network(), images(4)
    net.pinv(net(x)).square().sum().backward()
    together = [p.grad.clone() for p in net.parameters()]
    net.zero_grad()
    for half in x.chunk(2):
        net.pinv(net(half)).square().sum().backward()
    torch.testing.assert_close([p.grad for p in net.parameters()], together)


@pytest.mark.slow
def test_compiled_networks_follow_their_weights():
    net, x = SPNN((3, 8, 8), [{"unshuffle": 8, "channels": 4, **POINT}]), images()
    compiled = torch.compile(net, backend="aot_eager")
    with torch.no_grad():
        torch.testing.assert_close(compiled(x), net(x))
        net.parts[0].mixing.parameter.add_(0.5)
        torch.testing.assert_close(compiled(x), net(x))
    compiled(x).sum().backward()
    gradients = [p.grad.clone() for p in net.parameters() if p.grad is not None]
    net.zero_grad()
    net(x).sum().backward()
    torch.testing.assert_close(gradients, [p.grad for p in net.parameters() if p.grad is not None])


@pytest.mark.parametrize("size", [1, 2, 4, 8])
@pytest.mark.parametrize(
    "layer", [Conv2d(5, 6, 3), Conv2d(5, 6, 3, 2), Conv2d(5, 6, 5, 2), Conv2d(5, 6, 1), Upsampling(5, 6)]
)
@pytest.mark.parametrize("many_weights", [True, False])
def test_convolutions_by_matrix_products_equal_the_library_s(layer, size, many_weights, monkeypatch):
    if many_weights:
        monkeypatch.setattr("spnn.networks.convolution._MANY_WEIGHTS", 0)
    x = torch.randn(3, 5, size, size, dtype=torch.double, requires_grad=True)
    layer = copy.deepcopy(layer).double()

    def with_gradients(function) -> list[torch.Tensor]:
        y = function(x)
        return [y, *torch.autograd.grad(y.sin().sum(), [x, layer.weight, layer.bias])]

    base = nn.Conv2d if isinstance(layer, Conv2d) else nn.ConvTranspose2d
    ours, theirs = with_gradients(layer), with_gradients(lambda x: base.forward(layer, x))
    torch.testing.assert_close(ours, theirs)


def test_checkpointing_changes_no_gradient_and_keeps_fewer_activations():
    def kept_and_gradients(checkpoint: bool) -> tuple[int, list[torch.Tensor]]:
        torch.manual_seed(0)
        net, kept = network(checkpoint=checkpoint), []
        with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.numel()) or t, lambda t: t):
            loss = net.pinv(net(images())).square().sum()
        loss.backward()
        return sum(kept), [p.grad for p in net.parameters()]

    (fewer, some), (all_, same) = kept_and_gradients(True), kept_and_gradients(False)
    torch.testing.assert_close(some, same)
    assert fewer < all_


@pytest.mark.parametrize("how", ["autocast", "weights"])
def test_half_precision_keeps_the_identities(how):
    """The inverse is that of the rounded network: errors are those of single precision, not of bfloat16."""
    net, x = network().eval().requires_grad_(False), images()
    if how == "weights":
        net.bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=how == "autocast"):
        torch.testing.assert_close(net.invert(*net.complete(x)), x, rtol=0, atol=1e-4)
        y = torch.randn(2, 4)
        torch.testing.assert_close(net(net.pinv(y)), y, rtol=0, atol=1e-4)
        torch.testing.assert_close(net(net.back_project(x, y)), y, rtol=0, atol=1e-4)


def test_memory_format_changes_nothing():
    net, x = network().eval().requires_grad_(False), images()
    y = net(x)
    net.to(memory_format=torch.channels_last)
    x = x.contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(net(x), y)
    torch.testing.assert_close(net.invert(*net.complete(x)), x, rtol=0, atol=1e-5)


@pytest.mark.parametrize("size", [size for size in ARCHITECTURES if size > 8])
def test_published_plans_in_config_are_the_published_architectures(size):
    arguments = yaml.safe_load((CONFIGS / f"published_{size}.yaml").read_text())
    assert arguments.pop("_target_") == "spnn.SPNN"
    with torch.device("meta"):
        ours = SPNN((3, size, size), outputs=40, **arguments)
        theirs = SPNN.from_published(LiteralSPNN(size).state_dict())
    assert {k: v.shape for k, v in ours.state_dict().items()} == {k: v.shape for k, v in theirs.state_dict().items()}
    for mine, read in zip(ours.parts[:-1], theirs.parts[:-1], strict=True):
        assert [getattr(mine, part).text for part in "str"] == [getattr(read, part).text for part in "str"]


def test_the_network_of_a_thousand_classes_has_the_authors_channels():
    arguments = yaml.safe_load((CONFIGS / "imagenet_256.yaml").read_text())
    arguments.pop("_target_")
    with torch.device("meta"):
        net = SPNN((3, 256, 256), outputs=1000, **arguments)
    kept = [(block.unshuffle, block.channels) for block in net.parts[:-1]]
    assert kept == [(4, 24), (1, 12), (4, 96), (1, 48), (4, 192), (4, 1024), (1, 1000)]
    assert sum(parameter.numel() for parameter in net.parameters()) == 195_469_348


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_network_config_can_be_built(path):
    arguments = yaml.safe_load(path.read_text())
    arguments.pop("_target_")
    size = int(path.stem.rpartition("_")[2]) if path.stem != "digits" else 8
    outputs = 7 * arguments.get("grid", 1) ** 2
    with torch.device("meta"):
        assert SPNN((1 if size == 8 else 3, size, size), outputs=outputs, **arguments).num_outputs == outputs


def test_outputs_can_be_maps():
    plan = [{"unshuffle": 2, "channels": 9}, {"channels": 5}]
    net = SPNN((3, 8, 12), plan, outputs=120, grid=(4, 6), hidden=8)
    x, y = torch.randn(2, 3, 8, 12), torch.randn(2, 120)
    torch.testing.assert_close(net(net.pinv(y)), y, rtol=0, atol=1e-5)
    torch.testing.assert_close(net(x).unflatten(1, (5, 4, 6)), nn.Sequential(*net.parts[:-1])(x))
    with pytest.raises(InputError, match="61 outputs are no maps of 4x6: choose another `grid`"):
        SPNN((3, 8, 12), plan, outputs=61, grid=(4, 6), hidden=8)
    with pytest.raises(InputError, match=r"leaves 4x6 pixels of an image of .*, not the 1x1 of `grid`"):
        SPNN((3, 8, 12), plan, hidden=8)


def test_maps_are_kept_by_a_saved_network(tmp_path):
    net = SPNN((3, 8, 8), [{"unshuffle": 2, "channels": 5}], grid=4, hidden=8)
    net.save_pretrained(tmp_path)
    x = torch.randn(1, 3, 8, 8)
    torch.testing.assert_close(SPNN.from_pretrained(tmp_path)(x), net(x))


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        ([{"unshuffle": 3, "channels": 4, **POINT}], "block 0 of the plan: 8x8 pixels can't be unshuffled by 3"),
        ([{"unshuffle": 0, "channels": 4, **POINT}], "block 0 .* can't be unshuffled by 0"),
        ([{"unshuffle": 4, "channels": 4, **POINT}], "leaves 2x2 pixels"),
        ([{"unshuffle": 8, "channels": 192, **POINT}], "block 0 .* must lower its 192 channels"),
        ([{"unshuffle": 8, "channels": 4, **POINT}, {"channels": 4, **POINT}], "block 1 .* must lower its 4 channels"),
        ([{"unshuffle": 8, "channels": 4, **POINT}, {"channels": 3, "r": "conv1"}], "block 1 .* `st`"),
        ([{"unshuffle": 8, "channels": 4, "st": "conv1"}], "block 0 .* `r`"),
        ([{"unshuffle": 8, "channels": 4, **POINT, "mixing": "random"}], "no mixing is called 'random'"),
        ([{"unshuffle": 8, "channels": 4, "st": "conv1 8 conv1", "r": "conv1"}], "can't read the layer"),
        ([{"unshuffle": 8, "chanels": 4, **POINT}], "block 0 .*chanels"),
        ([{"unshuffle": 2, "channels": 4, "st": "conv3/2 4, conv3", "r": "conv1"}], "block 0 .* `st` turns 4x4 .* 2x2"),
        ([{"unshuffle": 8, "channels": 4, "st": "conv1", "r": "up 4, conv3"}], "block 0 .* `r` turns 1x1 .* 2x2"),
        ([], "no blocks"),
    ],
)
def test_what_is_wrong_with_a_plan_is_said_when_it_is_built(plan, message):
    with pytest.raises(InputError, match=message):
        SPNN((3, 8, 8), plan)


def test_wrong_outputs_and_inputs_are_named():
    with pytest.raises(InputError, match="gives 4 outputs; 5 were requested"):
        network(outputs=5)
    with pytest.raises(InputError, match=r"expected images of shape \[B, 3, 8, 8\]"):
        network()(torch.randn(1, 3, 16, 16))
    with pytest.raises(InputError, match=r"expected outputs of shape \[B, 4\]"):
        network().pinv(torch.randn(1, 5))


def test_a_block_alone_takes_images_of_any_size():
    block = SurjectiveCoupling(3, 5, unshuffle=2, hidden=4)
    for size in (4, 6, 10):
        x = torch.randn(1, 3, size, size)
        torch.testing.assert_close(block.invert(*block.complete(x)), x)
