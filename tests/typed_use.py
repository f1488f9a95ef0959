"""What type checkers make of the package's own interface. mypy reads this; nothing runs it."""

from typing import assert_type

from torch import Tensor

from spnn import SPNN, Completion, Session
from spnn.sampling.drawn import Drawn
from spnn.sampling.models import Models


def with_a_session(images: Tensor) -> None:
    session = Session.load()
    assert_type(session, Session)
    assert_type(session.models, Models)
    assert_type(session.outputs(images), Tensor)
    drawn = session.edit(images, {"Smiling": "yes"}, steps=20)
    assert_type(drawn, Drawn)
    assert_type(drawn.images, Tensor)


def with_a_network(x: Tensor, y: Tensor) -> None:
    network = SPNN.from_pretrained("a/network")
    assert_type(network, SPNN)
    assert_type(network.complete(x), Completion)
    assert_type(network.pinv(y), Tensor)
    assert_type(network.back_project(x, y), Tensor)
