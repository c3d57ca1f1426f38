#!/usr/bin/env python3
"""Verifies an organisation's directory, or a copy of it; shares no code with `perron-verify`, and comes to its verdict.

    tools/verify.py DIR [--against NOTE_OR_DIR]... [--authority KEY]

Needs Python 3.11, the package `cryptography`, and docs/reference beside it: it reads entries by entry.cddl, all else as
evidence.md tells. It prints findings of findings.md, each with the line here whose rule doesn't hold.
Exit code: 0 nothing is wrong, 1 something is, 2 nothing can be verified.
"""
import argparse, base64, contextlib, functools, hashlib, io, json, pathlib, re, struct, sys, tomllib
from datetime import datetime, timedelta
from decimal import Decimal
from types import SimpleNamespace
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

# Of entry.cddl and documents.cddl (RFC 8610) the lines of maps; `number: type, ; name, what it binds, repeats: words`.
HERE = pathlib.Path(__file__).parents[1] / "docs/reference"
CDDL, JSON = (HERE / "entry.cddl").read_text(), (HERE / "documents.cddl").read_text()
LINE = r"^  (\? )?(\d+): (.+?), *; (\w+)(?: of attachment (\d+))?(?: = (\d+)\.([\w.]+))?:"
maps = lambda text, line: {name: re.findall(line, fields, re.M)
                           for name, fields in re.findall(r"^([a-z-]+) = \{(.*?)^\}", text, re.M | re.S)}
MAPS, FORMS = maps(CDDL, LINE), maps(JSON, r"^  (\? )?(\w+): (.+?),")
NAMED = dict(re.findall(r"^([a-z-]+) = ([^{\n].*?)(?: *;.*)?$", JSON, re.M))
KINDS, CHAINED = re.findall(r"\[(\d+), \[([a-z-]+)\]\]", CDDL), re.findall(r"^([a-z-]+) = .*; in the chain", CDDL, re.M)
STEPS = {(*step, state) for *step, states in re.findall(r"^; (\w+) (\w+): (\w+) after (.+)", CDDL, re.M)
         for state in states.split(", ")}
RANGES = {"uint": range(2**64), "time": range(253402300800000), "status": range(6), "1": range(1, 2)}
SIZES, PLAIN, FOUND, P = {"digest": 32, "bytes .size 16": 16}, b"+/", [], 2**255 - 19
SMALL = 0, 1, P - 1, (y := 0x5fc536d880238b13933c6d305acdfd5f098eff289f4c345b027b2c28f95e826), P - y
NOTE = r"([^\n]+)\n(0|[1-9][0-9]*)\n([^\n]+)\n((?:[^\n]+\n)*)\n((?:— [^\s+\x7f-\x9f]{1,255} \S+\n)+)"
PROOF = r"c2sp\.org/tlog-proof@v1\n(?:extra \S*\n)?index (0|[1-9][0-9]*)((?:\n\S+)*)\n\n(.*)"
class Broken(Exception): "A rule that doesn't hold: as what that is found, if the rule says so, and the rule's line."
class Record(SimpleNamespace): __getattr__ = lambda self, name: None  # what isn't said is None
def must(holds=True, **others):  # others by what they are found as, with _ for -
    for kind, holds in {"": holds, **others}.items():
        if not holds: raise Broken(kind.replace("_", "-"), sys._getframe(1).f_lineno)
def sure(value, holds): return must(holds) or value
@contextlib.contextmanager
def found(kind, where=None):  # as what a broken rule in here is found; told if there is a place, as what the rule says
    try: yield
    except Exception as error:
        rule = error.args[-1] if error.args else repr(error)
        if not where: raise Broken(kind, rule) from error
        FOUND.append((isinstance(error, Broken) and error.args[0] or kind, where, rule))

# Encodings, each in its one canonical spelling. Digests are read as base64url, times as RFC 3339.
def sha(raw): return hashlib.sha256(raw).digest()
def digest(raw): return b64(sha(raw))
def b64(raw, alt=b"-_"): return base64.b64encode(raw, alt).decode().rstrip("=" if alt == b"-_" else "")
def unb64(text, alt=b"-_"):
    return sure(raw := base64.b64decode(text + "=" * (-len(text) % 4), alt), b64(raw, alt) == text)
