#!/usr/bin/env python3
"""Verifies an organisation's directory, or a copy of it, independently of `perron-verify`.

    tools/verify.py DIR [--against NOTE_OR_DIR]... [--authority KEY]

Needs Python 3.11 and the package `cryptography`. It shares no code with Perron. What it reads is told in
docs/reference/evidence.md; what it finds has the names of docs/reference/findings.md.
Exit code: 0 nothing is wrong, 1 something is, 2 there is nothing to verify.
"""
import argparse, base64, calendar, hashlib, json, pathlib, struct, time, tomllib
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

sha = lambda b: hashlib.sha256(b).digest()
MALFORMED = (KeyError, IndexError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError, struct.error)
DOC, SIG, OTHER = "document-bytes", "document-signature", "another log's"


class Bad(Exception):
    pass


FOUND = []


def find(kind, detail="", *, where): FOUND.append((kind, where, detail))


def crc32c(data):
    crc = 2**32 - 1
    for byte in data:
        crc ^= byte
        for _ in range(8): crc = crc >> 1 ^ 0x82F63B78 * (crc & 1)
    return crc ^ 2**32 - 1


def need(holds, kind, detail=""):
    if not holds: raise Bad(kind, detail)


# --- encodings, each in its one canonical spelling ---
def unb64(text, chars=b"-_", kind=DOC):
    url = chars == b"-_"
    try: raw = base64.b64decode(text.encode() + b"=" * (-len(text) % 4 if url else 0), chars, True)
    except ValueError: raise Bad(kind, "not base64") from None
    again = base64.b64encode(raw, chars).decode()
    need((again.rstrip("=") if url else again) == text, kind, "not canonical base64")
    return raw


b64u = lambda raw: base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def jcs(v):  # RFC 8785
    if isinstance(v, dict):
        names = sorted(v, key=lambda n: n.encode("utf-16-be"))
        return "{" + ",".join(json.dumps(n, ensure_ascii=False) + ":" + jcs(v[n]) for n in names) + "}"
    if isinstance(v, list): return "[" + ",".join(map(jcs, v)) + "]"
    return repr(v).replace("e-0", "e-") if isinstance(v, float) else json.dumps(v, ensure_ascii=False)


def canonical(raw, kind=DOC):
    try: value = json.loads(raw)
    except (ValueError, RecursionError): raise Bad(kind, "not JSON") from None
    need(jcs(value).encode() == raw, kind, "not canonical JSON")
    return value


def cbor(raw, at=0):  # RFC 8949: one item; entry_of encodes it again and compares
    major, n, at = raw[at] >> 5, raw[at] & 31, at + 1
    if major == 7: return {20: False, 21: True}[n], at
    if n >= 24:
        size = {24: 1, 25: 2, 26: 4, 27: 8}[n]
        n, at = int.from_bytes(raw[at:at + size]), at + size
    if major < 2: return (-1 - n if major else n), at
    if major < 4: return (raw[at:at + n] if major == 2 else raw[at:at + n].decode()), at + n
    items = []
    for _ in range({4: n, 5: 2 * n}[major]):
        item, at = cbor(raw, at)
        items.append(item)
    return (items if major == 4 else dict(zip(items[::2], items[1::2]))), at


def uncbor(v):  # RFC 8949, 4.2.1
    def head(major, n):
        size = 0 if n < 24 else next(s for s in (1, 2, 4, 8) if n < 1 << 8 * s)
        return bytes([major << 5 | 23 + size.bit_length()]) + n.to_bytes(size) if size else bytes([major << 5 | n])
    if v is True or v is False: return b"\xf5" if v else b"\xf4"
    if isinstance(v, int): return head(0, v) if v >= 0 else head(1, -1 - v)
    if isinstance(v, bytes): return head(2, len(v)) + v
    if isinstance(v, str): return head(3, len(v.encode())) + v.encode()
    if isinstance(v, list): return head(4, len(v)) + b"".join(map(uncbor, v))
    return head(5, len(v)) + b"".join(k + x for k, x in sorted((uncbor(k), uncbor(v[k])) for k in v))


# Bodies of entries: their fields from 0. t text, d digest, u number, i time, b truth, l texts, m digests by name,
# s status; `?` may be absent. Those with `*` stand in an agreement's chain.
BODIES = {1: ("start", "t t m t?"), 2: ("stop", "t"), 3: ("recovery", "u u d l"), 4: ("clock-jump", "i i"),
          10: ("negotiation", "t t t t t t d t?"), 11: ("agreement*", "d d t t t t t d? u? u?"),
          12: ("notice*", "d d t t t t t t?"), 20: ("intent*", "d t t t"),
          21: ("decision", "d b l l d d d? u u t t t? t d? u? u?"), 22: ("outcome*", "d s t? u u u u d u u?"),
          23: ("received*", "d d? d? u u d t? d?"), 24: ("release*", "t d d u u u? u? u?"),
          25: ("schema-grant*", "t u"), 26: ("plan-refusal*", "t t t? d"), 30: ("refusal-summary", "t t u u d"),
          31: ("checkpoint-kept", "t u d t?"), 32: ("staff-refusal", "t t t t?"), 33: ("extract*", "t t"), 40: ("administration", "t t d"),
          41: ("register-seen", "u d")}
