"""What the coordinates of ``y = g(x)`` mean: how they are trained, compared, set and worded.

The rest of the code treats ``y`` as a plain tensor. A readout knows that its coordinates are logits of yes-or-no
answers (:class:`Binary`), scores of classes (:class:`Classes`, or :class:`ClassMap` for each cell of a map), numbers
(:class:`Values`), boxes around objects (:class:`Boxes`), or a mixture (:class:`Mixed`). Any other kind of ``y`` needs
its own subclass of :class:`Readout`. A source of images gives its readout as the attribute ``readout``.
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