def stamp(ms): return (datetime(1970, 1, 1) + timedelta(milliseconds=ms)).isoformat(timespec="milliseconds") + "Z"
def jcs(value):  # RFC 8785
    if isinstance(value, list): return "[" + ",".join(map(jcs, value)) + "]"
    if isinstance(value, Record):
        names = sorted(vars(value), key=lambda name: name.encode("utf-16-be"))
        return "{" + ",".join(f"{jcs(name)}:{jcs(getattr(value, name))}" for name in names) + "}"
    if type(value) not in (int, float): return json.dumps(value, ensure_ascii=False)
    text = repr(float(value)).removesuffix(".0")
    return format(Decimal(text), "f") if not value or 1e-6 <= abs(value) < 1e21 else text.replace("e-0", "e-")
def canonical(raw, form):
    said = json.loads(raw, object_hook=lambda fields: Record(**fields))
    return sure(said, jcs(said).encode() == raw and fits(said, form))
def fits(said, form):  # is it of this form in documents.cddl?
    if form in NAMED: return fits(said, NAMED[form])
    if " / " in form: return any(fits(said, one) for one in form.split(" / "))
    if form[:3] == "[* ": return type(said) is list and all(fits(one, form[3:-1]) for one in said)
    if form in ("any", "bool"): return form == "any" or type(said) is bool
    if form == "uint": return type(said) is int and said >= 0
    if form in FORMS:
        left = dict(vars(said)) if type(said) is Record else {"": said}
        fit = all(fits(left.pop(name), of) if name in left else optional for optional, name, of in FORMS[form])
        return fit and not left
    text, least, most = re.fullmatch(r'(?:tstr)?(?: .regexp )?(?:"(.*)")?(?: .size \((\d+)..(\d+)\))?', form).groups()
    in_size = not most or type(said) is str and int(least) <= len(said.encode()) <= int(most)
    return type(said) is str and in_size and re.fullmatch(text or "(?s:.*)", said) is not None
def take(source, size): return sure(raw := source.read(size), len(raw) == size)
def number(source, size): return int.from_bytes(take(source, size))
def head(source, major):  # RFC 8949, 4.2.1: the number at the beginning of an item, in its shortest form
    n = sure(first := number(source, 1), first >> 5 == major) & 31
    return n if n < 24 else sure(more := number(source, 1 << n - 24), more >= (24, 2**8, 2**16, 2**32)[n - 24])
def item(source, type_):  # the next one, of a type in entry.cddl
    if type_ in RANGES: return sure(n := head(source, 0), n in RANGES[type_])
    if type_ in SIZES: return b64(take(source, sure(n := head(source, 2), n == SIZES[type_])))
    if type_ == "bool": return {0xf4: False, 0xf5: True}[number(source, 1)]
    if type_ == "tstr": return take(source, head(source, 3)).decode()
    if type_ == "[* tstr]": return [item(source, "tstr") for _ in range(head(source, 4))]
    if type_ == "{* tstr => digest}":
        names = [(item(source, "tstr"), item(source, "digest"))[0] for _ in range(head(source, 5))]
        return must(names == sorted({*names}, key=lambda name: (len(name.encode()), name)))
    if type_ == "body":
        kind = dict(KINDS)[str(must(head(source, 4) == 2) or head(source, 0))]
        return kind, must(head(source, 4) == 1) or item(source, kind)
    left, said = head(source, 5), {}
    for optional, place, field, name, *_ in MAPS[type_]:
        there = left and source.getvalue()[source.tell()] == int(place) and source.read(1)
        said[name], left = item(source, field) if there else must(optional), left - bool(there)
    return sure(Record(**said), left == 0)
def entry_of(leaf):
    with found("entry-encoding"):
        entry = item(source := io.BytesIO(leaf), "entry")
        (entry.kind, entry.body), entry.hash = sure(entry.body, not source.read()), b64(leaf_hash(leaf))
        return entry

# Signatures.
def verify(key, message, signature):  # Ed25519 (RFC 8032), neither key nor commitment of small order
    for y in (int.from_bytes(point, "little") % 2**255 for point in (unb64(key), signature[:32])):
        must(y < P and y not in SMALL)
    Ed25519PublicKey.from_public_bytes(unb64(key)).verify(signature, message)
