"""Procedural cartoon portraits with the forty attributes of CelebA.

A picture is drawn from forty booleans and from a vector of random numbers (the nuisance: pose, colours, hair length,
gaze ...) in unit coordinates, x to the right and y down, so the same face can be had at any size.  The attributes
follow one fixed code book:

===================  ===================================================================================
Attribute            What is drawn when it is on (and, after a slash, when it is off)
===================  ===================================================================================
5_o_Clock_Shadow     blue-grey tint over the whole lower face
Arched_Eyebrows      brows with a high peak / flat brows
Attractive           larger eyes with bright turquoise irises and catch-lights / dark brown irises
Bags_Under_Eyes      violet crescents under the eyes
Bald                 bare, shiny scalp
Bangs                fringe over the forehead
Big_Lips             lips about twice as thick
Big_Nose             nose about twice as wide and high
Black_Hair           black hair; with no hair colour on (and not bald) the hair is ginger
Blond_Hair           yellow hair
Blurry               Gaussian blur of about 0.8 pixels at 32 pixels, in proportion at other sizes
Brown_Hair           brown hair
Bushy_Eyebrows       thick brows / thin brows
Chubby               wide face with full cheeks
Double_Chin          second fold of skin below the chin
Eyeglasses           dark frames around both eyes, with bridge and temples
Goatee               patch of beard on the chin
Gray_Hair            light grey hair
Heavy_Makeup         strong coloured eye shadow between eye and brow
High_Cheekbones      dark slanting hollow under a light ridge on each cheek
Male                 thick neck, broad shoulders, wider jaw, mostly short hair / lashes, mostly long hair
Mouth_Slightly_Open  dark opening with teeth between the lips
Mustache             band of beard above the upper lip
Narrow_Eyes          eyes of half the height
No_Beard             clean jaw line / a beard along the jaw line
Oval_Face            long face with a tapering chin / short face with a broad chin
Pale_Skin            porcelain skin / light peach to brown
Pointy_Nose          long two-toned kite from between the eyes / round button
Receding_Hairline    high hairline with bare temples
Rosy_Cheeks          red discs on the cheeks
Sideburns            broad strips of beard in front of the ears
Smiling              wide mouth with raised corners / straight mouth
Straight_Hair        straight strands, blunt ends / neither: plain smooth hair
Wavy_Hair            scalloped outline and curly strands
Wearing_Earrings     turquoise drops with a dark rim below the ears
Wearing_Hat          coloured hat with a brim; the hair below it is chin-length or longer
Wearing_Lipstick     saturated red or pink lips / lips close to the skin
Wearing_Necklace     string of pearls around the neck
Wearing_Necktie      tie between two white collar tips
Young                smooth skin / lines on the forehead, beside the eyes and from nose to mouth
===================  ===================================================================================

Where attributes contradict each other, which :func:`sample_attributes` avoids, baldness wins over hair and a receding
hairline over a fringe, and a hat covers a bald or receding top.
"""

from spnn.data.faces.rendering import make_face, render_face
from spnn.data.faces.sampling import sample_attributes

__all__ = ["make_face", "render_face", "sample_attributes"]
