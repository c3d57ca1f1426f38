// Compares what the page shows with what its evidence says. Each finding has a sentence of the
// catalogue and, where there is one, the element that is wrong.

const LANGUAGES = ['en', 'fr'];
const said_in = (element, lang) => element?.querySelector(`:scope > span[lang="${lang}"]`)?.textContent;
const says = (element, text) => Boolean(element) && LANGUAGES.every((lang) => said_in(element, lang) === text(lang));
const path_of = (value, path) => path.split('.').reduce((at, name) => at?.[name], value);

class Check {
  constructor(page) {
    this.page = page;
    this.findings = [];
    this.signatures = new Signatures();
    this.members = {};
    this.rows = [];
  }

  find(key, parts = {}, element = null) { this.findings.push({ key, parts, element }); }

  // Runs a step; whatever goes wrong in it is a finding, its own or this one.
  async step(key, parts, element, work) {
    try { await work(); } catch (error) {
      if (error instanceof Wrong && error.message.startsWith('folder.js.') && error.message !== 'folder.js.data') {
        this.find(error.message, error.parts, error.element ?? element);
      } else this.find(key, parts, element);
    }
  }

  async run() {
    await this.signatures.begin();
    const data = JSON.parse(this.page.querySelector('#data').textContent);
    Object.assign(this, { data, words: data.words });
    await this.step('folder.js.register', {}, null, () => this.register());
    await this.step('folder.js.agreement', {}, this.page.querySelector('.terms'), () => this.agreement());
    await this.step('folder.js.checkpoint', {}, this.page.querySelector('#checkpoint'), () => this.checkpoint());
    if (this.head && this.document) {
      await this.step('folder.js.given', {}, this.page.querySelector('#given'), () => this.given());
      await this.entries();
      await this.chain();
      this.counted();
      for (const [at, seen] of data.witnessed.entries()) {
        const element = this.page.querySelector(`[data-witness="${at}"]`);
        await this.step('folder.js.witness', { n: seen.by }, element, () => this.witness(seen, element));
      }
      this.quorum();
      this.copies();
    }
    this.values();
    this.terms();
    return this;
  }

  async register() {
    const { data } = this;
    const authority = this.page.querySelector('#authority').textContent;
    need(authority === data.authority, 'folder.js.value', { what: 'authority' }, this.page.querySelector('#authority'));
    const keys = [unbase64url(authority)];
    const open = async (text) => {
      const entry = document_of(await compact(this.signatures, text, 'perron-participant+jws', keys));
      need(entry.space === data.space, 'register');
      return entry.participant;
    };
    this.newest = {};
    for (const text of data.register) {
      const member = await open(text);
      this.newest[member.id] = member;
      this.members[member.id] = [member];
    }
    this.agreed = [await open(data.envelope.provider_entry), await open(data.envelope.consumer_entry)];
    for (const member of this.agreed) (this.members[member.id] ??= []).push(member);
    this.owner = this.newest[data.participant];
    need(this.owner, 'register');
  }

  async agreement() {
    const { data } = this;
    const { payload, signatures } = data.envelope.agreement;
    const bytes = unbase64url(payload);
    const agreement = document_of(bytes);
    const at = Date.parse(agreement.timestamp);
    need(signatures.length === 2 && agreement.provider !== agreement.consumer && agreement.space === data.space, 'agreement');
    for (const [place, id] of [agreement.provider, agreement.consumer].entries()) {
      const party = this.agreed[place];
      const lives = Date.parse(party.valid_from) <= at && at < Date.parse(party.valid_until) && party.status === 'active';
      need(party.id === id && lives, 'agreement');
      const { protected: header, signature } = signatures[place];
      await jws(this.signatures, [header, payload, signature], 'perron-agreement+jws', keys_of([party], 'agreement', at));
    }
    this.payload = agreement;
    this.document = document_of(encoder.encode(data.document));
    this.id = base64url(await sha256(bytes));
    need(this.document.scope.agreement === this.id && agreement[data.side] === data.participant, 'agreement');
  }

  async checkpoint() {
    this.head = await checkpoint(this.signatures, this.page.querySelector('#checkpoint').textContent, this.owner);
  }

  // A leaf with its place in the tree.
  async proven(leaf, proof, n, element) {
    const bytes = unbase64(leaf);
    let entry;
    try { entry = entry_of(bytes); } catch { throw new Wrong('folder.js.leaf', { n }, element); }
    const hash = await leaf_hash(bytes);
    const path = proof.map(unbase64);
    // No key signs for an entry that came after its end; clocks may be apart.
    const in_time = this.head.ends.every((end) => entry.ms - 300000 < end);
    const holds = in_time && entry.index === n && path.every((step) => step.length === 32)
      && await included(hash, n, path, this.head);
    need(holds, 'folder.js.proof', { n }, element);
    return { ...entry, hash };
  }