FITS = {"t": lambda v: isinstance(v, str), "d": lambda v: isinstance(v, bytes), "b": lambda v: isinstance(v, bool),
        "u": lambda v: type(v) is int and v >= 0, "i": lambda v: type(v) is int and 0 <= v < 253402300800000,
        "l": lambda v: all(isinstance(t, str) for t in v), "s": lambda v: v in range(6), "x": lambda v: len(v[1]) == 1,
        "m": lambda v: all(isinstance(k, str) and isinstance(d, bytes) for k, d in v.items()),
        "p": lambda v: fields(v, "d u d?")}


def fields(value, spec):
    types = spec.split()
    fits = lambda n, t: FITS[t[0]](value[n]) if n in value else t[-1] == "?"
    need(set(value) <= set(range(len(types))) and all(map(fits, range(99), types)), "entry-encoding", "fields")
    return [value.get(n) for n in range(len(types))]


def entry_of(leaf):  # (index, time, leaf before, chain, trace), kind, body
    try:
        value, end = cbor(leaf)
        need(end == len(leaf) and uncbor(value) == leaf and value[0] == 1, "entry-encoding", "not canonical")
        outer = fields(value, "u u i d? d p? d? l? t? x")
        name, spec = BODIES[outer[9][0]]
        chain = outer[5] and fields(outer[5], "d u d?")
        return (outer[1], outer[2], outer[3], chain, outer[6]), name, fields(outer[9][1][0], spec)
    except MALFORMED: raise Bad("entry-encoding", "not an entry") from None


# --- signatures: Ed25519; neither key nor commitment of small order ---
P, SMALL = 2**255 - 19, (0, 1, 2**255 - 20,
    2707385501144840649318225287225658788936804267575313519463743609750303021402,
    55188659117513257062467267217118295137698188065244968500265048394206261417927)


def signed_by(key, message, signature, kind):
    weak = lambda b: (y := int.from_bytes(b, "little") & 2**255 - 1) >= P or y in SMALL
    try:
        need(not weak(key) and not weak(signature[:32]), kind, "of small order")
        Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
    except Bad: raise
    except Exception: raise Bad(kind, "a signature doesn't verify") from None


def jws(protected, payload, signature, typ, key_for):
    start, end = '{"alg":"EdDSA","kid":"', f'","typ":"{typ}"}}'
    header = unb64(protected, kind=SIG).decode(errors="replace")
    need(header.startswith(start) and header.endswith(end), SIG, f"not the header of a {typ}")
    key = key_for(header[len(start):-len(end)])
    need(key, SIG, "not by a key in force")
    signed_by(key, f"{protected}.{payload}".encode(), unb64(signature, kind=SIG), SIG)
    return unb64(payload, kind=SIG)


def compact(text, typ, key_for):
    need(text.count(".") == 2, SIG, "a compact JWS has three parts")
    return canonical(jws(*text.split("."), typ, key_for), SIG)


thumb = lambda key: b64u(sha(b'{"crv":"Ed25519","kty":"OKP","x":"%s"}' % b64u(key).encode()))
millis = lambda t: calendar.timegm(time.strptime(t[:19], "%Y-%m-%dT%H:%M:%S")) * 1000 + int(t[20:23])
alone = lambda key: lambda kid: key if thumb(key) == kid else None
keys = lambda who, use: [unb64(k["key"]) for k in who["keys"] if k["use"] == use]


def in_force(who, use, *times):  # the key of a thumbprint that one of them had at one of these times
    lives = lambda k, t: millis(k["from"]) <= t < millis(k.get("until", "9999-12-31T00:00:00.000Z"))
    held = [unb64(k["key"]) for w in who for k in w["keys"] if k["use"] == use and any(lives(k, t) for t in times)]
    return lambda kid: next((k for k in held if thumb(k) == kid), None)


def vkey_of(text):  # C2SP signed-note: name and key of a verifier key of type 0x01
    name, number, blob = (text.split("+", 2) + ["", ""])[:3]
    raw = unb64(blob, b"+/", "signature")
    need(name and len(raw) == 33 and raw[0] == 1 and sha(name.encode() + b"\n" + raw)[:4].hex() == number, "signature", "not a log's key")
    return name, raw[1:]


def note_of(text, origin, log_keys, strict=False, by=None):  # C2SP tlog-checkpoint: size, root, message, lines
    body, _, lines = text.rpartition("\n\n")
    rows, message = body.split("\n"), (body + "\n").encode()
    need(rows[0] and len(rows) > 2 and all(rows) and lines[-1:] == "\n" and min(body.replace("\n", "")) >= " ",
         "encoding", "not a checkpoint")
    need(rows[0] == origin, "signature", OTHER)
    need(rows[1].isdecimal() and rows[1].isascii() and str(int(rows[1])) == rows[1], "encoding", "not a size")
    size, root, signatures = int(rows[1]), unb64(rows[2], b"+/", "encoding"), []
    for line in lines[:-1].split("\n"):
        need(line.startswith("— ") and line.count(" ") == 2, "encoding", "not a signature line")
        blob = unb64(line.split(" ")[2], b"+/", "encoding")
        signatures.append((line.split(" ")[1], blob[:4], blob[4:]))
    by = by or origin
    ours = {(by, sha(by.encode() + b"\n\1" + k)[:4]): k for k in log_keys}
    mine = [s for s in signatures if s[:2] in ours]
    need(mine and (not strict or len({s[:2] for s in mine}) == len(signatures)), "signature", "unknown lines")
    for name, number, signature in mine: signed_by(ours[name, number], message, signature, "signature")
    return size, root, message, signatures