def signed(protected, payload, signature, typ, keys):  # RFC 7515, RFC 7638, RFC 8037: by the key that its header names
    kid = lambda key: digest(f'{{"crv":"Ed25519","kty":"OKP","x":"{key}"}}'.encode())
    by = {b64(f'{{"alg":"EdDSA","kid":"{kid(key)}","typ":"perron-{typ}+jws"}}'.encode()): key for key in keys}
    verify(by[protected], f"{protected}.{payload}".encode(), unb64(signature))
def compact(text, typ, keys_for):  # what it says, named by its digest
    with found("document-signature"):
        (protected, payload, signature), said = text.split("."), canonical(unb64(text.split(".")[1]), typ)
        signed(protected, payload, signature, typ, keys_for(said))
        return Record(**vars(said), name=digest(unb64(payload)))
def keys_of(parties, use, *times):  # in force at one of these times, or at any
    lives = lambda key: not times or any(getattr(key, "from") <= time < (key.until or "A") for time in times)
    return [key.key for party in parties for key in party.keys if key.use == use and lives(key)]
def print_of(name, key, kind=b"\1"): return sha(name.encode() + b"\n" + kind + unb64(key))
def lines_of(name, keys, kind=b"\1"): return {(name, print_of(name, key, kind)[:4]): key for key in keys}
def log_keys(parties, origin): return lines_of(origin, keys_of([p for p in parties if p.log_origin == origin], "log"))
def note_of(text, origin, keys, witnesses={}):  # C2SP signed-note, tlog-checkpoint, tlog-cosignature
    with found("encoding"):
        name, size, root, more, rows = re.fullmatch(NOTE, text).groups()
        rows = [row.split(" ")[1:] for row in rows.split("\n")[:-1]]
        rows = [((by, unb64(blob, PLAIN)[:4]), unb64(blob, PLAIN)[4:]) for by, blob in rows]
        must(len(unb64(root, PLAIN)) == 32 and int(size) <= 2**62 and min(text.replace("\n", " ")) >= " ")
    with found("signature"):
        body = must(name == origin and any(by in keys for by, _ in rows)) or text[:text.rindex("\n\n") + 1].encode()
        for by, signature in rows:
            if by in keys: verify(keys[by], body, signature)
            time = f"cosignature/v1\ntime {int.from_bytes(signature[:8])}\n".encode()
            if by in witnesses: verify(witnesses[by], time + body, signature[8:])
    return Record(size=int(size), root=b64(unb64(root, PLAIN)), more=more, by=[by for by, _ in rows])

# The tree (RFC 6962, RFC 9162) and its files.
def leaf_hash(leaf): return sha(b"\0" + leaf)
def node(left, right): return sha(b"\1" + left + right)
def grown(perfect, size, new):  # the roots of a tree's perfect subtrees, the largest first, with one leaf more
    while size & 1: perfect, new, size = perfect[:-1], node(perfect[-1], new), size >> 1
    return [*perfect, new]
def root_of(perfect): return b64(functools.reduce(lambda right, left: node(left, right), perfect[::-1] or [sha(b"")]))
def climb(new, index, size, path):  # the root of a tree of this size in which a leaf has this path
    if size == 1: return sure(new, not path)
    if index < (left := 1 << (size - 1).bit_length() - 1): return node(climb(new, index, left, path[:-1]), path[-1])
    return node(path[-1], climb(new, index - left, size - left, path[:-1]))
def opened(parties, leaf, proof):  # C2SP tlog-proof: an entry in a tree that its owner signed
    with found("document-signature"):
        index, path, note = re.fullmatch(PROOF, proof, re.S).groups()
        tree = note_of(note, origin := note.split("\n")[0], log_keys(parties, origin))
        root = climb(leaf_hash(unb64(leaf)), int(index), tree.size, [unb64(text, PLAIN) for text in path.split()])
        return sure(entry_of(unb64(leaf)), b64(root) == tree.root and int(index) < tree.size)
def tiles_of(leaves):  # C2SP tlog-tiles: the files of a tree, by their paths
    tiles, row, levels = {}, [*map(leaf_hash, leaves)], {"entries": [len(leaf).to_bytes(2) + leaf for leaf in leaves]}
    while row:
        levels[len(levels) - 1] = row
        for _ in range(8): row = [node(*row[at:at + 2]) for at in range(0, len(row) - 1, 2)]
    for level, first in [(level, first) for level in levels for first in range(0, len(levels[level]), 256)]:
        tile, (*thousands, last) = levels[level][first:first + 256], f"{first // 256:,}".split(",")
        place = "".join(f"x{part:0>3}/" for part in thousands) + f"{last:0>3}" + f".p/{len(tile)}" * (len(tile) < 256)
        tiles[f"tile/{level}/{place}"] = b"".join(tile)
    return tiles

