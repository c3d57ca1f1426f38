"""A forger: reads an organisation's log, changes it, and writes it anew, with whatever keys they have."""
import hashlib, itertools, json, pathlib, shutil, struct, sys, tomllib

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "tools"))
import evidence as v
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

KINDS = {name: int(number) for number, name in v.KINDS}
FIELDS = {kind: {line[3]: int(line[1]) for line in v.MAPS[kind]} for kind in KINDS}


def decoded(raw, at=0):
    """A CBOR item of any kind that an entry has, and where it ends."""
    major, n, at = raw[at] >> 5, raw[at] & 31, at + 1
    if major == 7: return {20: False, 21: True}[n], at
    if n >= 24:
        size = {24: 1, 25: 2, 26: 4, 27: 8}[n]
        n, at = int.from_bytes(raw[at:at + size]), at + size
    if major < 2: return (-1 - n if major else n), at
    if major < 4: return (raw[at:at + n] if major == 2 else raw[at:at + n].decode()), at + n
    items = []
    for _ in range({4: n, 5: 2 * n}[major]):
        item, at = decoded(raw, at)
        items.append(item)
    return (items if major == 4 else dict(zip(items[::2], items[1::2]))), at


def encoded(value):
    """Deterministic CBOR (RFC 8949, 4.2.1)."""
    def head(major, n):
        size = 0 if n < 24 else next(s for s in (1, 2, 4, 8) if n < 1 << 8 * s)
        return bytes([major << 5 | 23 + size.bit_length()]) + n.to_bytes(size) if size else bytes([major << 5 | n])
    if value is True or value is False: return b"\xf5" if value else b"\xf4"
    if isinstance(value, int): return head(0, value) if value >= 0 else head(1, -1 - value)
    if isinstance(value, bytes): return head(2, len(value)) + value
    if isinstance(value, str): return head(3, len(value.encode())) + value.encode()
    if isinstance(value, list): return head(4, len(value)) + b"".join(map(encoded, value))
    return head(5, len(value)) + b"".join(k + x for k, x in sorted((encoded(k), encoded(value[k])) for k in value))


def bind_by(entry, name, raw):
    """What is attached, by a field of its own; a decision's `attached` is of all but its request."""
    parts = sorted((kind, v.sha(raw)) for kind, raw in entry.attached if kind in (3, 9, 11))
    one = v.sha(b"".join(struct.pack(">H", kind) + part for kind, part in parts))
    entry.body[FIELDS[entry.kind][name]] = one if name == "attached" else v.sha(raw)


def jws(sign, public, typ, payload):
    """A compact JWS: `sign` gives the signature over bytes, `public` is the key that the header names."""
    kid = v.digest(b'{"crv":"Ed25519","kty":"OKP","x":"%s"}' % v.b64(public).encode())
    header = json.dumps({"alg": "EdDSA", "kid": kid, "typ": f"perron-{typ}+jws"}, separators=(",", ":"))
    signing = f"{v.b64(header.encode())}.{v.b64(payload)}"
    return f"{signing}.{v.b64(sign(signing.encode()))}"


def by_nobody(message, public):
    """A signature by a public key of order 8, which has no private one: every eighth try fits."""
    for number in itertools.count():
        seed = number.to_bytes(32)
        commitment = Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()
        order = 2**252 + 27742317777372353535851937790883648493
        scalar = int.from_bytes(hashlib.sha512(seed).digest()[:32], "little") & (1 << 254) - 8 | 1 << 254
        if int.from_bytes(hashlib.sha512(commitment + public + message).digest(), "little") % order % 8 == 0:
            return commitment + (scalar % order).to_bytes(32, "little")


def nobodys_register(folder, point):
    """The register as if an authority of a key of order 8 had signed it, and that key in the directory."""
    public, file = bytes.fromhex(point), folder / "trust/register.json"
    register = json.loads(file.read_bytes())
    spelled = lambda value: json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()
    sign = lambda typ, payload: jws(lambda message: by_nobody(message, public), public, typ, payload)
    entries = [sign("participant", v.unb64(text.split(".")[1])) for text in register["entries"]]
    version = json.loads(v.unb64(register["register"].split(".")[1]))
    for listed, text in zip(version["entries"], entries): listed["digest"] = v.digest(text.encode())
    file.write_bytes(spelled({"register": sign("register", spelled(version)), "entries": entries}))
    (folder / "trust/authority.key").write_text(v.b64(public))


