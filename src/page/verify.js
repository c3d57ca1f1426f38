// Verifies the page from the evidence in it. Nothing here knows what the page should say: each value
// is computed again from signed bytes and compared with what is shown.
//
// The formats are those of docs/reference/evidence.md and entry.cddl: RFC 6962 for the tree, C2SP
// signed-note and tlog-cosignature for checkpoints, RFC 7515 and 8785 for documents, RFC 8949 for entries.

const encoder = new TextEncoder();
const strict = new TextDecoder('utf-8', { fatal: true });

class Wrong extends Error {
  constructor(key, parts = {}, element = null) { super(key); Object.assign(this, { key, parts, element }); }
}
const need = (holds, key, parts, element) => { if (!holds) throw new Wrong(key, parts, element); };

// --- bytes, each in its one spelling ---
const joined = (...parts) => {
  const bytes = parts.map((part) => (typeof part === 'string' ? encoder.encode(part) : part));
  const all = new Uint8Array(bytes.reduce((sum, part) => sum + part.length, 0));
  bytes.reduce((at, part) => { all.set(part, at); return at + part.length; }, 0);
  return all;
};
const same = (a, b) => a.length === b.length && a.every((byte, at) => byte === b[at]);
const base64 = (bytes) => btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(''));
const base64url = (bytes) => base64(bytes).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');
const unbase64 = (text) => {
  const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  need(base64(bytes) === text, 'folder.js.data', { what: 'base64' });
  return bytes;
};
const unbase64url = (text) => {
  const bytes = Uint8Array.from(atob(text.replaceAll('-', '+').replaceAll('_', '/')), (c) => c.charCodeAt(0));
  need(base64url(bytes) === text, 'folder.js.data', { what: 'base64url' });
  return bytes;
};
const sha256 = async (...parts) => new Uint8Array(await crypto.subtle.digest('SHA-256', joined(...parts)));

