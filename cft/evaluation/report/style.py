"""How a report looks: one light column, tables that breathe, a font that shapes Devanagari.

Fonts are named and never shipped. The list begins with what Linux, macOS, Windows and Android
bring for Devanagari, each of which shapes conjuncts; the last resort is whatever the system has.
"""

DEVANAGARI_FONTS = (
    '"Noto Sans Devanagari", "Noto Serif Devanagari", "Kohinoor Devanagari", "Devanagari MT", '
    '"Nirmala UI", "Mangal", "Lohit Devanagari", "Sanskrit 2003", sans-serif'
)

STYLE = f"""
:root {{ color-scheme: light; --ink: #222; --faint: #666; --line: #ddd; --wash: #f6f7f9;
  --good: #00694d; --warn: #8a3b00; }}
* {{ box-sizing: border-box; }}
body {{ margin: 0; background: #fff; color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif; }}
main {{ max-width: 1080px; margin: 0 auto; padding: 28px 24px 64px; }}
h1 {{ font-size: 1.7rem; line-height: 1.25; margin: 0 0 4px; }}
h2 {{ font-size: 1.25rem; margin: 40px 0 10px; padding-top: 12px;
  border-top: 1px solid var(--line); }}
h3 {{ font-size: 1.05rem; margin: 22px 0 6px; }}
p {{ margin: 8px 0; max-width: 46em; }}
.lead {{ font-size: 1.1rem; }}
.faint, figcaption {{ color: var(--faint); font-size: .9rem; }}
.note {{ border-left: 4px solid var(--warn); background: #fff6ef; padding: 8px 14px;
  margin: 14px 0; }}
nav {{ margin: 14px 0; font-size: .95rem; }}
nav a {{ margin-right: 16px; }}
a {{ color: #0b5a91; }}
.scroll {{ overflow-x: auto; margin: 10px 0 14px; }}
table {{ border-collapse: collapse; font-size: .92rem; }}
th, td {{ text-align: left; vertical-align: top; padding: 5px 12px 5px 0;
  border-bottom: 1px solid var(--line); }}
th {{ font-weight: 600; white-space: nowrap; border-bottom: 2px solid #bbb; }}
td.n, th.n {{ text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap;
  padding-left: 12px; }}
td .i {{ color: var(--faint); font-size: .86em; }}
td b {{ color: var(--good); }}
tr.part td {{ border-bottom: 2px solid #bbb; }}
table.texts {{ width: 100%; table-layout: auto; }}
table.texts td {{ padding-top: 8px; padding-bottom: 8px; }}
.id {{ color: var(--faint); font-size: .85em; white-space: nowrap; }}
.sa {{ font-family: {DEVANAGARI_FONTS}; font-size: 1.06em; line-height: 1.65; }}
.near {{ display: block; margin: 0 0 4px; }}
.cos {{ font-variant-numeric: tabular-nums; color: var(--faint); margin-right: 6px; }}
figure {{ margin: 14px 0 22px; }}
img {{ max-width: 100%; height: auto; display: block; }}
details {{ margin: 10px 0; }}
summary {{ cursor: pointer; padding: 4px 0; color: #0b5a91; }}
@media print {{ main {{ max-width: none; padding: 0; }} section {{ break-inside: auto; }} }}
"""