def private(path):
    return load_pem_private_key(path.read_bytes(), None)


class Entry:
    """A leaf as CBOR, what is attached to it, and its hash as it was."""

    def __init__(self, leaf, attached):
        self.value, self.attached, self.raw = decoded(leaf)[0], attached, None
        self.before = v.leaf_hash(leaf)

    kind = property(lambda self: dict(v.KINDS)[str(self.value[9][0])])
    body = property(lambda self: self.value[9][1][0])

    def leaf(self):
        return encoded(self.value) if self.raw is None else self.raw


class Forger:
    """The log of one directory, taken apart."""

    def __init__(self, folder, segment=None):
        self.folder, self.segment = folder, segment or next((folder / "log/segment").iterdir())
        raw = self.segment.read_bytes()
        at = int.from_bytes(raw[8:12])
        self.header, self.batches, self.notes, self.entries = raw[:at], [], [], []
        while at < len(raw):
            length, = struct.unpack_from(">I", raw, at + 8)
            leaves, attachments = struct.unpack_from(">II", raw, at + 28)
            here, cut = [], at + 72
            for _ in range(leaves):
                size = int.from_bytes(raw[cut:cut + 2])
                here.append(Entry(raw[cut + 2:cut + 2 + size], []))
                cut += 2 + size
            for _ in range(attachments):
                kind, leaf, size = struct.unpack_from(">HII", raw, cut)
                here[leaf].attached.append((kind, raw[cut + 10:cut + 10 + size]))
                cut += 10 + size
            self.entries += here
            self.batches.append(leaves)
            self.notes.append(raw[cut:at + length - 36].decode())
            at += length
        self.key, self.origin = private(folder / "keys/log.pem"), self.notes[0].split("\n")[0]

    def find(self, name):
        kind, number = name.split("#")
        return [e for e in self.entries if e.kind == kind][int(number)]

    # --- steps on entries ---
    def drop(self, names, **_):
        for entry in [self.find(name) for name in ([names] if isinstance(names, str) else names)]:
            self.entries.remove(entry)

    def until(self, name, **_):
        self.entries = self.entries[:self.entries.index(self.find(name)) + 1]

    def swap(self, names, **_):
        one, two = (self.entries.index(self.find(name)) for name in names)
        self.entries[one], self.entries[two] = self.entries[two], self.entries[one]

    def repeat(self, name, **_):
        entry = self.find(name)
        twin = Entry(encoded(entry.value), list(entry.attached))
        self.entries.insert(self.entries.index(entry) + 1, twin)

    def insert(self, kind, before, fields, time=0, chain=None, **_):
        place = self.entries.index(self.find(before))
        value = {0: 1, 1: 0, 2: self.entries[place].value[2] + time, 4: bytes(16), 9: [KINDS[kind], [{}]]}
        if chain: value[5] = {0: self.find(chain).body[0], 1: 0}
        made = Entry(encoded(value), [])
        made.body.update({int(n): self.literal(x) for n, x in fields.items()})
        self.entries.insert(place, made)

    def set(self, name, field, to=None, of=None, **_):
        entry = self.find(name)
        place = FIELDS[entry.kind][field] if field in FIELDS[entry.kind] else int(field)
        if of: entry.body[place] = self.find(of).body[FIELDS[self.find(of).kind][field]]
        elif to is None: del entry.body[place]
        else: entry.body[place] = self.literal(to)

    def tell(self, act, agreement, before, **_):
        """A notice of the log's owner about an agreement, by its key."""
        holder, place, deal = private(self.folder / "keys/agreement.pem"), self.find(before), self.find(agreement)
        space, me = self.origin.split("/")[:2]
        said = {"type": "perron-notice/v1", "space": space, "id": "n", "from": me, "to": deal.body[2],
                "agreement": v.b64(deal.body[0]), "time": v.stamp(place.value[2]), "act": act}
        said = json.dumps(said, sort_keys=True, separators=(",", ":")).encode()
        signed = jws(holder.sign, holder.public_key().public_bytes_raw(), "notice", said).encode()
        body = {0: v.sha(said), 1: v.sha(signed), 2: deal.body[2], 3: deal.body[3], 4: deal.body[3], 5: act["kind"], 6: "in-force"}
        value = {0: 1, 1: 0, 2: place.value[2], 4: bytes(16), 5: {0: deal.body[0], 1: 0}, 9: [KINDS["notice"], [body]]}
        self.entries.insert(self.entries.index(place), Entry(encoded(value), [(10, signed)]))

    def literal(self, to):
        if isinstance(to, list): return [self.literal(x) for x in to]
        if isinstance(to, str) and to.startswith("place:"): return self.entries.index(self.find(to[6:]))
        if isinstance(to, str) and to.startswith("hex:"): return bytes.fromhex(to[4:])
        if isinstance(to, str) and to.startswith("leaf:"): return self.find(to[5:]).before
        if isinstance(to, str) and to.startswith("kept:"):  # size of the newest checkpoint kept of an organisation's log
            return max(e.body[1] for e in self.entries if e.kind == "checkpoint-kept" and f"/{to[5:]}/" in e.body[0])
        if isinstance(to, str) and to.startswith("time:"): return self.find(to[5:]).value[2]
        return to

    def time(self, name, shift, **_):
        self.find(name).value[2] += shift

    def chain(self, name, number=None, agreement=None, gone=False, **_):
        value = self.find(name).value
        if gone: del value[5]
        if number is not None: value[5][1] = number
        if agreement: value[5][0] = self.find(agreement).body[0]

    def raw(self, name, bytes, **_):
        self.find(name).raw = self.literal(bytes)

    def member(self, name, number, to, **_):
        self.find(name).value[number] = self.literal(to)

    def detach(self, name, kind, **_):
        self.find(name).attached = [a for a in self.find(name).attached if a[0] != kind]

    def attach(self, name, kind, text="", of=None, **_):
        raw = next(r for k, r in self.find(of).attached if k == kind) if of else text.encode()
        entry = self.find(name)
        entry.attached = [a for a in entry.attached if not of or a[0] != kind] + [(kind, raw)]

    def spoil(self, name, kind, old, new, bind=None, **_):
        entry = self.find(name)
        at = next(i for i, a in enumerate(entry.attached) if a[0] == kind)
        raw = entry.attached[at][1]
        assert old.encode() in raw, f"{old} is not in it"
        entry.attached[at] = (kind, raw.replace(old.encode(), new.encode(), 1))
        if bind: bind_by(entry, bind, entry.attached[at][1])

    def resign(self, name, kind, by, key, old, new, bind, **_):
        """What an attached signature says, otherwise, and signed anew by a party."""
        entry, holder = self.find(name), private(self.folder.parent / by / f"keys/{key}.pem")
        at, raw = next((at, raw) for at, (k, raw) in enumerate(entry.attached) if k == kind)
        header, payload, _ = raw.decode().split(".")
        typ = json.loads(v.unb64(header))["typ"].removeprefix("perron-").removesuffix("+jws")
        assert old in v.unb64(payload).decode(), f"{old} is not in it"
        said = v.unb64(payload).decode().replace(old, new, 1).encode()
        signed = jws(holder.sign, holder.public_key().public_bytes_raw(), typ, said).encode()
        entry.attached[at] = (kind, signed)
        bind_by(entry, bind, signed)

    # --- retention: entries behind all others, then leaves ---
    def behind(self, kind, document, **fields):
        value = {0: 1, 1: 0, 2: self.entries[-1].value[2], 4: bytes(16), 9: [KINDS[kind], [{}]]}
        made = Entry(encoded(value), [(6, document)])
        made.body.update({FIELDS[kind][name]: said for name, said in (fields | {"document": v.sha(document)}).items()})
        self.entries.append(made)

    def rule(self, days, by="commune", **_):
        """A retention rule of the log's owner, by a party's agreement key."""
        who, holder = self.origin.split("/"), private(self.folder.parent / by / "keys/agreement.pem")
        said = {"type": "perron-retention/v1", "space": who[0], "participant": who[1], "number": 1,
                "issued": "2026-01-01T00:00:00.000Z", "default_days": days, "activities": {}}
        said = json.dumps(said, sort_keys=True, separators=(",", ":")).encode()
        signed = jws(holder.sign, holder.public_key().public_bytes_raw(), "retention", said).encode()
        self.days, self.signed_rule = days, signed
        self.behind("administration", signed, action="retention.set", actor="operator")

    def says_pruned(self, names, **_):
        """That these entries are pruned, by the rule before."""
        places = sorted(self.entries.index(self.find(name)) for name in names)
        group = {"days": self.days, "kinds": {}, "ranges": [[place, place + 1] for place in places]}
        said = json.dumps({"type": "perron-pruning/v1", "groups": [group]}, sort_keys=True, separators=(",", ":")).encode()
        self.behind("pruned", said, rule=v.sha(self.signed_rule), leaves=len(places), actor="operator")

    def prune(self, names, **_):
        """Their hashes alone are written."""
        self.gone = [self.find(name) for name in names]

    # --- writing it anew ---
    gone = ()

    def number(self, keep):
        known, heads, last = {}, {}, None
        renamed = lambda x: known.get(x, x) if isinstance(x, bytes) and len(x) == 32 else x
        for index, entry in enumerate(self.entries):
            value = entry.value
            if "index" not in keep: value[1] = index
            if "previous" not in keep: value.pop(3, None) if last is None else value.update({3: last})
            if 5 in value and "chain" not in keep:
                number, before = heads.get(value[5][0], (0, None))
                value[5] = {0: value[5][0], 1: number} | ({} if before is None else {2: before})
            value[9][1][0] = {n: renamed(x) for n, x in entry.body.items()}
            last = v.leaf_hash(entry.leaf())
            known[entry.before] = last
            if 5 in value: heads[value[5][0]] = (value[5][1] + 1, last)

    def write(self, keep=(), key=None, name=None, header=None):
        if "numbers" not in keep: self.number(keep)
        keys = key if isinstance(key, list) else [key or self.key]
        line_name = name or self.origin
        print_of = lambda key: v.sha(line_name.encode() + b"\n\1" + key.public_key().public_bytes_raw())
        head = self.header[:-36]
        if header: head = header(head, print_of(keys[0]), print_of(stranger()))
        out = self.closed(head)
        digest, first, leaves, perfect, sizes = out[-36:-4], 0, [], [], self.sizes()
        for batch, size in enumerate(sizes):
            here = self.entries[first:first + size]
            for entry in here:
                perfect = v.grown(perfect, len(leaves), v.leaf_hash(entry.leaf()))
                leaves.append(entry.leaf())
            body = b"".join(len(e.leaf()).to_bytes(2) + e.leaf() for e in here)
            bound = [(k, n, r) for n, e in enumerate(here) for k, r in e.attached]
            body += b"".join(struct.pack(">HII", k, n, len(r)) + r for k, n, r in bound)
            text = f"{self.origin}\n{first + size}\n{v.b64(v.unb64(v.root_of(perfect)), v.PLAIN)}\n"
            note = self.notes[batch] if "notes" in keep else self.signed(text, keys, line_name, print_of)
            body += note.encode()
            def record(magic, body, bound):
                head = struct.pack(">8sIQQII32s", magic, 72 + len(body) + 36, batch, first, size, len(bound), digest)
                crc = v.crc32c(head) ^ ("crc" in keep)
                return self.closed(head + crc.to_bytes(4) + body)
            whole = record(b"PERRONba", body, bound)
            written = whole
            if any(e in self.gone for e in here):
                marked = lambda e: b"\1" + v.leaf_hash(e.leaf()) if e in self.gone else b"\0" + len(e.leaf()).to_bytes(2) + e.leaf()
                left = [(k, n, r) for k, n, r in bound if here[n] not in self.gone]
                body = whole[-36:-4] + b"".join(map(marked, here))
                body += b"".join(struct.pack(">HII", k, n, len(r)) + r for k, n, r in left) + note.encode()
                written = record(b"PERRONpr", body, left)
            out, digest, first = out + written, whole[-36:-4], first + size
        self.segment.write_bytes(out)
        if "derived" in keep: return
        (self.folder / "log/checkpoint").write_text(note)
        shutil.rmtree(self.folder / "log/tile")
        leaves = [v.Stub(v.leaf_hash(leaf)) if entry in self.gone else leaf for entry, leaf in zip(self.entries, leaves)]
        for path, raw in v.tiles_of(leaves).items():
            (self.folder / "log" / path).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / "log" / path).write_bytes(raw)

    def sizes(self):
        """The batches as they were, the last one with what is more or less."""
        sizes, left = [], len(self.entries)
        for size in self.batches:
            sizes.append(min(size, left))
            left -= sizes[-1]
        sizes[-1] += left
        return [size for size in sizes if size]

    def closed(self, body):
        return body + v.sha(body) + (len(body) + 36).to_bytes(4)

    def signed(self, text, keys, name, print_of):
        lines = [v.b64(print_of(key)[:4] + key.sign(text.encode()), v.PLAIN) for key in keys]
        return f"{text}\n" + "".join(f"— {name} {line}\n" for line in lines)