# The files of a log.
def crc32c(data, crc=2**32 - 1):
    for bit in (byte >> place & 1 for byte in data for place in range(8)): crc = crc >> 1 ^ 0x82F63B78 * (crc & 1 ^ bit)
    return crc ^ 2**32 - 1
def records(path):  # of a segment: all but the trailer, and the digest in it
    with path.open("rb") as file:
        while start := file.read(12):
            raw = start + take(file, int.from_bytes(start[8:]) - 48)
            yield raw, sure(sha(raw), take(file, 36) == sha(raw) + start[8:])
def batches(folder, origin, keys):  # leaves with what is attached to each, the note, whose lines it has
    size, batch, seal, known = 0, 0, bytes(32), {print_of(origin, key) for key in keys.values()}
    for segment, path in enumerate(sorted(folder.glob("segment/" + "[0-9]" * 20))):
        raw, sealed = next(stream := records(path), None)
        start = struct.pack(">HQQQQ32sB", 1, int(origin.split("/")[2]), segment, size, size, seal, len(origin))
        named = [raw[at:at + 32] for at in range(13 + len(start) + len(origin), len(raw), 32)]
        start = b"PERRONsg" + raw[8:12] + start + origin.encode() + bytes([len(named)])
        must(raw == start + b"".join(named) and 0 < len(named) < 5 and path.name == f"{size:020}")
        seal = must(signature=known.issuperset(named)) or sealed
        for raw, sealed in stream:
            *at, count, attachments, before, crc = struct.unpack(">8s4xQQII32sI", take(source := io.BytesIO(raw), 72))
            must(count and (*at, before, crc) == (b"PERRONba", batch, size, seal, crc32c(raw[:68])))
            bound, last = [(take(source, number(source, 2)), []) for _ in range(count)], 0
            for kind, leaf, length in (struct.unpack(">HII", take(source, 10)) for _ in range(attachments)):
                bound[leaf][1].append((kind, take(source, length)))
                last = sure(leaf, leaf >= last)
            yield bound, source.read().decode(), [(origin, mark[:4]) for mark in named]
            size, batch, seal = size + count, batch + 1, sealed
def compare(folder, due, kind, whole, there):  # the bytes that are due as files, and no other file
    for at in {*due, *there}:
        with found(kind, folder / at):
            must(missing_file=at in there, stray_file=at in due or not whole)
            must(at not in due or not there[at].is_symlink() and there[at].read_bytes() == due[at])
def entries_of(log, folder, party, seen):  # each leaf with what is attached; then all other files, and what others saw
    origin, keys = party.log_origin, log_keys([party], party.log_origin)
    perfect, leaves, notes, roots = [], [], {}, {0: root_of([])}
    with found("segment-bytes", folder / "segment"):
        for bound, text, named in batches(folder, origin, keys):
            for leaf, attached in bound:
                yield leaf, attached
                perfect, _ = grown(perfect, len(leaves), leaf_hash(leaf)), leaves.append(leaf)
                roots[len(leaves)] = root_of(perfect)
            with found("tree-root", f"{folder}/segment, batch {len(notes)}"):
                note, notes[len(leaves)] = note_of(text, origin, keys), text.encode()
                must((note.size, note.root, note.more) == (len(leaves), root_of(perfect), ""),
                     signature=note.by == named)
        log.whole = True
    for size, root, where in seen:
        with found("rewrite", where): must(roots.get(size, root) == root, older_state=size in roots or not log.whole)
    there = {str(file.relative_to(folder)): file for file in folder.rglob("*")}
    there = {at: file for at, file in there.items()
             if file.is_symlink() or not file.is_dir() and not re.fullmatch("segment/[0-9]{20}", at)}
    with found("encoding", folder / "checkpoint"):
        if not there: return
        note = note_of((there.get("checkpoint") or must(missing_file=False)).read_bytes().decode(), origin, keys)
        must(signature=len({*note.by} & {*keys}) == len(note.by), truncated=note.size in roots or not log.whole,
             rewrite=note.size in notes or note.size not in roots)
        if note.size in notes:
            compare(folder, tiles_of(leaves[:note.size]) | {"checkpoint": notes[note.size]}, "tile-bytes", True, there)

