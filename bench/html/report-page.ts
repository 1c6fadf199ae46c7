// bench/html: results as one HTML page without external resources, for light and dark, wide and narrow screens. Pure.
import { type Origin, originLine } from '../origin.ts';
import { escapeMarkup } from './markup.ts';

export interface ReportTable {
  readonly head: readonly string[];
  /** The first cell of a row names it; the others are figures. */
  readonly rows: readonly (readonly string[])[];
}

export interface ReportSection {
  readonly heading: string;
  /** Introduction of the section, a paragraph each. */
  readonly text?: readonly string[];
  /** SVG, as `barChart` returns it. */
  readonly charts?: readonly string[];
  /** One line each, after the charts. */
  readonly remarks?: readonly string[];
  /** The figures, in a table that is folded up at first. */
  readonly table?: ReportTable;
}

export interface ReportPage {
  readonly title: string;
  /** The result, in a sentence or two. */
  readonly lead: string;
  readonly origin: Origin;
  /** Addresses by the word that becomes a link wherever it is in the text. */
  readonly links?: Readonly<Record<string, string>>;
  /** Names of the colours, by `series` of the bars. */
  readonly legend: readonly string[];
  readonly sections: readonly ReportSection[];
  /** Machine, rounds, how to read it: a line each. */
  readonly footer: readonly string[];
}

const STYLE = `
:root{color-scheme:light dark;--ink:light-dark(#1a1c20,#e6e7ea);--soft:light-dark(#5c6470,#9aa3b0);--line:light-dark(#d9dde3,#343a44);
--paper:light-dark(#fdfdfc,#15171b);--card:light-dark(#fff,#1c1f25);--s0:light-dark(#b3560b,#f0a04b);--s1:light-dark(#0a6ebd,#5bb0f5);
--s2:light-dark(#0b8562,#3ecf9f);--s3:light-dark(#8b4fa8,#c990e6);--s4:light-dark(#5c6470,#9aa3b0)}
body{margin:0 auto;max-width:76rem;padding:2rem 1.25rem 4rem;background:var(--paper);color:var(--ink);
font:16px/1.5 system-ui,sans-serif}
h1{font-size:1.7rem;line-height:1.2;margin:0 0 .5rem}h2{font-size:1.15rem;margin:2.5rem 0 .25rem}
p{max-width:48rem;margin:.25rem 0}.lead{font-size:1.1rem}.legend{display:flex;flex-wrap:wrap;gap:.25rem 1.25rem;margin:1rem 0 0;padding:0;list-style:none}
.legend i{display:inline-block;width:.9em;height:.9em;border-radius:2px;margin-right:.4em;vertical-align:-.08em}
.charts{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,21rem),1fr));gap:1rem;margin:.75rem 0}
figure{margin:0;padding:1rem;background:var(--card);border:1px solid var(--line);border-radius:8px}
svg{display:block;width:100%;max-width:27rem;height:auto;font:13.5px system-ui,sans-serif;fill:var(--ink)}
.title{font-size:15px;font-weight:600}.group{fill:var(--ink)}.tick{fill:var(--soft)}.end{text-anchor:end}.middle{text-anchor:middle}
.grid{stroke:var(--line)}.base{stroke:var(--soft)}rect{opacity:.85}path{fill:none;stroke:var(--ink);opacity:.75}
circle{fill:var(--ink);opacity:.35}.value{font-variant-numeric:tabular-nums}
.remarks{max-width:56rem;padding-left:1.1rem;margin:.5rem 0}.remarks li{margin:.3rem 0}
details{margin:.5rem 0}summary{cursor:pointer;color:var(--soft)}.wide{overflow-x:auto}
table{border-collapse:collapse;font-size:.82rem;font-variant-numeric:tabular-nums}th,td{padding:.2rem .7rem;border-bottom:1px solid var(--line);text-align:right;white-space:nowrap}th{white-space:normal;vertical-align:bottom;min-width:5em}
th:first-child,td:first-child{text-align:left}footer{margin-top:3rem;color:var(--soft);font-size:.85rem}
${[0, 1, 2, 3, 4].map((series) => `.s${series} rect{fill:var(--s${series})}.legend .s${series}{background:var(--s${series})}`).join('')}
a{color:inherit}.origin{color:var(--soft);font-size:.85rem;overflow-wrap:anywhere}
@media (max-width:30rem){body{padding:1rem .75rem 3rem}figure{padding:.5rem}}
@media print{details::details-content{content-visibility:visible;display:block;block-size:auto}summary{list-style:none}
.wide{overflow:visible}table{font-size:6.5pt;width:100%}th,td{padding:.1rem .2rem}th{min-width:0}td:first-child{white-space:normal}
figure,tr{break-inside:avoid}}`;

/** Returns a whole HTML document. */
export function reportPage({ title, lead, origin, links = {}, legend, sections, footer }: ReportPage): string {
  const names = legend.map((name, series) => `<li><i class="s${series}"></i>${escapeMarkup(name)}</li>`).join('');
  const page = new Sentences(links);
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escapeMarkup(title)}</title>
<style>${STYLE}</style>
<main>
<h1>${escapeMarkup(title)}</h1>
<p class="lead">${page.sentence(lead)}</p>
<p class="origin">${escapeMarkup(originLine(origin))}</p>
<ul class="legend">${names}</ul>
${sections.map((section) => page.section(section)).join('\n')}
</main>
<footer>${footer.map((text) => page.paragraph(text)).join('\n')}</footer>
</html>
`;
}

/** Text in which some words are links. */
class Sentences {
  readonly #links: Readonly<Record<string, string>>;
  readonly #words: RegExp | undefined;

  constructor(links: Readonly<Record<string, string>>) {
    this.#links = links;
    const words = Object.keys(links).map((word) => word.replaceAll(/\W/g, '\\$&'));
    if (words.length > 0) this.#words = new RegExp(`(${words.join('|')})`, 'g');
  }

  sentence(text: string): string {
    if (this.#words === undefined) return escapeMarkup(text);
    const parts = text.split(this.#words);
    return parts.map((part) => this.#linked(part)).join('');
  }

  #linked(part: string): string {
    const href = this.#links[part];
    return href === undefined ? escapeMarkup(part) : `<a href="${escapeMarkup(href)}">${escapeMarkup(part)}</a>`;
  }

  paragraph(text: string): string {
    return `<p>${this.sentence(text)}</p>`;
  }

  section({ heading, text = [], charts = [], remarks = [], table }: ReportSection): string {
    const figures = charts.map((chart) => `<figure>${chart}</figure>`).join('\n');
    const points = remarks.map((remark) => `<li>${this.sentence(remark)}</li>`).join('\n');
    return [
      `<section><h2>${escapeMarkup(heading)}</h2>`,
      ...text.map((one) => this.paragraph(one)),
      figures && `<div class="charts">${figures}</div>`,
      points && `<ul class="remarks">${points}</ul>`,
      table && `<details><summary>The figures</summary><div class="wide">${renderTable(table)}</div></details>`,
      '</section>',
    ]
      .filter((part) => part)
      .join('\n');
  }
}

function renderTable({ head, rows }: ReportTable): string {
  const line = (cells: readonly string[], tag: 'th' | 'td'): string =>
    `<tr>${cells.map((cell) => `<${tag}>${escapeMarkup(cell)}</${tag}>`).join('')}</tr>`;
  return `<table>${line(head, 'th')}${rows.map((row) => line(row, 'td')).join('')}</table>`;
}