  async given() {
    const { given, document } = this.data;
    const entry = await this.proven(given.leaf, given.proof, given.index, null);
    const tells = entry.kind === 'administration' && entry.facts.action === 'audit.folder';
    need(tells && same(entry.facts.document, await sha256(document)), 'given');
    this.told = { index: entry.index, time: entry.time };
  }

  async entries() {
    this.asked = new Map();
    for (const element of this.page.querySelectorAll('.entries > li')) {
      const n = Number(element.id.slice(1));
      await this.step('folder.js.leaf', { n }, element, async () => {
        const text = (name) => element.querySelector(name).textContent;
        const entry = await this.proven(text('.leaf'), text('.path').split(' ').filter(Boolean), n, element);
        const row = { ...entry, element, ...this.count(entry) };
        this.rows.push(row);
        need(text('.hash') === base64url(row.hash), 'folder.js.hash', { n }, element);
        await this.notice(row);
        if (row.kind === 'agreement') await this.envelope(row);
        this.shown(row);
      });
    }
  }

  // By what an entry is counted; as src/page/entries.rs has it.
  count({ kind, facts, index, hash }) {
    const of = { outcome: 'decision', received: 'request' }[kind];
    const asked = of ? this.asked.get(base64url(facts[of])) : undefined;
    const about = { user: facts.user ?? asked?.user ?? '', purpose: facts.purpose ?? asked?.purpose ?? '' };
    if (kind === 'permit') this.asked.set(base64url(hash), { index, ...about });
    if (kind === 'intent') this.asked.set(base64url(facts.request), { index, ...about });
    let [kind_of, reasons] = ['other', []];
    if (kind === 'permit' || (kind === 'received' && facts.refused === null)) kind_of = 'permitted';
    if (kind === 'refusal') [kind_of, reasons] = ['refused', facts.reasons];
    if (kind === 'received' && facts.refused !== null) [kind_of, reasons] = ['refused', [facts.refused]];
    if (kind === 'plan-refusal') [kind_of, reasons] = ['refused', [facts.reason]];
    if (kind === 'outcome') kind_of = facts.status === 'Complete' ? 'whole' : 'cut';
    const left = kind === 'outcome' || (kind === 'received' && facts.refused === null);
    return { ...about, class: kind_of, reasons, of: of && (asked?.index ?? null), rows: left ? facts.rows : 0, bytes: kind === 'outcome' ? facts.bytes : 0 };
  }

  // The entry with which the agreement came into force binds the envelope that is here.
  async envelope({ facts }) {
    const binds = same(facts.envelope, await sha256(canonical(this.data.envelope)));
    need(binds && base64url(facts.agreement) === this.id, 'folder.js.agreement');
  }

  async notice(row) {
    const { element, kind, facts, index: n } = row;
    const signed = element.querySelector('.signed')?.textContent;
    need((kind === 'notice') === (signed !== undefined), 'folder.js.request', { n });
    if (kind !== 'notice') return;
    try {
      need(same(facts.signed, await sha256(signed)), 'notice');
      const payload = unbase64url(signed.split('.')[1]);
      const notice = document_of(payload);
      const keys = keys_around(this.members[notice.from] ?? [], 'agreement', row.ms);
      await compact(this.signatures, signed, 'perron-notice+jws', keys);
      const fits = same(facts.notice, await sha256(payload)) && notice.agreement === this.id && notice.act.kind === facts.act
        && notice.from === this.payload[facts.by] && notice.space === this.data.space;
      need(fits, 'notice');
      row.reason = (notice.act.reason ?? notice.act.evidence) || undefined;
    } catch { throw new Wrong('folder.js.request', { n }, element); }
  }

  sentence(row, lang) {
    const parts = {};
    for (const [name, value] of Object.entries(row.facts)) parts[name] = value_in_words(this.words, lang, name, value);
    if (row.of !== undefined) parts.of = row.of === null ? '–' : String(row.of);
    return text_of(this.words, lang, `folder.entry.${row.kind}`, parts);
  }