# What the entries say: an entry e, its body b, its chain so far c, its attachments d, and s, what was before it.
def said_by(entries, register, me):
    s = Record(register=register, me=me, time=0, jumped=-5000, seen=Record(version=0), chains={}, steps={}, signed={},
               agreements={}, documents={}, reads={}, intents=set(), heads={})
    last = None
    for n, (leaf, attached) in enumerate(entries):
        with found("document-bytes", f"entry {n}"):
            (before, last), raws = (last, b64(leaf_hash(leaf))), dict(attached)
            e, c, then = entry_of(leaf), Record(next=0, uses=0, volume=0), s.time
            b, s.time, s.jumped = e.body, e.time, n if e.kind == "clock-jump" else s.jumped
            must(order=(e.index, e.previous) == (n, before), time_backwards=(e.time < then) == (e.kind == "clock-jump"),
                 chain_gap=e.chain or e.kind not in CHAINED and not b.permitted)
            must(time_backwards=s.jumped != n or (getattr(b, "from"), b.to) == (then, e.time))
            if e.chain:
                c = s.chains.setdefault(e.chain.agreement, c)
                due, c.next, c.last = (c.next, c.last), e.chain.number + 1, last
                must(chain_gap=(e.chain.number, e.chain.previous) == due, order=due[0] or e.kind == "agreement")
            due = {int(line[4]): getattr(b, line[3]) for line in MAPS[e.kind] if line[4] and getattr(b, line[3])}
            must({*due} - {7} <= {*raws} <= {*due} and len(raws) == len(attached)
                 and all(kind == 4 or digest(raws[kind]) == due[kind] for kind in raws))
            d = {kind: said_in(s, e, kind, raws[kind]) for kind in raws}
            must(all(not kind or getattr(b, name) == functools.reduce(getattr, path.split("."), d[int(kind)])
                     for *_, name, _, kind, path in MAPS[e.kind]))
            globals().get("on_" + e.kind.replace("-", "_"), lambda *_: None)(s, e, b, c, d)
    return s
def parties(s, who, agreement):
    return [p for p in s.register.members + getattr(s.agreements.get(agreement), "parties", []) if p.id == who]
def said_in(s, e, kind, raw):  # what an attachment says
    if kind == 2: return agreed(raw, s.register.authority)
    if kind == 4: return head_of(s.register, raw.decode(), e.body.origin, e.body.key)
    if kind == 3 and len(raw) > 16: return canonical(raw[16:], "any")
    if kind in (5, 9): return canonical(raw, "message" if kind == 5 else "beside")
    if kind not in (1, 10): return raw
    typ, use, who = ("read-request", "request", "issuer") if kind == 1 else ("notice", "agreement", "from")
    times = [stamp(e.time + apart) for apart in (0, -300000, 300000)]
    said = compact(raw.decode(), typ, lambda said: keys_of(parties(s, getattr(said, who), said.agreement), use, *times))
    return must(kind == 10 or e.trace == (said.trace and b64(bytes.fromhex(said.trace))),
                chain_gap=not e.chain or e.chain.agreement == said.agreement) or said
def agreed(raw, authority):  # what both parties signed, and they as the authority told of them then
    with found("document-signature"):
        envelope, told = canonical(raw, "envelope"), []
        payload, (one, two) = envelope.agreement.payload, envelope.agreement.signatures
        a = Record(**vars(canonical(unb64(payload), "agreement")), name=digest(unb64(payload)), parties=told)
        a.jws, a.raw = envelope.agreement, raw
        for text, who, by in (envelope.provider_entry, a.provider, one), (envelope.consumer_entry, a.consumer, two):
            told.append(party := (entry := compact(text, "participant", lambda _: [authority])).participant)
            must((entry.space, party.id, party.status) == (a.space, who, "active") and one.protected != two.protected
                 and party.valid_from <= a.timestamp < party.valid_until)
            signed(by.protected, payload, by.signature, "agreement", keys_of([party], "agreement", a.timestamp))
        return a
