"""How the evidence of an organisation's directory is read, for `verify.py` and whoever wants to look for themselves.

Needs Python 3.11 and the package `cryptography`; shares no code with Perron. Formats are those of docs/reference:
evidence.md, and entry.cddl and documents.cddl, by which entries and documents are read.
"""
import base64, contextlib, functools, hashlib, io, json, pathlib, re, struct, sys
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
class Stub(bytes): "The hash of a leaf that was pruned."
class Record(SimpleNamespace): __getattr__ = lambda self, name: None  # what isn't said is None
def must(holds=True, **others):  # others by what they are found as, with _ for -
    for kind, holds in {"": holds, **others}.items():
        rule = sys._getframe(2 if sys._getframe(1).f_code.co_name == "sure" else 1)
        place = f"{rule.f_code.co_filename.rpartition('/')[2]}:{rule.f_lineno}"
        if not holds: raise Broken(kind.replace("_", "-"), place)
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
    if form in NAMED: return fits(said, NAMED[form]) and (form != "time" or datetime.fromisoformat(said) is not None)
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
    if type_[:3] == "[* ": return [item(source, type_[3:-1]) for _ in range(head(source, 4))]
    if type_ == "span": return must(head(source, 4) == 2) or [item(source, "uint"), item(source, "uint")]
    if type_[:11] == "{* tstr => ":
        said = [(item(source, "tstr"), item(source, type_[11:-1])) for _ in range(head(source, 5))]
        names = sorted(dict(said), key=lambda name: (len(name.encode()), name))
        return sure(dict(said), [name for name, _ in said] == names)
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
def origins(party): return [party.log_origin, *(closed.origin for closed in party.closed_logs or [])]
def log_keys(parties, origin): return lines_of(origin, keys_of([p for p in parties if origin in origins(p)], "log"))
def note_in(text):  # C2SP signed-note, tlog-checkpoint: what it says, lines with their signatures, what was signed
    with found("encoding"):
        origin, size, root, more, lines = re.fullmatch(NOTE, text).groups()
        lines = [line.split(" ")[1:] for line in lines.split("\n")[:-1]]
        lines = [((by, unb64(blob, PLAIN)[:4]), unb64(blob, PLAIN)[4:]) for by, blob in lines]
        must(all(signature for _, signature in lines) and len(unb64(root, PLAIN)) == 32 and int(size) <= 2**62)
        must(min(text.replace("\n", " ")) >= " ")
    return Record(origin=origin, size=int(size), root=b64(unb64(root, PLAIN)), more=more, lines=lines,
                  by=[by for by, _ in lines], body=text[:text.rindex("\n\n") + 1].encode())
def note_of(text, origin, keys, witnesses={}):  # and tlog-cosignature: signed by one of the log's keys at least
    note = note_in(text)
    with found("signature"):
        must(note.origin == origin and {*note.by} & {*keys})
        for by, signature in note.lines:
            time = f"cosignature/v1\ntime {int.from_bytes(signature[:8])}\n".encode()
            if by in keys: verify(keys[by], note.body, signature)
            if by in witnesses: verify(witnesses[by], time + note.body, signature[8:])
    return note

# The tree (RFC 6962, RFC 9162) and its files.
def leaf_hash(leaf): return bytes(leaf) if isinstance(leaf, Stub) else sha(b"\0" + leaf)
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
        entry = sure(entry_of(unb64(leaf)), b64(root) == tree.root and int(index) < tree.size)
    ends = [key.until or "A" for party in parties for key in party.keys
            if key.use == "log" and {*lines_of(origin, [key.key])} & {*tree.by}]
    must(key_not_in_force=all(end > stamp(entry.time - 300000) for end in ends))  # the tree may be a later one
    return entry