  // What is shown of an entry is what its bytes say.
  shown(row) {
    const { element } = row;
    const is = (holds, what) => need(holds, 'folder.js.shown', { n: row.index, what }, element);
    const text = (name) => element.querySelector(name)?.textContent;
    is([...element.querySelectorAll('.index')].every((one) => one.textContent === String(row.index)), '№');
    is(element.querySelector('time').dateTime === row.time && text('time') === shown_time(row.time), 'time');
    is(says(element.querySelector('.kind'), (lang) => text_of(this.words, lang, `folder.kind.${row.kind}`)), 'kind');
    is(says(element.querySelector('.sentence'), (lang) => this.sentence(row, lang)), 'text');
    is(text('.chain') === String(row.chain?.number), 'chain');
    is(text('[data-reason]') === row.reason, 'reason');
    const { dataset } = element;
    const facets = dataset.class === row.class && dataset.purpose === row.purpose && dataset.user === row.user;
    is(facets && dataset.reasons === row.reasons.join(' ') && row.time.startsWith(dataset.bucket), 'data');
  }

  // The entries follow each other in the agreement's chain, from the first that was given to the last.
  async chain() {
    const { document, rows } = this;
    const at = (n, element) => need(false, 'folder.js.gap', { n }, element);
    await this.step('folder.js.gap', { n: document.first }, this.page.querySelector('.entries'), () => {
      rows.forEach((row, place) => {
        const { chain, element } = row;
        const n = document.first + place;
        if (!chain || chain.agreement !== this.id || chain.number !== n) at(n, element);
        const before = rows[place - 1]?.hash;
        if (before ? !(chain.before && same(chain.before, before)) : (n === 0) !== (chain.before === undefined)) at(n, element);
      });
    });
    if (rows.length !== document.entries) this.find('folder.js.count', { n: rows.length, expected: document.entries });
    const last = rows.at(-1);
    const ends = document.first + rows.length === document.chain;
    if (last && ends && base64url(last.hash) !== document.head) this.find('folder.js.gap', { n: document.chain - 1 }, last.element);
    const { since, until } = document.scope;
    if (rows.length && ((since && rows[0].ms < Date.parse(since)) || (until && last.ms >= Date.parse(until)))) this.find('folder.js.given');
  }

  chosen(filter) {
    const fits = {
      class: (row, value) => row.class === value,
      time: (row, value) => row.class !== 'other' && row.element.dataset.bucket === value,
      purpose: (row, value) => row.purpose === value && row.class !== 'other',
      user: (row, value) => row.user === value && row.class !== 'other',
      reason: (row, value) => row.class === 'refused' && row.reasons.includes(value),
      left: (row, value) => row[value] > 0,
    };
    return this.rows.filter((row) => Object.entries(filter).every(([name, value]) => fits[name](row, value)));
  }

  // The numbers, tables and charts.
  counted() {
    const sum = (rows, name) => rows.reduce((total, row) => total + row[name], 0);
    const figures = { rows: sum(this.rows, 'rows'), bytes: sum(this.rows, 'bytes'), entries: this.rows.length };
    for (const name of ['permitted', 'refused', 'whole', 'cut']) figures[name] = this.chosen({ class: name }).length;
    for (const [name, number] of Object.entries(figures)) {
      const element = this.page.querySelector(`[data-total="${name}"]`);
      if (element?.textContent !== grouped(number)) this.find('folder.js.total', { what: name }, element);
    }
    const number = (filter, measure) => (measure === 'rows' ? sum(this.chosen(filter), 'rows') : this.chosen({ ...filter, class: measure }).length);
    const length = new Set(this.rows.map((row) => row.element.dataset.bucket.length));
    if (length.size > 1) this.find('folder.js.group', { what: 'time' });
    const counted = this.rows.filter((row) => row.class !== 'other');
    const keys = {
      time: counted.map((row) => row.element.dataset.bucket),
      purpose: counted.map((row) => row.purpose).filter(Boolean),
      user: counted.map((row) => row.user).filter(Boolean),
      reason: counted.filter((row) => row.class === 'refused').flatMap((row) => row.reasons),
    };
    for (const [name, all] of Object.entries(keys)) this.table(name, [...new Set(all)].sort(), number);
    this.columns(number, [...new Set(keys.time)]);
  }

  label(name, key, lang) {
    if (name === 'time') return key.includes('T') ? `${key.replace('T', ' ')}:00` : key;
    if (name === 'reason') return text_of(this.words, lang, `error.${key}`);
    return name === 'purpose' ? short(key) : key;
  }