def head_of(register, text, origin, key):  # of a log that the register doesn't know by the key that its entry names
    lines = must(signature=bool(log_keys(register.members, origin)) != bool(key)) or log_keys(register.members, origin)
    with found("signature"):
        name, mark, blob = (key or "++").split("+", 2)
        lines |= lines_of(name, [b64(unb64(blob, PLAIN)[1:])]) if key else {}
        must(not key or [mark] == [line[1].hex() for line in lines] and unb64(blob, PLAIN)[0] == 1)
    return note_of(text, origin, lines)
def standing(known):
    told = known.life.told
    lifted = {lift for act in told.values() if act.kind == "confirm" for lift in told[act.proposal].lifts}
    suspended = any(act.kind == "suspend" and name not in lifted for name, act in told.items())
    return ("revoked" if any(act.kind == "revoke" for act in told.values()) else
            "amended" if known.life.now != known.name else "suspended" if suspended else "in-force")
def on_start(s, e, b, c, d): must(order=b.origin == s.me.log_origin and not s.reads)
def on_extract(s, e, b, c, d): must(order={s.me.id, b.to} == {p.id for p in s.agreements[e.chain.agreement].parties})
def on_negotiation(s, e, b, c, d):
    m, step = d[5], s.steps.setdefault(b.id, Record(state="-", who=(b.side, b.counterparty)))
    first = b.message == "request" or (b.message, b.side, m.consumer_pid) == ("offer", "consumer", "")
    name = digest(unb64(m.agreement.payload)) if m.agreement else step.name
    must([m.provider, m.consumer] == [s.me.id, b.counterparty][::{"provider": 1, "consumer": -1}[b.side]]
         and (first or getattr(m, f"{b.side}_pid") in (None, b.id))
         and (bool(m.offer), bool(m.agreement)) == (b.message in ("request", "offer"), b.message in ("agree", "verify"))
         and (b.state != "VERIFIED" or step.name in (None, name)) and (not m.reason or b.message == "terminate"),
         order=step.who == (b.side, b.counterparty) and (b.by, b.message, b.state, step.state) in STEPS
         and (b.state != "FINALIZED" or name in s.agreements))
    step.state, step.name = b.state, name
    if b.state in ("VERIFIED", "TERMINATED"): s.signed[name] = m.agreement
def on_agreement(s, e, b, c, d):
    a, both, charged = d[2], s.signed.pop(b.agreement, None), s.chains.get(b.amends) or Record()
    old = s.agreements.get(b.amends) or Record(life=Record(told={}))
    must((a.space, both or a.jws) == (s.register.space, a.jws)
         and [a.provider, a.consumer] == [s.me.id, b.counterparty][::{"provider": 1, "consumer": -1}[b.side]],
         chain_gap=e.chain.agreement == b.agreement, order=both and b.agreement not in s.agreements
         and b.uses == charged.uses and b.volume in (None, charged.volume) and b.amends == old.name
         and (not old.name or [p.id for p in old.parties] == [p.id for p in a.parties] and old.life.now == old.name
              and (b.side == "consumer" or standing(old) != "revoked")))
    old.life.now, c.uses, c.volume, s.documents[f"{a.name}.json"] = b.agreement, b.uses or 0, b.volume or 0, a.raw
    s.agreements[a.name] = Record(name=a.name, parties=a.parties, side=b.side, life=old.life)
def on_notice(s, e, b, c, d):
    n, known = d[10], s.agreements[d[10].agreement]
    told, act, ends = known.life.told, n.act, [s.me.id, b.counterparty][::1 if b.by == b.side else -1]
    asked, like = told.get(act.proposal) or Record(), [one for one in told.values() if one.kind == b.act]
    answers = asked.kind == "resume" and asked.by != b.by and all(one.proposal != act.proposal for one in told.values())
    fits = {"suspend": True, "revoke": True, "confirm": answers, "refuse": answers,
            "resume": all(getattr(told.get(lift), "kind", "") == "suspend" for lift in act.lifts or [0]),
            "fact": b.by == "provider" and all(one.name != act.name or one.time < n.time for one in like),
            "fulfil": all((one.of, one.duty) != (n.agreement, act.duty) for one in like)}
    must([getattr(n, "from"), n.to] == ends and n.space == s.register.space and known.side == b.side
         and known.parties[b.by == "consumer"].id == ends[0], order=b.notice not in told and fits[b.act])
    told[b.notice], act.by, act.of, act.time = act, b.by, n.agreement, n.time
    must(order=b.standing == standing(s.agreements[known.life.now]))