// --- JSON in its canonical form (RFC 8785) ---
const canonical = (value) => {
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`;
  if (value === null || typeof value !== 'object') return JSON.stringify(value);
  return `{${Object.keys(value).sort().map((key) => `${JSON.stringify(key)}:${canonical(value[key])}`).join(',')}}`;
};
const document_of = (bytes) => {
  const text = strict.decode(bytes);
  const value = JSON.parse(text);
  need(canonical(value) === text, 'folder.js.data', { what: 'JSON' });
  return value;
};

// --- entries: deterministic CBOR (RFC 8949, 4.2.1) with whole numbers as keys ---
const precedes = (a, b) => {
  const at = a.findIndex((byte, i) => byte !== b[i]);
  return at === -1 ? a.length < b.length : a[at] < (b[at] ?? -1);
};
function item(bytes, at) {
  need(at < bytes.length, 'cbor');
  const major = bytes[at] >> 5;
  const low = bytes[at] & 31;
  if (major === 7) { need(low === 20 || low === 21, 'cbor'); return [low === 21, at + 1]; }
  need(low < 28, 'cbor');
  const size = low < 24 ? 0 : 2 ** (low - 24);
  let number = low < 24 ? low : 0;
  for (let i = 1; i <= size; i += 1) { need(at + i < bytes.length, 'cbor'); number = number * 256 + bytes[at + i]; }
  need(Number.isSafeInteger(number) && number >= [0, 24, 256, 0, 65536, 0, 0, 0, 4294967296][size], 'cbor');
  at += 1 + size;
  if (major === 0) return [number, at];
  if (major === 1) return [-1 - number, at];
  if (major === 2 || major === 3) {
    need(at + number <= bytes.length, 'cbor');
    const part = bytes.slice(at, at + number);
    return [major === 2 ? part : strict.decode(part), at + number];
  }
  need((major === 4 || major === 5) && number <= bytes.length, 'cbor');
  const items = [];
  let before = null;
  for (let i = 0; i < (major === 4 ? number : 2 * number); i += 1) {
    const [value, end] = item(bytes, at);
    if (major === 5 && i % 2 === 0) {
      const key = bytes.slice(at, end);
      need(before === null || precedes(before, key), 'cbor');
      before = key;
    }
    items.push(value);
    at = end;
  }
  if (major === 4) return [items, at];
  return [new Map(Array.from({ length: number }, (_, i) => [items[2 * i], items[2 * i + 1]])), at];
}

const BODIES = {
  11: ['agreement', 'agreement envelope with side dataset legal_basis regime amends uses volume'],
  12: ['notice', 'notice signed with side by act standing decided_by'],
  20: ['intent', 'request user purpose provider sealed'],
  21: ['decision', 'request permitted reasons clauses module input snapshot uses register consumer purpose legal_basis user beside reserved volume attached sealed'],
  22: ['outcome', 'decision status reason batches rows bytes messages stream_root uses volume'],
  23: ['received', 'request decision outcome rows messages stream_root refused receipt'],
  24: ['release', 'dataset snapshot table groups suppressed further epsilon_micro spent_micro'],
  25: ['schema-grant', 'peer hour'],
  26: ['plan-refusal', 'peer reason clause statement'],
  40: ['administration', 'action actor document sealed'],
};
const STATUS = ['Complete', 'CutByConsumer', 'CutByRevocation', 'CutByError', 'NothingLeft', 'UnknownAfterCrash'];

function entry_of(leaf) {
  const [outer, end] = item(leaf, 0);
  need(end === leaf.length && outer instanceof Map && outer.get(0) === 1, 'cbor');
  const [number, [body]] = outer.get(9);
  const [name, fields] = BODIES[number] ?? ['other', ''];
  const facts = {};
  fields.split(' ').forEach((field, at) => { facts[field] = body.has(at) ? body.get(at) : null; });
  const chain = outer.get(5);
  let kind = name;
  if (name === 'decision') kind = facts.permitted ? 'permit' : 'refusal';
  if (name === 'outcome') facts.status = STATUS[facts.status];
  return {
    index: outer.get(1),
    time: new Date(outer.get(2)).toISOString(),
    ms: outer.get(2),
    chain: chain && { agreement: base64url(chain.get(0)), number: chain.get(1), before: chain.get(2) },
    kind,
    facts,
  };
}

// --- what values are called; as src/page/words.rs has it ---
const grouped = (number) => String(number).replace(/\B(?=(\d{3})+$)/g, '\u202f');
const short = (iri) => iri.split(/[#/]/).pop();
const shown_time = (iso) => `${iso.replace(/Z$/, '').replace('T', ' ')} UTC`;
const text_of = (words, lang, key, parts = {}) => Object.keys(parts).sort()
  .reduce((text, name) => text.replaceAll(`{${name}}`, () => parts[name]), words[lang][key] ?? key);
function value_in_words(words, lang, field, value) {
  if (value === null) return '–';
  if (field === 'reasons' && Array.isArray(value) && value.length === 0) return '–';
  if (value instanceof Uint8Array) return base64url(value);
  if (Array.isArray(value)) return value.map((one) => value_in_words(words, lang, field, one)).join(', ');
  if (typeof value === 'number') return grouped(value);
  if (typeof value !== 'string') return String(value);
  const prefix = { reasons: 'error.', reason: 'error.', refused: 'error.', status: 'outcome.', side: 'side.', by: 'side.', act: 'folder.act.', standing: 'folder.standing.' }[field];
  if (prefix) return text_of(words, lang, prefix + value);
  return field === 'purpose' || field === 'legal_basis' ? short(value) : value;
}

// --- signatures: Ed25519; neither key nor commitment of small order ---
const PRIME = 2n ** 255n - 19n;
const SMALL = [0n, 1n, PRIME - 1n,
  2707385501144840649318225287225658788936804267575313519463743609750303021402n,
  55188659117513257062467267217118295137698188065244968500265048394206261417927n];
const is_weak = (bytes) => {
  const y = bytes.slice(0, 32).reduceRight((sum, byte) => sum * 256n + BigInt(byte), 0n) & (2n ** 255n - 1n);
  return y >= PRIME || SMALL.includes(y);
};
class Signatures {
  constructor() { this.known = true; this.count = 0; }
  async begin() {
    try {
      const pair = await crypto.subtle.generateKey('Ed25519', false, ['sign', 'verify']);
      await crypto.subtle.sign('Ed25519', pair.privateKey, encoder.encode('x'));
    } catch { this.known = false; }
  }
  async verify(key, message, signature) {
    if (key.length !== 32 || signature.length !== 64 || is_weak(key) || is_weak(signature)) return false;
    if (!this.known) return true;
    const imported = await crypto.subtle.importKey('raw', key, 'Ed25519', false, ['verify']);
    const holds = await crypto.subtle.verify('Ed25519', imported, signature, message);
    if (holds) this.count += 1;
    return holds;
  }
}

const thumbprint = async (key) => base64url(await sha256(`{"crv":"Ed25519","kty":"OKP","x":"${base64url(key)}"}`));

// A part of a JWS (RFC 7515): the payload's bytes, if one of the keys that are given signed them.
async function jws(signatures, [protected_, payload, signature], typ, keys) {
  const header = strict.decode(unbase64url(protected_));
  const [start, end] = ['{"alg":"EdDSA","kid":"', `","typ":"${typ}"}`];
  need(header.startsWith(start) && header.endsWith(end), 'jws');
  const kid = header.slice(start.length, -end.length);
  for (const key of keys) {
    if (await thumbprint(key) === kid) {
      need(await signatures.verify(key, encoder.encode(`${protected_}.${payload}`), unbase64url(signature)), 'jws');
      return unbase64url(payload);
    }
  }
  throw new Wrong('jws');
}
const compact = (signatures, text, typ, keys) => {
  const parts = text.split('.');
  need(parts.length === 3, 'jws');
  return jws(signatures, parts, typ, keys);
};