# --- the tree (RFC 6962, RFC 9162) ---
leaf_hash = lambda leaf: sha(b"\0" + leaf)
node = lambda a, b: sha(b"\1" + a + b)


def root_of(stack):  # of the roots of the perfect subtrees
    root = stack[-1] if stack else sha(b"")
    for left in stack[-2::-1]: root = node(left, root)
    return root


def proven(receipt, leaf, who):  # C2SP tlog-proof: the leaf is in a tree that its owner signed
    rows, note = receipt.partition("\n\n")[::2]
    rows = rows.split("\n")
    size, root = note_of(note, who["log_origin"], keys(who, "log"))[:2]
    need(rows[0] == "c2sp.org/tlog-proof@v1", DOC, "not a proof")
    rows = [r for r in rows[1:] if not r.startswith("extra ")]
    index, last, r = int(rows[0].removeprefix("index ")), size - 1, leaf_hash(leaf)
    need(index < size, SIG, "not in the tree")
    for p in (unb64(row, b"+/") for row in rows[1:]):
        need(last, SIG, "a proof too long")
        if index & 1 or index == last:
            r = node(p, r)
            while not index & 1 and index: index, last = index >> 1, last >> 1
        else: r = node(r, p)
        index, last = index >> 1, last >> 1
    need(last == 0 and r == root, SIG, "a proof doesn't hold")
    return entry_of(leaf)