def go_on(folder, by, time):
    """Another segment behind the last one, by the log's key or the stranger's, with one entry, so many seconds after
    the last entry of the first segment. Where that is back in time, the entry tells so."""
    parts = [Forger(folder, file) for file in sorted((folder / "log/segment").iterdir())]
    entries, perfect, whole = [e for part in parts for e in part.entries], [], parts[0]
    for n, entry in enumerate(entries): perfect = v.grown(perfect, n, v.leaf_hash(entry.leaf()))
    size, before, at = len(entries), entries[-1].value[2], parts[0].entries[-1].value[2] + time * 1000
    kind, said = ("clock-jump", {0: before, 1: at}) if at < before else ("stop", {0: "signal"})
    value = {0: 1, 1: size, 2: at, 3: v.leaf_hash(entries[-1].leaf()), 4: bytes(16), 9: [KINDS[kind], [said]]}
    leaf, key, origin = encoded(value), {"own": whole.key, "stranger": stranger()}[by], whole.origin.encode()
    print_of = lambda key: v.sha(origin + b"\n\1" + key.public_key().public_bytes_raw())
    seal, generation = parts[-1].segment.read_bytes()[-36:-4], int(whole.origin.split("/")[2])
    head = struct.pack(">HQQQQ32sB", 1, generation, len(parts), size, size, seal, len(origin)) + origin
    head += b"\1" + print_of(key)
    head = whole.closed(b"PERRONsg" + (len(head) + 48).to_bytes(4) + head)
    root = v.root_of(v.grown(perfect, size, v.leaf_hash(leaf)))
    text = f"{whole.origin}\n{size + 1}\n{v.b64(v.unb64(root), v.PLAIN)}\n"
    body = len(leaf).to_bytes(2) + leaf + whole.signed(text, [key], whole.origin, print_of).encode()
    batch = sum(len(part.batches) for part in parts)
    front = struct.pack(">8sIQQII32s", b"PERRONba", 108 + len(body), batch, size, 1, 0, head[-36:-4])
    (folder / f"log/segment/{size:020}").write_bytes(head + whole.closed(front + v.crc32c(front).to_bytes(4) + body))