def tiles_of(leaves):  # C2SP tlog-tiles: the files of a tree, by their paths
    bundled = [None if isinstance(leaf, Stub) else len(leaf).to_bytes(2) + leaf for leaf in leaves]
    tiles, row, levels = {}, [*map(leaf_hash, leaves)], {"entries": bundled}
    while row:
        levels[len(levels) - 1] = row
        for _ in range(8): row = [node(*row[at:at + 2]) for at in range(0, len(row) - 1, 2)]
    for level, first in [(level, first) for level in levels for first in range(0, len(levels[level]), 256)]:
        tile, (*thousands, last) = levels[level][first:first + 256], f"{first // 256:,}".split(",")
        place = "".join(f"x{part:0>3}/" for part in thousands) + f"{last:0>3}" + f".p/{len(tile)}" * (len(tile) < 256)
        if None not in tile: tiles[f"tile/{level}/{place}"] = b"".join(tile)
    return tiles

# Documents of several signatures.
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
def head_of(register, text, origin, key):  # of a log that the register doesn't know by the key that its entry names
    lines = must(signature=bool(log_keys(register.members, origin)) != bool(key)) or log_keys(register.members, origin)
    with found("signature"):
        name, mark, blob = (key or "++").split("+", 2)
        lines |= lines_of(name, [b64(unb64(blob, PLAIN)[1:])]) if key else {}
        must(not key or [mark] == [line[1].hex() for line in lines] and unb64(blob, PLAIN)[0] == 1)
    return note_of(text, origin, lines)

# The files of a log.
def crc32c(data, crc=2**32 - 1):
    for bit in (byte >> place & 1 for byte in data for place in range(8)): crc = crc >> 1 ^ 0x82F63B78 * (crc & 1 ^ bit)
    return crc ^ 2**32 - 1
def records(path):  # of a segment: all but the trailer, and the digest in it
    with path.open("rb") as file:
        while start := file.read(12):
            raw = start + take(file, int.from_bytes(start[8:]) - 48)
            yield raw, sure(sha(raw), take(file, 36) == sha(raw) + start[8:])
def leaf_from(source, is_marked):
    is_stub = is_marked and sure(mark := number(source, 1), mark < 2)
    return Stub(take(source, 32)) if is_stub else take(source, number(source, 2))
def batches(folder, origin, keys):  # leaves with what is attached to each, the note, whose lines it has
    size, batch, seal, known = 0, 0, bytes(32), {print_of(origin, key) for key in keys.values()}
    named, gone = [], set()  # log keys of the header before, and those that one before that had named
    for segment, path in enumerate(sorted(folder.glob("segment/" + "[0-9]" * 20))):
        raw, sealed = next(stream := records(path), None)
        start = struct.pack(">HQQQQ32sB", 1, int(origin.split("/")[2]), segment, size, size, seal, len(origin))
        before, named = named, [raw[at:at + 32] for at in range(13 + len(start) + len(origin), len(raw), 32)]
        gone |= {*before} - {*named}
        start = b"PERRONsg" + raw[8:12] + start + origin.encode() + bytes([len(named)])
        must(raw == start + b"".join(named) and 0 < len(named) < 5 and path.name == f"{size:020}")
        seal = must(signature=known.issuperset(named), key_not_in_force=gone.isdisjoint(named)) or sealed
        for raw, sealed in stream:
            source = io.BytesIO(raw)
            magic, *at, count, attachments, before, crc = struct.unpack(">8s4xQQII32sI", take(source, 72))
            must(count and (*at, before, crc) == (batch, size, seal, crc32c(raw[:68])))
            is_pruned = sure(magic, magic in (b"PERRONba", b"PERRONpr")) == b"PERRONpr"
            sealed = take(source, 32) if is_pruned else sealed
            bound, last = [(leaf_from(source, is_pruned), []) for _ in range(count)], 0
            must(is_pruned == any(isinstance(leaf, Stub) for leaf, _ in bound))
            for kind, leaf, length in (struct.unpack(">HII", take(source, 10)) for _ in range(attachments)):
                bound[leaf][1].append((kind, take(source, length)))
                last = sure(leaf, leaf >= last and not isinstance(bound[leaf][0], Stub))
            yield bound, source.read().decode(), [(origin, mark[:4]) for mark in named]
            size, batch, seal = size + count, batch + 1, sealed