def tiles_of(leaves, row):  # C2SP tlog-tiles: the files of a tree, by their path
    name = lambda n: "".join(f"x{n // 1000 ** i % 1000:03}/" for i in range((len(str(n)) - 1) // 3, 0, -1)) + f"{n % 1000:03}"
    part = lambda kind, i, left: f"tile/{kind}/{name(i // 256)}" + (f".p/{left}" if left < 256 else "")
    cut = lambda kind, items: {part(kind, i, len(items) - i): b"".join(items[i:i + 256]) for i in range(0, len(items), 256)}
    tiles, level = cut("entries", [len(leaf).to_bytes(2) + leaf for leaf in leaves]), 0
    while row:
        tiles |= cut(level, row)
        for _ in range(8): row = [node(row[i], row[i + 1]) for i in range(0, len(row) - 1, 2)]
        level += 1
    return tiles


class Log:
    """The files under `log/`: every byte of them, the tree, and what each entry binds."""
    def __init__(self, folder, origin, log_keys, kept, take):
        self.stack, self.leaves, self.hashes, self.last, self.batch, self.whole = [], [], [], bytes(32), 0, True
        self.folder, self.origin, self.keys, self.take, self.notes = folder, origin, log_keys, take, {}
        self.roots = {0: sha(b"")}
        try:
            for number, path in enumerate(sorted((folder / "segment").glob("*"))): self.segment(number, path)
        except (Bad, *MALFORMED) as e:
            find(*(e.args if isinstance(e, Bad) else ("segment-bytes", str(e))), where=f"log/segment, entry {self.size}")
            self.whole = False
        for size, root, label in kept:
            if size > self.size: self.whole and find("older-state", "it has seen more entries", where=label)
            elif self.roots[size] != root: find("rewrite", "the log isn't what it was", where=label)
        self.published()

    size = property(lambda self: len(self.hashes))

    def record(self, raw, at, magic):  # length, trailer, digest
        length = int.from_bytes(raw[at + 8:at + 12])
        body, trailer = raw[at:at + length - 36], raw[at + length - 36:at + length]
        need(raw[at:at + 8] == magic and length > 100 and trailer == sha(body) + raw[at + 8:at + 12], "segment-bytes")
        return body, length, trailer[:32]

    def segment(self, number, path):
        raw = path.read_bytes()
        body, at, digest = self.record(raw, 0, b"PERRONsg")
        version, generation, segment, first, size, previous = struct.unpack_from(">HQQQQ32s", body, 12)
        origin, rest = body[79:79 + body[78]].decode(), body[79 + body[78]:]
        fits = version == 1 and segment == number and first == size == self.size and previous == self.last
        need(fits and origin == self.origin and origin.endswith(f"/{generation}") and path.name == f"{first:020}"
             and 0 < rest[0] < 5 and len(rest) == 1 + 32 * rest[0], "segment-bytes", "not the header that follows")
        own = {sha(origin.encode() + b"\n\1" + k): k for k in self.keys}
        named, self.last = [rest[i:i + 32] for i in range(1, len(rest), 32)], digest
        need(all(n in own for n in named), "signature", "it names a key that isn't the log's")
        while at < len(raw):
            body, length, digest = self.record(raw, at, b"PERRONba")
            batch, first, leaves, attachments, previous, crc = struct.unpack_from(">QQII32sI", body, 12)
            follows = batch == self.batch and first == self.size and previous == self.last and leaves
            need(follows and crc == crc32c(body[:68]), "segment-bytes", "it doesn't follow the record before")
            cut, bound, here = 72, {n: [] for n in range(leaves)}, []
            for _ in range(leaves):
                end = cut + 2 + int.from_bytes(body[cut:cut + 2])
                here, cut = here + [body[cut + 2:end]], end
            before = 0
            for _ in range(attachments):
                kind, leaf, size = struct.unpack_from(">HII", body, cut)
                need(before <= leaf < leaves and cut + 10 + size <= len(body), "segment-bytes", "attachments")
                before, cut = leaf, cut + 10 + size
                bound[leaf].append((kind, body[cut - size:cut]))
            for n, leaf in enumerate(here): self.leaf(leaf, bound[n])
            text, where = body[cut:].decode(), f"log/segment/{path.name}, batch {batch}"
            try:
                size, root, message, lines = note_of(text, origin, [own[n] for n in named], True)
                need([l[1] for l in lines] == [n[:4] for n in named], "signature", "not by the keys in force")
                need((size, root) == (self.size, self.roots[self.size]) and message.count(b"\n") == 3, "tree-root")
            except Bad as e: find(*e.args, where=where)
            self.notes[self.size], self.last, self.batch, at = text, digest, batch + 1, at + length

    def leaf(self, leaf, bound):
        size, hash_ = self.size, leaf_hash(leaf)
        self.take(leaf, hash_, bound)
        self.leaves.append(leaf), self.hashes.append(hash_)
        while size & 1: hash_, size = node(self.stack.pop(), hash_), size >> 1
        self.stack.append(hash_)
        self.roots[self.size] = root_of(self.stack)

    def published(self):  # `checkpoint` and the tiles of its tree (C2SP tlog-tiles), and no other file
        there = {str(f.relative_to(self.folder)) for f in self.folder.rglob("*") if f.is_file() or f.is_symlink()}
        there -= {f for f in there if f.startswith("segment/") and len(f) == 28 and f[8:].isdecimal()}
        if "checkpoint" not in there:
            if there: find("missing-file", "tiles, and no checkpoint", where="log/checkpoint")
            return
        try:
            text = (self.folder / "checkpoint").read_bytes().decode()
            size = note_of(text, self.origin, self.keys, True)[0]
            need(size <= self.size or not self.whole, "truncated", "it has seen more entries")
            if size > self.size: return
            need(size in self.notes, "rewrite", "the note of no batch")
            need(self.notes[size] == text, "encoding", "not the note of the segment")
            if size < self.size: find("behind", f"it covers {size} of {self.size}", where="log/checkpoint")
        except Bad as e: return find(*e.args, where="log/checkpoint")
        except UnicodeDecodeError: return find("encoding", "not UTF-8", where="log/checkpoint")
        tiles = tiles_of(self.leaves[:size], self.hashes[:size])
        for path in there - set(tiles) - {"checkpoint"}: find("stray-file", "not of this tree", where=f"log/{path}")
        for path, raw in tiles.items():
            if path not in there: find("missing-file", where=f"log/{path}")
            elif (self.folder / path).read_bytes() != raw: find("tile-bytes", where=f"log/{path}")


NEXT = {f"{state} {by} {message}": to for line in """- consumer request REQUESTED;OFFERED consumer request REQUESTED
- provider offer OFFERED;REQUESTED provider offer OFFERED;OFFERED consumer accept ACCEPTED
REQUESTED provider agree AGREED;ACCEPTED provider agree AGREED;AGREED consumer verify VERIFIED
VERIFIED provider finalize FINALIZED;REQUESTED provider terminate TERMINATED;REQUESTED consumer terminate TERMINATED
OFFERED provider terminate TERMINATED;OFFERED consumer terminate TERMINATED;ACCEPTED provider terminate TERMINATED
VERIFIED provider terminate TERMINATED;AGREED consumer terminate TERMINATED""".split("\n")
        for state, by, message, to in (step.split(" ") for step in line.split(";"))}


class Entries:
    """What the entries say, each against those before it and against what it binds."""
    def __init__(self, me, members, version, authority, space):
        self.me, self.members, self.version, self.authority, self.space = me, members, version, authority, space
        self.n, self.last, self.time, self.jumped, self.chains, self.open, self.intents = 0, None, 0, -10**9, {}, {}, set()
        self.steps, self.signed, self.known, self.kept, self.seen = {}, {}, {}, {}, (0, b"")

    def __call__(self, leaf, hash_, bound):
        self.bound, self.hash, where = bound, hash_, f"entry {self.n}"
        try:
            (index, when, before, chain, self.trace), kind, body = entry_of(leaf)
            back, self.before, self.when = when < self.time, self.time, when
            self.time, placed = when, index == self.n and before == self.last
            need(placed, "order", "it is not at its place")
            need(back == (kind == "clock-jump"), "time-backwards", "its time")
            self.chain = self.link(chain, kind.rstrip("*"), kind[-1] == "*" or kind == "decision" and body[1])
            getattr(self, kind.rstrip("*").replace("-", "_"), lambda *_: None)(*body)
            need(not self.bound, DOC, "an attachment is bound by nothing in it")
        except Bad as e: find(*e.args, where=where)
        except MALFORMED as e: find(DOC, repr(e), where=where)
        self.n, self.last = self.n + 1, hash_

    def link(self, chain, kind, belongs):
        need(chain or not belongs, "chain-gap", "it is in no agreement's chain")
        if not chain: return None
        name, number, before = chain
        c = self.chains.setdefault(name, {"name": name, "leaves": [], "uses": 0, "volume": 0})
        fits = number == len(c["leaves"]) and before == (c["leaves"] or [None])[-1]
        c["leaves"].append(self.hash)
        need(fits, "chain-gap", "it doesn't follow the chain of its agreement")
        need(number or kind == "agreement", "order", "a chain begins with its agreement")
        return c

    def attached(self, kind, digest):
        raw = next((r for k, r in self.bound if k == kind), None)
        need(raw is not None and sha(raw) == digest, DOC, f"the attachment of kind {kind} isn't the one that it binds")
        self.bound.remove((kind, raw))
        return raw

    def who(self, name, agreement=b""):
        return [p for p in [self.members.get(name), *self.known.get(agreement, {}).get("parties", [])] if p and p["id"] == name]

    def start(self, program, origin, modules, engine):
        left, self.open = self.open, {}
        need(origin == self.me["log_origin"] and not left, "order", "another origin, or reads without an outcome")

    def clock_jump(self, before, to):
        self.jumped = self.n
        need(before == self.before and to == self.when, "time-backwards", "not from the entry before to this one")

    def negotiation(self, number, other, side, by, message, state, digest, decided):
        m = canonical(self.attached(5, digest))
        sides = {"provider": "consumer", "consumer": "provider"}
        fits = m[side] == self.me["id"] and m[sides[side]] == other and m["message"] == message and by in sides
        pid = m.get(f"{side}_pid")
        first = message == "request" or message == "offer" and side == "consumer" and not m["consumer_pid"]
        parts = ("offer" in m) == (message in ("request", "offer")) and ("agreement" in m) == (message in ("agree", "verify"))
        need(fits and parts and (first or pid in (None, number)), DOC, "the entry says other than its message")
        step = self.steps.setdefault(number, {"state": "-", "who": (side, other), "name": None})
        to, before = NEXT.get(f"{step['state']} {by} {message}"), step["name"]
        if "agreement" in m: step["name"] = sha(unb64(m["agreement"]["payload"]))
        need(step["who"] == (side, other) and to == state, "order", "no step that the protocol has here")
        need(message != "verify" or step["name"] == before, DOC, "the two sides signed different agreements")
        step["state"] = to
        if to == "VERIFIED": self.signed[step["name"]] = sha(jcs(m["agreement"]).encode())
        if to == "TERMINATED": self.signed.pop(step["name"], None)
        need(to != "FINALIZED" or step["name"] in self.known, "order", "finalized without its agreement")

    def agreement(self, name, envelope, other, side, dataset, basis, regime, amends, uses, volume):
        need(self.chain["name"] == name, "chain-gap", "not in its own chain")
        signed = self.signed.pop(name, None)
        need(name not in self.known and signed, "order", "in force before, or never signed by both")
        e = canonical(self.attached(2, envelope))
        entries = [compact(e[f"{s}_entry"], "perron-participant+jws", alone(self.authority)) for s in ("provider", "consumer")]
        a = json.loads(unb64(e["agreement"]["payload"]))
        need(all(t["space"] == a["space"] for t in entries), SIG, "entries of another space")
        need(a["space"] == self.space, DOC, "an agreement of another space")
        at, parties = millis(a["timestamp"]), [t["participant"] for t in entries]
        for p, s, party in zip(parties, e["agreement"]["signatures"], (a["provider"], a["consumer"])):
            lives = p["id"] == party and p["status"] == "active" and millis(p["valid_from"]) <= at < millis(p["valid_until"])
            need(lives, SIG, "not an organisation in force")
            canonical(jws(s["protected"], e["agreement"]["payload"], s["signature"], "perron-agreement+jws",
                          in_force([p], "agreement", at)), SIG)
        need(len(e["agreement"]["signatures"]) == 2 and a["provider"] != a["consumer"], SIG, "not two signatures")
        o, life = a["offer"], {"now": name, "told": {}, "facts": {}}
        fits = sha(jcs(a).encode()) == name and sha(jcs(e["agreement"]).encode()) == signed and a[side] == self.me["id"]
        same = (other, dataset, basis, regime) == (a["consumer" if side == "provider" else "provider"], o["dataset"],
                                                   o["legal_basis"]["term"], o["regime"])
        need(fits and same and (amends and b64u(amends)) == o.get("amends"), DOC, "it says other than the envelope")
        if amends:
            old = self.chains.get(amends, {"uses": -1})
            need((uses, volume or 0) == (old["uses"], old["volume"] if volume is not None else 0), "order", "what was charged")
            life = self.known[amends]["life"]
            need(life["now"] == amends and (side == "consumer" or self.standing(amends) != "revoked"), "order", "not amendable")
            need([p["id"] for p in self.known[amends]["parties"]] == [a["provider"], a["consumer"]], "order", "of others")
            life["now"] = name
        else: need(uses is None, "order", "nothing was charged before")
        self.chain |= {"uses": uses or 0, "volume": volume or 0}
        self.known[name] = {"parties": parties, "side": side, "life": life, "envelope": envelope}

    def standing(self, name):
        life = self.known[name]["life"]
        acts = life["told"].values()
        lifted = {l for p in acts if p["kind"] == "confirm" for l in life["told"][p["proposal"]]["lifts"]}
        if any(act["kind"] == "revoke" for act in acts): return "revoked"
        if life["now"] != name: return "amended"
        return "suspended" if any(t["kind"] == "suspend" and n not in lifted for n, t in life["told"].items()) else "in-force"

    def extract(self, to, by):
        known = self.known.get(self.chain["name"])
        need(not known or to in [p["id"] for p in known["parties"] if p["id"] != self.me["id"]], "order", "to another")

    def notice(self, name, signed, other, side, by, act, standing, decided):
        text = self.attached(10, signed).decode()
        n = json.loads(unb64(text.split(".")[1]))
        agreement = unb64(n["agreement"])
        need(self.chain["name"] == agreement, "chain-gap", "not in the chain of its agreement")
        times = (self.when, self.when - 300000, self.when + 300000)
        compact(text, "perron-notice+jws", in_force(self.who(n["from"], agreement), "agreement", *times))
        known, me = self.known[agreement], self.me["id"]
        ends = (n["from"], n["to"]) == ((me, other) if by == side else (other, me))
        sender = known["parties"][by == "consumer"]["id"] == n["from"] and side == known["side"]
        need(ends and sender and n["act"]["kind"] == act and n["space"] == self.space and sha(jcs(n).encode()) == name, DOC, "other than its notice")
        life, told = known["life"], n["act"] | {"by": by, "time": n["time"]}
        told_before = b64u(name) in life["told"] or act == "fact" and life["facts"].get(told["name"], "") >= n["time"]
        need(not told_before, "order", "the same notice was taken before")
        asked = life["told"].get(told.get("proposal"), {})
        answered = any(t.get("proposal") == told.get("proposal") for t in life["told"].values())
        if act == "fact": life["facts"][told["name"]] = n["time"]
        elif act in ("confirm", "refuse"):
            need(asked.get("kind") == "resume" and asked["by"] != by and not answered, "order", "no such proposal")
        elif act == "resume":
            need(all(life["told"].get(l, {}).get("kind") == "suspend" for l in told["lifts"]), "order", "no such suspension")
        elif act == "fulfil":
            fulfilled = [t for t in life["told"].values() if t["kind"] == "fulfil" and t["of"] == agreement]
            need(told["duty"] not in [t["duty"] for t in fulfilled], "order", "fulfilled before")
        need(act != "fact" or by == "provider", "order", "facts are told by the provider")
        life["told"][b64u(name)] = told | {"of": agreement}
        need(standing == self.standing(life["now"]), "order", "not the state that the notice leads to")

    def request(self, digest):
        text = self.attached(1, digest).decode()
        claims = json.loads(unb64(text.split(".")[1], kind=SIG))
        agreement = unb64(claims["agreement"])
        times = (self.when, self.when - 300000, self.when + 300000)
        compact(text, "perron-read-request+jws", in_force(self.who(claims["issuer"], agreement), "request", *times))
        need(not self.chain or self.chain["name"] == agreement, "chain-gap", "in the chain of another agreement")
        need(self.trace == (bytes.fromhex(claims["trace"]) if "trace" in claims else None), DOC, "not the trace of its request")
        return claims, agreement

    def own(self, agreement):
        need(self.known.get(agreement, {"side": "consumer"})["side"] == "consumer", "order", "not the consumer's")

    def decision(self, request, permitted, reasons, clauses, module, given, snapshot, uses, register, consumer, purpose,
                 basis, user, beside, reserved, volume):
        claims, agreement = self.request(request)
        c, known = self.chain or {"uses": 0, "volume": 0}, self.known.get(agreement)
        said = (claims["provider"], claims["issuer"], claims["purpose"], claims["user"])
        need(said == (self.me["id"], consumer, purpose, user), DOC, "it says other than its request")
        need(not reasons and snapshot if permitted else reasons and reserved is None, "order", "permits have no reasons")
        before, c["uses"], c["volume"] = (c["uses"], c["volume"]), uses, c["volume"] + (reserved or 0)
        need(uses == before[0] + permitted, "order", "the uses after it")
        need(volume == (None if reserved is None else c["volume"]), "order", "the bytes charged after it")
        salted = self.attached(3, given)
        if len(salted) > 16:
            i, r = canonical(salted[16:]), claims
            now = i["now_ms"] if "now_ms" in i else millis(i["now"])
            late = now > self.when + 1000 and self.n - self.jumped > 4096
            same = [i["request"].get(k) for k in ("issuer", "provider", "action", "purpose", "roles")]
            need(same == [r["issuer"], r["provider"], r["action"], r["purpose"], r.get("roles")] and not late and
                 i["agreement"]["id"] == r["agreement"] and i["state"]["uses"] == before[0] and
                 i["state"].get("volume_bytes", before[1]) == before[1], DOC, "its input is not about this request")
        else: need(len(salted) == 16 and not permitted and (not self.chain or reasons == ["clock_jump"]), DOC, "no input")
        if beside:
            b = canonical(self.attached(9, beside))
            other = self.proven(b["intent"], b["intent_proof"], claims["issuer"], agreement)
            need(other[1] == "intent*" and other[2][0] == request, DOC, "an intent about another request")
        if self.chain and known:
            need(known["side"] == "provider", "order", "another's agreement")
            need(not permitted or known["parties"][1]["id"] == consumer and self.standing(agreement) == "in-force", "order",
                 "it permits a read to another, or under an agreement that is not in force")
        if permitted: self.open[self.hash] = (agreement, reserved)

    def outcome(self, decision, status, reason, batches, rows, sent, messages, root, uses, volume):
        agreement, reserved = self.open.pop(decision, (None, None))
        need(agreement, "order", "no permit without an outcome is the decision that it names")
        need(self.chain["name"] == agreement, "chain-gap", "in the chain of another agreement")
        c, due = self.chain, max(self.chain["uses"] - (status == 4), 0)
        if status != 5: c["volume"] = max(c["volume"] - (reserved or 0), 0) + sent
        c["uses"] = uses
        need(uses == due and (status != 4 or not rows) and (reserved is None or sent <= reserved), "order", "its counts")
        need(volume == (None if reserved is None else c["volume"]), "order", "the bytes charged after it")

    def intent(self, request, user, purpose, provider):
        claims, agreement = self.request(request)
        said = (claims["issuer"], claims["provider"], claims["purpose"], claims["user"])
        need(said == (self.me["id"], provider, purpose, user), DOC, "it says other than its request")
        need(request not in self.intents, "order", "intended before")
        self.intents.add(request), self.own(agreement)

    def received(self, request, decision, outcome, rows, messages, root, refused, receipt):
        claims, agreement = self.request(request)
        need(request in self.intents, "order", "no intent is about its request")
        self.intents.remove(request), self.own(agreement)
        r = canonical(self.attached(8, receipt)) if receipt else None
        if refused and not decision: return need(not outcome, DOC, "an outcome without its decision")
        need((r is None) == (decision is None) and (r or not outcome), DOC, "a decision exactly where its receipt is")
        if not r: return
        need(len(unb64(r["stream_salt"])) == 16, DOC, "no salt")
        _, kind, d = self.proven(r["decision"], r["decision_proof"], claims["provider"], agreement)
        need(kind == "decision" and d[0] == request and (d[1] or refused) and decision == leaf_hash(unb64(r["decision"])), DOC)
        if not r["outcome"]: return need(not r["outcome_proof"] and not outcome, DOC, "an outcome that it doesn't hold")
        _, kind, o = self.proven(r["outcome"], r["outcome_proof"], claims["provider"], agreement)
        need(kind == "outcome*" and o[0] == decision and outcome == leaf_hash(unb64(r["outcome"])), DOC, "another outcome")
        same = (rows, messages, root) == (o[4], o[6], o[7]) and (messages or root == sha(b""))
        need(refused or same, DOC, "the outcome isn't what was received")

    def proven(self, leaf, proof, who, agreement):
        parties, raw = self.who(who, agreement), unb64(leaf)
        for last, party in enumerate(parties, 1 - len(parties)):
            try: return proven(proof, raw, party)
            except Bad:
                if not last: raise
        need(False, SIG, "unknown")

    def kept_note(self, text, origin, key):  # a log that the register doesn't know by the key that its entry names
        owner = next((p for p in self.members.values() if p["log_origin"] == origin), None)
        need(bool(owner) != bool(key), "signature", "the register knows no such log, or by other keys")
        if owner: return note_of(text, origin, keys(owner, "log"))[:2]
        name, key = vkey_of(key)
        return note_of(text, origin, [key], by=name)[:2]

    def checkpoint_kept(self, origin, size, root, key):
        raw = next((r for k, r in self.bound if k == 4), None)
        need(raw is not None, DOC, "its checkpoint is not attached")
        self.bound.remove((4, raw))
        need(self.kept_note(raw.decode(), origin, key) == (size, root), DOC, "another checkpoint")
        newest = self.kept.setdefault(origin, (size, root, key))
        self.kept[origin] = max(newest, (size, root, key), key=lambda head: head[:2])
        need(newest[0] != size or newest[1] == root, "fork", "another one of that size")

    def administration(self, action, actor, document): self.attached(6, document)

    def register_seen(self, version, digest):
        for kind, raw in [b for b in self.bound if b[0] == 7]: self.attached(7, digest)
        before, self.seen = self.seen, (version, digest)
        need(before[0] <= version and (before[0] != version or before[1] == digest), "order", "an older register")
        need(self.version[0] != version or self.version[1] == digest, DOC, "another register of this version")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("dir", type=pathlib.Path)
    parser.add_argument("--against", type=pathlib.Path, action="append", default=[])
    parser.add_argument("--authority")
    given = parser.parse_args()
    folder, trust = given.dir, given.dir / "trust"
    try:
        config = tomllib.loads((folder / "perron.toml").read_text())
        authority = unb64(given.authority or (trust / "authority.key").read_text().strip())
        for path in given.against: path.stat()
    except (OSError, ValueError, Bad) as e:
        print(f"{folder}: {e}")
        return 2
    try: verify(folder, trust, config, authority, given.against)
    except Bad as e: find(*e.args, where="trust/register.json")
    except (OSError, *MALFORMED) as e: find("missing-file", repr(e), where="trust/register.json")
    for kind, where, detail in FOUND: print(f"{kind}: {where}: {detail}")
    bad = [f for f in FOUND if f[0] != "behind"]
    print("something is wrong" if bad else "nothing is wrong")
    return 1 if bad else 0


def register_of(raw, authority, space):
    outer = canonical(raw, SIG)
    version = compact(outer["register"], "perron-register+jws", alone(authority))
    told = [compact(text, "perron-participant+jws", alone(authority)) for text in outer["entries"]]
    listed = [(e["participant"], unb64(e["digest"])) for e in version["entries"]]
    here = [(e["participant"]["id"], sha(t.encode())) for e, t in zip(told, outer["entries"])]
    need(listed == here == sorted(here), SIG, "not the entries that it lists")
    need(version["space"] == space and all(e["space"] == space for e in told), DOC, "another space's")
    return (version["version"], sha(outer["register"].encode())), {e["participant"]["id"]: e["participant"] for e in told}


def verify(folder, trust, config, authority, against):
    version, members = register_of((trust / "register.json").read_bytes(), authority, config["space"])
    need(config["participant"] in members, DOC, "it doesn't tell of this organisation")
    me = members[config["participant"]]
    origin, log_keys, kept, name = me["log_origin"], keys(me, "log"), [], me["log_origin"].replace("/", "_") + ".checkpoint"

    def head(path, by=None):  # a head of this log that someone saw; by whom, where it must be cosigned
        # A witness that no register names: its lines are a policy's to judge.
        fingerprint = by and by.startswith("vkey+") and by.removeprefix("vkey+")
        by = None if fingerprint else by
        text = path.read_bytes().decode(errors="replace")
        try:
            size, root, message, all_lines = note_of(text, origin, log_keys)
            lines = all_lines
            cosigner = by and f"{config['space']}/{by}/witness"
            own = {sha(cosigner.encode() + b"\n\4" + k)[:4]: k for k in keys(members.get(by, {"keys": []}), "witness")} if by else {}
            lines = [(own[l[1]], l[2]) for l in lines if by and l[0] == cosigner and l[1] in own]
            need(lines or not by, "signature", "not cosigned")
            need(not fingerprint or any(l[1].hex() == fingerprint[:8] for l in all_lines), "signature", "not cosigned")
            for key, blob in lines:
                signed_by(key, f"cosignature/v1\ntime {int.from_bytes(blob[:8])}\n".encode() + message, blob[8:], "signature")
            kept.append((size, root, str(path)))
        except Bad as e: e.args[1:] == (OTHER,) or find(*e.args, where=path)
    for path in sorted((trust / "cosigned").glob("*.checkpoint")): head(path, path.name.removesuffix(".checkpoint"))
    for path in against:
        for file in [path / "trust/kept" / name] if path.is_dir() else [path]: file.exists() and head(file)
        if path.is_dir():
            try: heads(path, members, origin, kept)
            except (Bad, OSError, *MALFORMED): pass  # a partner whose own log is broken still lends its file
    if not (folder / "log").is_dir(): return find("missing-file", "there is no log", where="log")
    entries = Entries(me, members, version, authority, config["space"])
    log = Log(folder / "log", origin, log_keys, kept, entries)
    envelopes = {f"{b64u(name)}.json": known["envelope"] for name, known in entries.known.items()}
    there = {f.name: f for f in (folder / "documents").glob("*")}
    for name in set(there) - set(envelopes): log.whole and find("stray-file", where=f"documents/{name}")
    for name, digest in envelopes.items():
        if name not in there: find("missing-file", where=f"documents/{name}")
        elif not there[name].is_file() or there[name].is_symlink() or sha(there[name].read_bytes()) != digest:
            find(DOC, "not the envelope in the log", where=f"documents/{name}")
    for path in sorted((trust / "kept").glob("*.checkpoint")):
        text = path.read_bytes().decode(errors="replace")
        origin = text.split("\n")[0]
        try:
            is_member = any(p["log_origin"] == origin for p in members.values())
            name = origin.replace("/", "_") if is_member else f"outside+{sha(origin.encode()).hex()}"
            need(name + ".checkpoint" == path.name, DOC, "another log's")
            if not is_member and origin not in entries.kept: continue  # a crash lay between file and entry
            told = entries.kept.pop(origin, None)
            size, root = entries.kept_note(text, origin, told and told[2])
            told = told or (0, root)
            need(size >= told[0], "older-state", "the log tells of a newer one")
            need(size != told[0] or root == told[1], "fork", "another one of that size")
        except Bad as e: find(*e.args, where=path)
    for origin in entries.kept: find("missing-file", origin, where="trust/kept")
    if entries.seen[0] > version[0]: find("older-state", "the log tells of a newer one", where="trust/register.json")


def heads(partner, members, origin, kept):  # the heads of this log that a partner's own log tells of
    config = tomllib.loads((partner / "perron.toml").read_text())
    them, notes, before = members[config["participant"]], [], list(FOUND)

    def take(leaf, hash_, bound):
        _, kind, body = entry_of(leaf)
        if kind == "checkpoint-kept" and body[0] == origin: notes.append(next(r for k, r in bound if k == 4).decode())
    log = Log(partner / "log", them["log_origin"], keys(them, "log"), [], take)
    sound, FOUND[:] = log.whole and all(f[0] == "behind" for f in FOUND[len(before):]), before
    me = next(p for p in members.values() if p["log_origin"] == origin)
    for text in notes if sound else []:
        size, root = note_of(text, origin, keys(me, "log"))[:2]
        kept.append((size, root, f"{partner}/log"))


if __name__ == "__main__":
    raise SystemExit(main())
