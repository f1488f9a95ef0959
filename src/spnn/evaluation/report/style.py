"""The look of the report: light or dark as the reader's system says, and narrow enough for a phone."""

from spnn.evaluation.figures import COLOURS

__all__ = ["STYLE"]

# On black, the darkest of the colours would not be seen.
_ON_BLACK = {"#000000": "#F0E442", "#0072B2": "#3DA5E0"}


def _variables(colours: list[str]) -> str:
    return " ".join(f"--series-{i}: {colour};" for i, colour in enumerate(colours))


STYLE = f"""
:root {{
  color-scheme: light dark;
  --ground: #ffffff; --card: #f5f6f7; --text: #1b1f23; --faint: #57606a; --line: #d0d7de; --heat: 0, 114, 178;
  {_variables(COLOURS)}
}}
@media (prefers-color-scheme: dark) {{
  :root {{
    --ground: #14171a; --card: #1f2429; --text: #e6e9ec; --faint: #a2abb4; --line: #3a424a; --heat: 61, 165, 224;
    {_variables([_ON_BLACK.get(colour, colour) for colour in COLOURS])}
  }}
}}
* {{ box-sizing: border-box; }}
body {{ margin: 0; background: var(--ground); color: var(--text); font: 16px/1.5 system-ui, sans-serif; }}
main {{ max-width: 76rem; margin: 0 auto; padding: 1rem; }}
h1 {{ font-size: 1.6rem; line-height: 1.2; overflow-wrap: anywhere; }}
h2 {{ font-size: 1.3rem; margin-top: 2.5rem; padding-top: 0.8rem; border-top: 1px solid var(--line); }}
h3 {{ font-size: 1rem; margin: 1.6rem 0 0.5rem; }}
p, li {{ max-width: 44rem; }}
nav {{ display: flex; flex-wrap: wrap; gap: 0.3rem 1rem; }}
a {{ color: var(--series-0); }}
.faint {{ color: var(--faint); font-size: 0.9rem; }}
.scroll {{ overflow-x: auto; max-width: 100%; }}
table {{ border-collapse: collapse; font-size: 0.85rem; font-variant-numeric: tabular-nums; }}
th, td {{ padding: 0.3rem 0.6rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }}
th {{ font-weight: 600; }}
th:first-child, td:first-child {{ text-align: left; position: sticky; left: 0; background: var(--ground); }}
.text {{ text-align: left; }}
td.long {{ white-space: normal; min-width: 12rem; }}
.legend {{ display: flex; flex-wrap: wrap; gap: 0.2rem 1rem; font-size: 0.85rem; margin: 0.4rem 0; }}
.legend i {{ display: inline-block; width: 0.8rem; height: 0.8rem; margin-right: 0.35rem; border-radius: 2px; }}
.bars {{ display: grid; grid-template-columns: minmax(6rem, 9.5rem) 1fr 3.2rem; gap: 0.35rem 0.6rem; font-size: 0.8rem;
  align-items: center; max-width: 48rem; line-height: 1.15; }}
.bars .tracks {{ background: var(--card); display: grid; gap: 1px; padding: 1px 0; }}
.bars .tracks i {{ display: block; height: 0.3rem; }}
.bars .value {{ text-align: right; font-variant-numeric: tabular-nums; color: var(--faint); }}
.charts {{ display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 22rem), 1fr)); gap: 0 1.5rem; }}
svg {{ width: 100%; max-width: 34rem; height: auto; display: block; }}
svg text {{ fill: var(--text); font-size: 15px; }}
svg .axis {{ stroke: var(--faint); }}
svg .grid {{ stroke: var(--line); }}
svg polyline {{ fill: none; stroke-width: 2.2; stroke-linejoin: round; }}
.tiles {{ border-spacing: 2px; border-collapse: separate; margin-bottom: 0.8rem; }}
.tiles th, .tiles td {{ border: 0; padding: 0; text-align: center; font-weight: 400; font-size: 0.75rem;
  white-space: pre-line; vertical-align: top; line-height: 1.2; }}
.tiles th:first-child {{ padding-right: 0.5rem; vertical-align: middle; min-width: 4.5rem; }}
.tiles img {{ width: 8rem; display: block; image-rendering: pixelated; }}
.paper {{ background: #ffffff; padding: 0.5rem; border-radius: 4px; }}
.paper img {{ display: block; min-width: 40rem; width: 100%; }}
pre {{ background: var(--card); padding: 0.8rem; overflow-x: auto; font-size: 0.8rem; }}
summary {{ cursor: pointer; margin: 0.5rem 0; }}
@media (max-width: 30rem) {{ body {{ font-size: 15px; }} .tiles img {{ width: 6rem; }} }}
@media print {{ details {{ display: none; }} }}
"""
