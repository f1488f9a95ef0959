"""What the coordinates of ``y = g(x)`` say: how they are trained, compared, set and worded.

Everything else takes ``y`` for a tensor. A readout knows that its coordinates are logits of yes-or-no answers
(:class:`Binary`), scores of classes (:class:`Classes`; in each cell of a map, :class:`ClassMap`), numbers
(:class:`Values`), boxes round objects (:class:`Boxes`), or some of each (:class:`Mixed`); another kind of ``y`` is
another subclass of :class:`Readout`. A source of images names its own as ``readout``.
"""

from spnn.readout.base import Readout, Setting, checked
from spnn.readout.binary import LOGITS, Binary
from spnn.readout.boxes import Boxes
from spnn.readout.classes import Classes
from spnn.readout.maps import ClassMap
from spnn.readout.mixed import Mixed
from spnn.readout.values import VALUES, Values

__all__ = [
    "LOGITS",
    "VALUES",
    "Binary",
    "Boxes",
    "ClassMap",
    "Classes",
    "Mixed",
    "Readout",
    "Setting",
    "Values",
    "checked",
]
