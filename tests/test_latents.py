"""The variants of the pseudo-inverse; the laws that all of them keep are in test_surjection.py."""

import copy
import gc
import weakref

import pytest
import torch

from spnn import SPNN
from spnn.errors import InputError
from spnn.latents import with_pinv
from spnn.networks import SurjectiveCoupling


@pytest.fixture
def net() -> SPNN:
    net = SPNN((3, 8, 8), [{"unshuffle": 4, "channels": 6}, {"unshuffle": 2, "channels": 5}], hidden=8)
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return net.requires_grad_(False)


def test_variants_share_the_surjection_and_differ_in_the_pseudo_inverse(net):
    x, y = torch.randn(2, 3, 8, 8), torch.randn(2, 5)
    variants = [with_pinv(net, pinv) for pinv in ("trained", "random", "zero", "closed_form")]
    images = [variant.pinv(y) for variant in variants]
    for i, variant in enumerate(variants):
        torch.testing.assert_close(variant(x), net(x))
        torch.testing.assert_close(variant(images[i]), y, rtol=0, atol=1e-5)
        assert not any(torch.allclose(images[i], other, atol=1e-3) for other in images[:i])
    assert variants[0] is net


def test_latents_are_what_their_name_says(net):
    y = torch.randn(2, 5)
    zero = net.complete(torch.zeros(2, 3, 8, 8)).z
    torch.testing.assert_close(with_pinv(net, "closed_form").complete_pinv(y).z, zero)
    torch.testing.assert_close(with_pinv(net, "zero").complete_pinv(y).z, [torch.zeros_like(z) for z in zero])


def test_random_weights_follow_their_seed(net):
    y = torch.randn(2, 5)
    torch.testing.assert_close(with_pinv(net, "random", seed=1).pinv(y), with_pinv(net, "random", seed=1).pinv(y))
    assert not torch.allclose(with_pinv(net, "random", seed=1).pinv(y), with_pinv(net, "random", seed=2).pinv(y))


def test_random_weights_are_drawn_once_for_each_state_of_the_surjection(net):
    own = copy.deepcopy(net)
    first = with_pinv(own, "random")
    assert with_pinv(own, "random") is first
    with torch.no_grad():
        next(own.parameters()).mul_(-1)
    x, changed = torch.randn(2, 3, 8, 8), with_pinv(own, "random")
    torch.testing.assert_close(changed(x), own(x))
    left = weakref.ref(own), weakref.ref(changed)
    del own, changed
    gc.collect()
    assert [reference() for reference in left] == [None, None]


def test_closed_form_follows_the_weights_and_is_computed_once(net):
    natural, y = with_pinv(net, "closed_form"), torch.randn(2, 5)
    before = natural.pinv(y)
    passes = []
    complete = net.complete
    net.complete = lambda x: passes.append(None) or complete(x)
    natural.pinv(y)
    assert not passes
    with torch.no_grad():
        next(net.parameters()).mul_(-1)
    after = natural.pinv(y)
    assert len(passes) == 1
    torch.testing.assert_close(net(after), y, rtol=0, atol=1e-5)
    torch.testing.assert_close(net.complete(after).z, net.complete(torch.zeros_like(after)).z, rtol=0, atol=1e-4)
    assert not torch.allclose(before, after)


def test_latents_follow_the_size_and_precision_of_the_target():
    block = with_pinv(SurjectiveCoupling(3, 5, unshuffle=2, hidden=4), "closed_form")
    for size, dtype in ((4, torch.float), (3, torch.float), (3, torch.double)):
        y = torch.randn(0 if size == 4 else 2, 5, size, size, dtype=dtype)
        assert block.to(dtype).pinv(y).shape == (len(y), 3, 2 * size, 2 * size)


def test_unknown_variants_are_named(net):
    with pytest.raises(InputError, match="no pseudo-inverse is called 'best'; choose one of trained, random"):
        with_pinv(net, "best")
