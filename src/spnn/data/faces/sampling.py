"""Which attributes a face has: forty booleans with plausible correlations."""

import numpy as np

from spnn.data.attributes import CELEBA_ATTRIBUTES

__all__ = ["sample_attributes"]


class _Lots:
    """One uniform number per attribute, drawn at once, and the booleans decided from them so far."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.draw = dict(zip(CELEBA_ATTRIBUTES, rng.random(len(CELEBA_ATTRIBUTES)).tolist(), strict=True))
        self.on: dict[str, bool] = {}

    def decide(self, name: str, probability: float) -> bool:
        self.on[name] = self.draw[name] < probability
        return self.on[name]


def sample_attributes(rng: np.random.Generator) -> np.ndarray:
    """Draw forty booleans with plausible correlations, none of them rarer than about one in sixteen."""
    lots = _Lots(rng)
    male = lots.decide("Male", 0.48)
    young = lots.decide("Young", 0.62)
    _sample_hair(lots, male, young)
    _sample_beard(lots, male)
    _sample_features(lots, male, young)
    _sample_accessories(lots, male, young)
    return np.array([lots.on[name] for name in CELEBA_ATTRIBUTES])


def _sample_hair(lots: _Lots, male: bool, young: bool) -> None:
    bald = lots.decide("Bald", (0.2 if young else 0.3) if male else 0.02)
    hat = lots.decide("Wearing_Hat", 0.0 if bald else 0.2)
    bangs = lots.decide("Bangs", 0.0 if bald else 0.18 if male else 0.35)
    lots.decide("Receding_Hairline", 0.0 if bald or bangs or hat else 0.4 if male or not young else 0.1)

    # At most one colour and at most one texture: one number falls into one share of the unit interval, or into none.
    gray, blond = (0.06 if young else 0.42), (0.14 if male else 0.24)
    colours = {"Gray_Hair": gray, "Blond_Hair": blond, "Black_Hair": 0.34 - 0.3 * gray, "Brown_Hair": 0.34 - 0.3 * gray}
    textures = {"Wavy_Hair": 0.28 if male else 0.4, "Straight_Hair": 0.34}
    for shares, position in ((colours, lots.draw["Black_Hair"]), (textures, lots.draw["Wavy_Hair"])):
        for name, share in shares.items():
            lots.on[name] = not bald and 0.0 <= position < share
            position -= share


def _sample_beard(lots: _Lots, male: bool) -> None:
    bearded = not lots.decide("No_Beard", 0.4 if male else 1.0)
    for part in ("5_o_Clock_Shadow", "Goatee", "Mustache", "Sideburns"):
        lots.decide(part, 0.42 if bearded else 0.0)


def _sample_features(lots: _Lots, male: bool, young: bool) -> None:
    lots.decide("Attractive", 0.58 if young else 0.35)
    lots.decide("Arched_Eyebrows", 0.2 if male else 0.5)
    lots.decide("Bushy_Eyebrows", 0.4 if male else 0.15)
    lots.decide("Bags_Under_Eyes", 0.18 if young else 0.4)
    lots.decide("Narrow_Eyes", 0.28)
    lots.decide("Pale_Skin", 0.2)

    chubby = lots.decide("Chubby", 0.25)
    lots.decide("Double_Chin", 0.55 if chubby else 0.1)
    lots.decide("Oval_Face", 0.25 if chubby else 0.45)
    lots.decide("High_Cheekbones", 0.3 if chubby else 0.45)
    lots.decide("Big_Nose", 0.4 if male else 0.25)
    lots.decide("Pointy_Nose", 0.35)
    lots.decide("Big_Lips", 0.25 if male else 0.4)
    smiling = lots.decide("Smiling", 0.48)
    lots.decide("Mouth_Slightly_Open", 0.6 if smiling else 0.3)
    lots.decide("Blurry", 0.12)


def _sample_accessories(lots: _Lots, male: bool, young: bool) -> None:
    makeup = lots.decide("Heavy_Makeup", 0.04 if male else 0.5)
    lots.decide("Wearing_Lipstick", 0.04 if male else 0.8 if makeup else 0.35)
    lots.decide("Rosy_Cheeks", 0.12 if male else 0.45 if makeup else 0.3)
    lots.decide("Eyeglasses", 0.15 if young else 0.28)
    lots.decide("Wearing_Earrings", 0.08 if male else 0.5)
    lots.decide("Wearing_Necklace", 0.08 if male else 0.42)
    lots.decide("Wearing_Necktie", 0.42 if male else 0.05)