def change_key(folder, use, of=None, until=None, add=None, by="authority-alone", consent=None):
    """The authority signs a register in which a key ends, and the stranger's comes in its place."""
    times = [e.value[2] for e in Forger(folder).entries]
    def at(text):
        base, sign, seconds = text.partition("+" if "+" in text else "-")
        return v.stamp({"first": times[0], "last": times[-1]}[base] + int(sign + seconds) * 1000)
    spelled = lambda value: json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()
    signed = lambda key, typ, said: jws(key.sign, key.public_key().public_bytes_raw(), typ, spelled(said))
    said = lambda text: json.loads(v.unb64(text.split(".")[1]))
    authority, file = private(folder.parent / "authority/keys/register.pem"), folder / "trust/register.json"
    outer, own = json.loads(file.read_bytes()), of or tomllib.loads((folder / "perron.toml").read_text())["participant"]
    version, entries = said(outer["register"]), [said(text) for text in outer["entries"]]
    version |= {"version": version["version"] + 1, "previous": v.digest(outer["register"].encode())}
    for n, entry in enumerate(entries):
        who = entry["participant"]
        if who["id"] != own: continue
        if until: next(k for k in who["keys"] if k["use"] == use)["until"] = at(until)
        new = v.b64(stranger().public_key().public_bytes_raw())
        told = {"space": entry["space"], "participant": own, "use": use, "key": new}
        signer = {"old": lambda: private(folder / f"keys/{use}.pem"), "stranger": stranger}
        given = {"consent": signed(signer[consent](), "key-consent", told)} if consent else {}
        if add: who["keys"].append({"use": use, "key": new, "from": at(add), "authorised_by": by} | given)
        entry["version"] = version["version"]
        outer["entries"][n] = signed(authority, "participant", entry)
        version["entries"][n]["digest"] = v.digest(outer["entries"][n].encode())
    outer["register"] = signed(authority, "register", version)
    file.write_bytes(spelled(outer))


def stranger():
    return Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