  table(name, keys, number) {
    const rows = [...this.page.querySelectorAll(`[data-group="${name}"] tr[data-key]`)];
    const wrong = (element) => this.find('folder.js.group', { what: name }, element);
    if (canonical(rows.map((row) => row.dataset.key).sort()) !== canonical(keys)) wrong(rows[0]?.closest('table'));
    const drawn = (key) => ['permitted', 'refused'].map((measure) => number({ [name]: key }, measure));
    const most = Math.max(0, ...keys.map((key) => drawn(key).reduce((a, b) => a + b)));
    for (const row of rows) {
      const { key } = row.dataset;
      const cells = [...row.querySelectorAll('td')].every((cell) => cell.textContent === grouped(number({ [name]: key }, cell.dataset.m)));
      const bars = [...row.querySelectorAll('rect')].every((bar) => {
        const width = most === 0 ? 0 : (number({ [name]: key }, bar.dataset.m) / most) * 100;
        return Math.abs(Number(bar.getAttribute('width')) - width) < 0.02;
      });
      if (!(cells && bars && says(row.querySelector('th'), (lang) => this.label(name, key, lang)))) wrong(row);
    }
  }

  columns(number, keys) {
    for (const [chart, measures] of [[0, ['permitted', 'refused']], [1, ['rows']]]) {
      const svg = this.page.querySelectorAll('svg.columns')[chart];
      const all = (key) => measures.reduce((sum, measure) => sum + number({ time: key }, measure), 0);
      const most = Math.max(0, ...keys.map(all));
      const bars = new Map([...svg.querySelectorAll('rect')].map((bar) => [`${bar.dataset.key} ${bar.dataset.m}`, bar]));
      for (const key of keys) {
        for (const measure of measures) {
          const bar = bars.get(`${key} ${measure}`);
          const height = most === 0 ? 0 : (number({ time: key }, measure) / most) * 130;
          if (Math.abs(Number(bar?.getAttribute('height') ?? 0) - height) >= 0.02) this.find('folder.js.group', { what: measure }, svg);
          bars.delete(`${key} ${measure}`);
        }
      }
      if (bars.size > 0) this.find('folder.js.group', { what: measures[0] }, svg);
    }
  }

  async witness(seen, element) {
    const members = this.members[seen.by] ?? [];
    const cosigner = { name: `${this.data.space}/${seen.by}/witness`, members };
    const old = await checkpoint(this.signatures, seen.note, this.owner, cosigner);
    need(seen.by !== this.data.participant && old.size === seen.size && old.times.includes(Date.parse(seen.at)), 'witness');
    need(await extended(old, seen.consistency.map(unbase64), this.head), 'witness');
    const parts = { last: String(old.size - 1), at: shown_time(seen.at), by: seen.by };
    need(says(element, (lang) => text_of(this.words, lang, 'folder.said.kept', parts)), 'witness');
  }

  quorum() {
    const element = this.page.querySelector('[data-quorum]');
    const all = this.data.witnessed;
    if (all.length !== this.page.querySelectorAll('[data-witness]').length) this.find('folder.js.witness', { n: '' });
    if (!element) return;
    const parts = { last: String(Math.min(...all.map((one) => one.size)) - 1), by: all.map((one) => one.by).join(', ') };
    const holds = all.length > 1 && says(element, (lang) => text_of(this.words, lang, 'folder.said.quorum', parts));
    if (!holds) this.find('folder.js.witness', { n: parts.by }, element);
  }

  // What is told of notices above the entries.
  copies() {
    const notices = this.rows.filter((row) => row.kind === 'notice');
    const copies = [...this.page.querySelectorAll('[data-copy]')];
    const is = (row, copy) => copy && copy.querySelector('time').textContent === shown_time(row.time)
      && says(copy.querySelector('.copied'), (lang) => this.sentence(row, lang))
      && copy.parentElement.querySelector('[data-reason]')?.textContent === row.reason;
    for (const row of notices) {
      const copy = copies.find((one) => one.dataset.copy === String(row.index));
      if (!is(row, copy)) this.find('folder.js.shown', { n: row.index, what: 'text' }, copy);
    }
    if (copies.length !== notices.length) this.find('folder.js.value', { what: 'notice' }, copies[0]);
  }

  // What is shown of signed documents.
  values() {
    const sources = {
      agreement: this.payload, document: this.document, given: this.told, owner: this.owner,
      provider: this.newest?.[this.payload?.provider], consumer: this.newest?.[this.payload?.consumer],
    };
    for (const element of this.page.querySelectorAll('[data-from]')) {
      const { from, path, as } = element.dataset;
      const value = path_of(sources[from], path);
      const shown = { time: shown_time, short }[as] ?? String;
      const holds = as?.startsWith('word:')
        ? says(element, (lang) => text_of(this.words, lang, as.slice(5) + value))
        : value !== undefined && element.textContent === shown(as === 'time' ? new Date(value).toISOString() : value);
      if (!holds) this.find('folder.js.value', { what: `${from}: ${path}` }, element);
    }
  }