def on_decision(s, e, b, c, d):
    r, i, uses, volume, known = d[1], d[3], c.uses, c.volume, e.chain and s.agreements.get(e.chain.agreement)
    c.uses, c.volume = b.uses, c.volume + (b.reserved or 0)
    must(r.provider == s.me.id,
         order=(not b.reasons and b.snapshot if b.permitted else b.reasons and b.reserved is None)
         and (b.uses, b.volume) == (uses + b.permitted, None if b.reserved is None else c.volume)
         and (not known or known.side == "provider"))
    if isinstance(i, Record):
        late = i.now > stamp(e.time + 1000) if i.now_ms is None else i.now_ms > e.time + 1000
        asked = lambda r: (r.issuer, r.provider, r.action, r.purpose, r.roles)
        must((i.agreement.id, i.state.uses, asked(i.request)) == (r.agreement, uses, asked(r))
             and i.state.volume_bytes in (None, volume) and (not late or e.index - s.jumped <= 4096))
    else: must(len(i) == 16 and not b.permitted and (not e.chain or b.reasons == ["clock_jump"]))
    if b.beside:
        intent = opened(parties(s, r.issuer, r.agreement), d[9].intent, d[9].intent_proof)
        must((intent.kind, intent.body.request) == ("intent", b.request))
    if b.permitted:
        must(order=known.parties[1].id == b.consumer and standing(known) == "in-force")
        s.reads[e.hash] = r.agreement, b.reserved
def on_outcome(s, e, b, c, d):
    agreement, reserved = s.reads.pop(b.decision, (None, None))
    uses, c.uses, left = max(c.uses - (b.status == 4), 0), b.uses, max(c.volume - (reserved or 0), 0) + b.bytes
    c.volume = c.volume if b.status == 5 else left
    must(chain_gap=agreement in (None, e.chain.agreement), order=agreement and b.uses == uses
         and (b.status != 4 or not b.rows) and (reserved is None or b.bytes <= reserved)
         and b.volume == (None if reserved is None else c.volume))
def on_intent(s, e, b, c, d):
    must(d[1].issuer == s.me.id, order=b.request not in s.intents and s.agreements[d[1].agreement].side == "consumer")
    s.intents.add(b.request)
def on_received(s, e, b, c, d):
    must(b.decision or not b.outcome and (b.refused or not b.receipt),
         order=b.request in s.intents and s.agreements[d[1].agreement].side == "consumer")
    s.intents.remove(b.request)
    if not b.decision: return
    i, of = canonical(d[8], "receipt"), parties(s, d[1].provider, d[1].agreement)
    given, sent = opened(of, i.decision, i.decision_proof), i.outcome and opened(of, i.outcome, i.outcome_proof)
    must((given.kind, given.hash, given.body.request) == ("decision", b.decision, b.request)
         and (given.body.permitted or b.refused) and len(unb64(i.stream_salt)) == 16
         and (sent or not i.outcome_proof and not b.outcome))
    same = lambda it: (it.rows, it.messages, it.stream_root)
    must(not sent or (sent.kind, sent.hash, sent.body.decision) == ("outcome", b.outcome, b.decision) and (
        b.refused or same(b) == same(sent.body) and (b.messages or b.stream_root == digest(b""))))
def on_checkpoint_kept(s, e, b, c, d):
    newest = s.heads.setdefault(b.origin, b)
    s.heads[b.origin] = max(newest, b, key=lambda head: head.size)
    must(fork=newest.size != b.size or newest.root == b.root)
def on_register_seen(s, e, b, c, d):
    older, s.seen = s.seen, b
    must(s.register.version != b.version or s.register.sha == b.digest,
         order=older.version < b.version or (older.version, older.digest or b.digest) == (b.version, b.digest))

