"""The parts of a face for which CelebAMask-HQ has masks, a file for each, as regions of rendered faces.

References:
    MaskGAN (Lee et al., 2020), https://github.com/switchablenorms/CelebAMask-HQ; its ``g_mask.py`` lays the parts over
    each other in this order
"""

import numpy as np

from spnn.data.faces.measures import REGIONS
from spnn.data.masks import pixels
from spnn.errors import InputError

__all__ = ["PARTS", "read_parts"]

PARTS = {
    "skin": "skin", "nose": "skin", "eye_g": "glasses", "l_eye": "eyes", "r_eye": "eyes", "l_brow": "hair",
    "r_brow": "hair", "l_ear": "skin", "r_ear": "skin", "mouth": "skin", "u_lip": "skin", "l_lip": "skin",
    "hair": "hair", "hat": "hat", "ear_r": "clothes", "neck_l": "clothes", "neck": "skin", "cloth": "clothes",
}  # fmt: skip
"""The region of each part; ``ear_r`` is an earring and ``neck_l`` a necklace. A later part covers an earlier one."""


def read_parts(image: str, *masks: str) -> np.ndarray:
    """Return the region of each pixel as its place in :data:`~spnn.data.faces.measures.REGIONS`, uint8 [H, W].

    Arguments:
        image: The image's file, for messages.
        masks: Files such as ``00000_l_eye.png``, in the order of :data:`PARTS`; pixels that show the part aren't black.

    Raises:
        InputError: If there are no masks, they differ in size, or one can't be read.
    """
    regions = None
    for path in masks:
        shown = pixels(path, "L") > 0
        regions = np.zeros(shown.shape, np.uint8) if regions is None else regions
        if shown.shape != regions.shape:
            raise InputError(f"{path} has another size than the masks of other parts of {image}.")
        part = path.rpartition("/")[2].partition("_")[2].removesuffix(".png")
        regions[shown] = REGIONS.index(PARTS[part])
    if regions is None:
        raise InputError(f"there is no mask of any part of {image}.")
    return regions
