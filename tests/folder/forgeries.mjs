// Ways to forge a page: each changes its HTML, and has to be found with a sentence about it.

const replaced = (html, from, to) => {
  const after = html.replace(from, to);
  if (after === html) throw new Error(`nothing to replace: ${from}`);
  return after;
};
// One character of base64 for another, which keeps its form.
const other = (char) => (char === 'A' ? 'B' : 'A');
const flipped = (text, at) => text.slice(0, at) + other(text[at]) + text.slice(at + 1);
// Base64 as HTML has it, with `/` as a reference: a character of it and not of a reference.
const flipped_html = (html, at) => flipped(html.replaceAll('&#x2f;', '/'), at);
const DATA = /(<script type="application\/json" id="data">)(.*?)(<\/script>)/s;
export const data_of = (html) => JSON.parse(html.match(DATA)[2]);
const with_data = (html, change) => {
  const data = data_of(html);
  change(data);
  const text = JSON.stringify(data).replaceAll('<', '\\u003c').replaceAll('>', '\\u003e').replaceAll('&', '\\u0026');
  return html.replace(DATA, (_, begin, __, end) => begin + text + end);
};
const ENTRY = /<li id="e\d+"[\s\S]*?<\/details>\s*<\/li>/g;
const entries = (html) => html.match(ENTRY);
const permit = (html) => entries(html).find((one) => one.includes('data-class="permitted"'));
const in_permit = (html, from, to) => {
  const entry = permit(html);
  return html.replace(entry, () => replaced(entry, from, to));
};
const plus_one = (_, before, number, after) => `${before}${Number(number) + 1}${after}`;