# The directory.
def register_of(folder, authority, space):
    raw, of = (folder / "trust/register.json").read_bytes(), lambda text, typ: compact(text, typ, lambda _: [authority])
    with found("document-signature"):
        outer = canonical(raw, "signed-register")
        version, told = of(outer.register, "register"), [of(text, "participant") for text in outer.entries]
        ids, digests = [entry.participant.id for entry in told], [digest(text.encode()) for text in outer.entries]
        must([(one.participant, one.digest) for one in version.entries] == [*zip(ids, digests)]
             and ids == sorted({*ids}) and (version.version > 1) == bool(version.previous)
             and all(entry.space == version.space and entry.version <= version.version for entry in told))
    must(document_bytes=version.space == space)
    return Record(version=version.version, space=space, sha=digest(outer.register.encode()), authority=authority,
                  members=[entry.participant for entry in told])
def whose(folder): return Record(**tomllib.loads((folder / "perron.toml").read_text()))
def judge(folder, authority, against):
    register, trust, seen, log = register_of(folder, authority, whose(folder).space), folder / "trust", [], Record()
    members, witnesses = {party.id: party for party in register.members}, {}
    me = members.get(whose(folder).participant) or must(document_bytes=False)
    origin, keys = me.log_origin, log_keys([me], me.log_origin)
    for who in members:
        witnesses |= lines_of(f"{register.space}/{who}/witness", keys_of([members[who]], "witness"), b"\4")
    notes = [(path, path.read_bytes(), path.stem) for path in sorted(trust.glob("cosigned/*.checkpoint"))]
    for path in against:
        file = path / "trust/kept" / (origin.replace("/", "_") + ".checkpoint") if path.is_dir() else path
        notes += [(file, file.read_bytes(), None)] if file.exists() else []
        if not path.is_dir() or whose(path).participant not in members: continue
        before, kept = FOUND[:], []
        for leaf, attached in entries_of(Record(), path / "log", members[whose(path).participant], []):
            with contextlib.suppress(Exception):
                if (e := entry_of(leaf)).kind == "checkpoint-kept" and e.body.origin == origin:
                    note_of(dict(attached)[4].decode(), origin, keys)
                    kept.append((path / "log", dict(attached)[4], None))
        notes += kept if FOUND == before else []
        FOUND[:] = before
    for path, raw, by in notes:
        with found("signature", path):
            text, name = raw.decode(errors="replace"), f"{register.space}/{by}/witness"
            if re.fullmatch(NOTE, text) and not text.startswith(f"{origin}\n"): continue
            note = note_of(text, origin, keys, witnesses)
            must(not by or any(line in witnesses and line[0] == name or by[:13] == f"vkey+{line[1].hex()}"
                               for line in note.by))
            seen.append((note.size, note.root, path))
    with found("missing-file", folder / "log"): must((folder / "log").is_dir())
    s, there = said_by(entries_of(log, folder / "log", me, seen), register, me), folder.glob("documents/*")
    compare(folder / "documents", s.documents, "document-bytes", log.whole, {file.name: file for file in there})
    for path in sorted(trust.glob("kept/*.checkpoint")):
        with found("document-bytes", path):
            name = (text := path.read_bytes().decode(errors="replace")).split("\n")[0]
            is_member = any(party.log_origin == name for party in register.members)
            must(path.stem == (name.replace("/", "_") if is_member else f"outside+{sha(name.encode()).hex()}"))
            if told := s.heads.pop(name, Record(size=0) if is_member else None):
                note = head_of(register, text, name, told.key)
                must(older_state=note.size >= told.size,
                     fork=note.size > told.size or note.root == (told.root or note.root))
    with found("missing-file", trust / "kept"): must(not s.heads)
    with found("older-state", trust / "register.json"): must(s.seen.version <= register.version)
def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("dir", type=pathlib.Path)
    parser.add_argument("--against", type=pathlib.Path, action="append", default=[])
    parser.add_argument("--authority")
    given = parser.parse_args()
    try:
        authority = given.authority or (given.dir / "trust/authority.key").read_text().strip()
        must(len(unb64(authority)) == 32 and whose(given.dir).participant and whose(given.dir).space)
        must(all(whose(path).participant if path.is_dir() else path.stat() for path in given.against))
    except Exception as error: return print(f"{given.dir}: {error!r}") or 2
    with found("missing-file", given.dir / "trust/register.json"): judge(given.dir, authority, given.against)
    for kind, where, rule in FOUND: print(f"{kind}: {where}: {rule}")
    print("something is wrong" if FOUND else "nothing is wrong")
    return 1 if FOUND else 0

if __name__ == "__main__": raise SystemExit(main())