const keys_of = (members, use, ms = null) => members.flatMap((member) => member.keys)
  .filter((key) => key.use === use && (ms === null || (Date.parse(key.from) <= ms && (!key.until || ms < Date.parse(key.until)))))
  .map((key) => unbase64url(key.key));
// Clocks may be apart by five minutes.
const keys_around = (members, use, ms) => [0, -300000, 300000].flatMap((off) => keys_of(members, use, ms + off));

// --- the tree (RFC 6962) ---
const node = (left, right) => sha256(Uint8Array.of(1), left, right);
const leaf_hash = (leaf) => sha256(Uint8Array.of(0), leaf);

// RFC 9162, 2.1.3.2
async function included(hash, index, proof, head) {
  if (!(index < head.size)) return false;
  let [at, last, root] = [index, head.size - 1, hash];
  for (const step of proof) {
    if (last === 0) return false;
    if (at % 2 === 1 || at === last) {
      root = await node(step, root);
      while (at % 2 === 0 && at !== 0) [at, last] = [at / 2, Math.floor(last / 2)];
    } else root = await node(root, step);
    [at, last] = [Math.floor(at / 2), Math.floor(last / 2)];
  }
  return last === 0 && same(root, head.root);
}

// RFC 9162, 2.1.4.2
async function extended(old, proof, head) {
  if (old.size === head.size) return proof.length === 0 && same(old.root, head.root);
  if (!(old.size > 0 && old.size < head.size)) return false;
  let [at, last] = [old.size - 1, head.size - 1];
  while (at % 2 === 1) [at, last] = [Math.floor(at / 2), Math.floor(last / 2)];
  const path = Number.isInteger(Math.log2(old.size)) ? [old.root, ...proof] : [...proof];
  if (path.length === 0) return false;
  let [before, after] = [path[0], path[0]];
  for (const step of path.slice(1)) {
    if (last === 0) return false;
    if (at % 2 === 1 || at === last) {
      before = await node(step, before);
      after = await node(step, after);
      while (at % 2 === 0 && at !== 0) [at, last] = [at / 2, Math.floor(last / 2)];
    } else after = await node(after, step);
    [at, last] = [Math.floor(at / 2), Math.floor(last / 2)];
  }
  return last === 0 && same(before, old.root) && same(after, head.root);
}

// A checkpoint (C2SP tlog-checkpoint) signed by a key of its log; `witness` names who cosigned it. `ends` are the times at
// which keys that signed it ended.
async function checkpoint(signatures, note, owner, witness = null) {
  const [body, lines, ...more] = note.split('\n\n');
  const [origin, size, root, ...rest] = body.split('\n');
  need(more.length === 0 && rest.length === 0 && lines.endsWith('\n'), 'note');
  need(origin === owner.log_origin && String(Number(size)) === size && Number.isSafeInteger(Number(size)), 'note');
  const message = encoder.encode(`${body}\n`);
  const signed = lines.slice(0, -1).split('\n').map((line) => line.split(' '));
  need(signed.every((line) => line.length === 3 && line[0] === '—'), 'note');
  const by = async (name, mark, key) => {
    const id = (await sha256(`${name}\n`, Uint8Array.of(mark), key)).slice(0, 4);
    return signed.filter((line) => line[1] === name).map((line) => unbase64(line[2])).filter((blob) => same(blob.slice(0, 4), id));
  };
  let own = 0;
  const ends = [];
  for (const held of owner.keys.filter((key) => key.use === 'log')) {
    const key = unbase64url(held.key);
    for (const blob of await by(origin, 1, key)) {
      need(await signatures.verify(key, message, blob.slice(4)), 'note');
      if (held.until) ends.push(Date.parse(held.until));
      own += 1;
    }
  }
  need(own > 0, 'note');
  const times = [];
  for (const key of witness ? keys_of(witness.members, 'witness') : []) {
    for (const blob of await by(witness.name, 4, key)) {
      const seconds = blob.slice(4, 12).reduce((sum, byte) => sum * 256 + byte, 0);
      need(await signatures.verify(key, joined(`cosignature/v1\ntime ${seconds}\n`, message), blob.slice(12)), 'note');
      const ended = (held) => held.key === base64url(key) && held.until && Date.parse(held.until) <= seconds * 1000 - 300000;
      if (!witness.members.some((member) => member.keys.some(ended))) times.push(seconds * 1000);
    }
  }
  return { size: Number(size), root: unbase64(root), times, ends };
}