  // The terms are those of the signed policy, and none is missing.
  terms() {
    if (!this.payload) return;
    const { policy } = this.payload.offer;
    const rows = [...this.page.querySelectorAll('.terms > li')];
    for (const row of rows) {
      const term = row.querySelector('[data-term]').textContent;
      const stated = row.querySelector('[data-stated]').textContent;
      const at = row.dataset.at;
      if (row.querySelector('.where').textContent !== at || !states(policy, at, term, stated)) this.find('folder.js.term', { what: at }, row);
    }
    const there = new Set(rows.map((row) => row.dataset.at));
    for (const at of places(policy)) if (!there.has(at)) this.find('folder.js.term', { what: at }, this.page.querySelector('.terms'));
    const shown = this.page.querySelector('#policy');
    let holds = false;
    try { holds = canonical(JSON.parse(shown.textContent)) === canonical(policy); } catch { /* it isn't JSON */ }
    if (!holds) this.find('folder.js.policy', {}, shown);
  }
}

// --- policies: the places and terms of `perron policy coverage` ---
const listed = (value) => (Array.isArray(value) ? value : Array.isArray(value?.['@list']) ? value['@list'] : [value]);
const at_place = (policy, at) => at.split('.').reduce((value, step) => {
  const [, name, ...numbers] = step.match(/^([^[]+)((?:\[\d+\])*)$/) ?? [];
  const inner = value?.[name];
  return [...(numbers[0] ?? '').matchAll(/\d+/g)].reduce((list, [n]) => listed(list)?.[Number(n)], inner);
}, policy);
const compacted = (name) => {
  const prefixes = { 'http://www.w3.org/ns/odrl/2/': 'odrl:', 'https://w3id.org/perron/odrl/v1/': 'perron:' };
  const found = Object.entries(prefixes).find(([whole]) => name.startsWith(whole));
  if (found) return found[1] + name.slice(found[0].length);
  return name.includes(':') ? name : `odrl:${name}`;
};
const stated_as = (value) => {
  let text;
  if (typeof value === 'string') text = value;
  else if (Array.isArray(value)) text = value.map(stated_as).join(', ');
  else if (value && typeof value === 'object') {
    if (typeof value['@value'] === 'string') text = value['@value'];
    else if (!('@value' in value) && typeof value['@id'] === 'string') text = value['@id'];
    else text = `(${Object.entries(value).map(([key, part]) => `${key.replace(/^perron:/, '')} ${stated_as(part)}`).join(', ')})`;
  } else text = String(value);
  return [...text].slice(0, 200).join('');
};

function states(policy, at, term, stated) {
  const value = at_place(policy, at);
  if (value === undefined) return false;
  if (value?.leftOperand) {
    const operator = compacted(value.operator ?? '').replace(/^odrl:/, '');
    const right = value.rightOperand === undefined ? '' : stated_as(value.rightOperand);
    return term === compacted(value.leftOperand) && stated === `${operator} ${right}`;
  }
  const member = at.split('.').pop().replace(/\[.*$/, '');
  if (member === 'action') return stated === '' && term === compacted(typeof value === 'string' ? value : (value['rdf:value']?.['@id'] ?? value['rdf:value']));
  if (term === compacted(member)) return stated === stated_as(value?.source ?? value?.['@id'] ?? value);
  // A logical constraint: its name is one of its members.
  return stated === '' && Object.keys(value).some((key) => compacted(key) === term);
}

// Places of all constraints and actions.
function* places(value, at = '') {
  if (Array.isArray(value)) {
    for (const [n, one] of value.entries()) yield* places(one, `${at}[${n}]`);
  } else if (value && typeof value === 'object') {
    if (Array.isArray(value['@list'])) { yield* places(value['@list'], at); return; }
    if (value.leftOperand) { yield at; return; }
    for (const [name, inner] of Object.entries(value)) {
      const place = at ? `${at}.${name}` : name;
      if (name === 'action') yield* listed(inner).map((_, n) => (listed(inner) === inner || inner?.['@list'] ? `${place}[${n}]` : place));
      if (['permission', 'prohibition', 'obligation', 'duty', 'constraint', 'refinement', 'action', 'assignee', 'target', 'and', 'or', 'xone', 'andSequence'].includes(name)) yield* places(inner, place);
    }
  }
}