// Name, forgery, the catalogue's key of a sentence that has to be among the findings.
export const FORGERIES = [
  ['a total is edited', (h) => replaced(h, /(data-total="permitted"[^>]*>)(\d+)(<)/, plus_one), 'folder.js.total'],
  ['the bytes that left are edited', (h) => replaced(h, /(data-total="bytes"[^>]*>)([^<]+)(<)/, '$17$3'), 'folder.js.total'],
  ['a number of a table is edited', (h) => replaced(h, /(<td data-m="permitted"><a[^>]*>)(\d+)(<)/, plus_one), 'folder.js.group'],
  ['a bar of a table is edited', (h) => replaced(h, /(<rect data-m="permitted"[^>]* width=")[\d.]+(")/, '$11.00$2'), 'folder.js.group'],
  ['a column of the chart is edited', (h) => replaced(h, /(<rect data-key="[^"]+" data-m="permitted"[^>]*height=")[\d.]+(")/, '$11.00$2'), 'folder.js.group'],
  ['a line of a table is taken out', (h) => replaced(h, /<table data-group="reason">([\s\S]*?)<tr data-key=[\s\S]*?<\/tr>/, '<table data-group="reason">$1'), 'folder.js.group'],
  ['a pseudonym of a table is edited', (h) => replaced(h, /(data-group="user">[\s\S]*?<th scope="row"><span lang="en">)[^<]+/, '$1nobody'), 'folder.js.group'],
  ['an entry’s text is edited', (h) => in_permit(h, /(class="sentence"><span lang="en">)/, '$1Not: '), 'folder.js.shown'],
  ['an entry’s French text is edited', (h) => in_permit(h, /(<p class="sentence"><span[^>]*>[^<]*<\/span><span lang="fr">)/, '$1Pas : '), 'folder.js.shown'],
  ['an entry’s kind is edited', (h) => in_permit(h, '<span lang="en">permitted</span>', '<span lang="en">refused</span>'), 'folder.js.shown'],
  ['an entry’s time is edited', (h) => in_permit(h, /(<time datetime="[^"]+">)\d{4}/, '$12001'), 'folder.js.shown'],
  ['an entry’s number is edited', (h) => in_permit(h, /<span class="index">\d+/, '<span class="index">999'), 'folder.js.shown'],
  ['an entry counts as another’s user', (h) => in_permit(h, /data-user="[^"]+"/, 'data-user="somebody"'), 'folder.js.shown'],
  ['a byte of an entry is edited', (h) => in_permit(h, /(<code class="leaf">)([^<]+)/, (_, b, t) => b + flipped_html(t, 60)), 'folder.js.proof'],
  ['a byte of a proof is edited', (h) => in_permit(h, /(<code class="path">)([^<]+)/, (_, b, t) => b + flipped_html(t, 5)), 'folder.js.proof'],
  ['a leaf hash is edited', (h) => in_permit(h, /(<code class="hash">)([^<]+)/, (_, b, t) => b + flipped(t, 5)), 'folder.js.hash'],
  ['an entry is taken out', (h) => h.replace(permit(h), ''), 'folder.js.gap'],
  ['the first entry is taken out', (h) => h.replace(entries(h)[0], ''), 'folder.js.gap'],
  ['the last entry is taken out', (h) => h.replace(entries(h).at(-1), ''), 'folder.js.count'],
  ['an entry stands twice', (h) => h.replace(permit(h), (e) => e + e), 'folder.js.gap'],
  ['the checkpoint’s signature is edited', (h) => replaced(h, /(<pre id="checkpoint"[^>]*>[\s\S]*?— \S+ )(\S+)/, (_, b, t) => b + flipped_html(t, 20)), 'folder.js.checkpoint'],
  ['the checkpoint’s root is edited', (h) => replaced(h, /(<pre id="checkpoint"[^>]*>[^\n]+\n\d+\n)(\S+)/, (_, b, t) => b + flipped_html(t, 3)), 'folder.js.checkpoint'],
  ['the checkpoint’s size is edited', (h) => replaced(h, /(<pre id="checkpoint"[^>]*>[^\n]+\n)(\d+)(\n)/, plus_one), 'folder.js.checkpoint'],
  ['a term is edited', (h) => replaced(h, /(<span data-stated>)([^<]*PublicBenefit)/, '$1eq https:&#x2f;&#x2f;w3id.org&#x2f;dpv#Marketing'), 'folder.js.term'],
  ['a term is taken out', (h) => replaced(h, /<li data-at="permission\[0\]\.constraint\[1\]">[\s\S]*?<\/li>/, ''), 'folder.js.term'],
  ['the policy that is shown is edited', (h) => replaced(h, /(<pre id="policy"[\s\S]*?)PublicBenefit/, '$1Marketing'), 'folder.js.policy'],
  ['another agreement is put in', (h, two) => with_data(h, (d) => { d.envelope = data_of(two).envelope; }), 'folder.js.agreement'],
  ['a signature of the agreement is edited', (h) => with_data(h, (d) => { const s = d.envelope.agreement.signatures[1]; s.signature = flipped(s.signature, 9); }), 'folder.js.agreement'],
  ['one signature of the agreement stands twice', (h) => with_data(h, (d) => { const a = d.envelope.agreement; a.signatures = [a.signatures[0], a.signatures[0]]; }), 'folder.js.agreement'],
  ['a party’s name is edited', (h) => replaced(h, /(data-from="consumer" data-path="name">)[^<]+/, '$1Somebody else'), 'folder.js.value'],
  ['the legal basis is edited', (h) => replaced(h, /(data-path="offer.legal_basis.term"[^>]*>)[^<]+/, '$1Consent'), 'folder.js.value'],
  ['another authority’s key is put in', (h) => replaced(h, /(<code id="authority">)[^<]+/, '$111qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo'), 'folder.js.value'],
  ['another authority’s key is put in everywhere', (h) => h.replaceAll(data_of(h).authority, '11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo'), 'folder.js.register'],
  ['an entry of the register is edited', (h) => with_data(h, (d) => { d.register[0] = flipped(d.register[0], d.register[0].length - 20); }), 'folder.js.register'],
  ['a cosignature is edited', (h) => with_data(h, (d) => { const w = d.witnessed[0]; w.note = flipped(w.note, w.note.length - 20); }), 'folder.js.witness'],
  ['who saw the log is told otherwise', (h) => replaced(h, /(<li data-witness="0"><span lang="en">)[^<]+/, '$1Everybody saw it.'), 'folder.js.witness'],
  ['who saw the log is taken out', (h) => replaced(h, /<li data-witness="0">[\s\S]*?<\/li>/, ''), 'folder.js.witness'],
  ['a reason is edited', (h) => replaced(h, /(<li id="e\d+"(?:(?!<li )[\s\S])*?<q data-reason="\d+">)[^<]+/, '$1none'), 'folder.js.shown'],
  ['a signed notice is edited', (h) => replaced(h, /(<code class="signed">)([^<]+)/, (_, b, t) => b + flipped(t, t.length - 20)), 'folder.js.request'],
  ['a suspension is taken out of the agreement’s life', (h) => replaced(h, /<li><a href="#e\d+" data-copy[\s\S]*?<\/li>/, ''), 'folder.js.shown'],
  ['what was given is told otherwise', (h) => with_data(h, (d) => { d.document = d.document.replace(/"entries":\d+/, '"entries":1'); }), 'folder.js.given'],
];
