"""A forger: reads an organisation's log, changes it, and writes it anew, with whatever keys they have."""
import pathlib, shutil, struct, sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "tools"))
import verify as v
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

FIELDS = {
    "start": ["program", "origin", "modules"],
    "negotiation": ["id", "counterparty", "side", "by", "message", "state", "digest"],
    "agreement": ["agreement", "envelope", "counterparty", "side", "dataset", "legal_basis", "regime", "amends", "uses"],
    "intent": ["request", "user", "purpose", "provider"],
    "decision": ["request", "permitted", "reasons", "clauses", "module", "input", "snapshot", "uses", "register", "consumer",
                 "purpose", "legal_basis", "user", "beside"],
    "outcome": ["decision", "status", "reason", "batches", "rows", "bytes", "messages", "stream_root", "uses"],
    "received": ["request", "decision", "outcome", "rows", "messages", "stream_root", "refused", "receipt"],
    "checkpoint-kept": ["origin", "size", "root", "key"],
    "register-seen": ["version", "digest"],
    "administration": ["action", "actor", "document"],
}
KINDS = {name.rstrip("*"): number for number, (name, _) in v.BODIES.items()}


def private(path):
    return load_pem_private_key(path.read_bytes(), None)


class Entry:
    """A leaf as CBOR, what is attached to it, and its hash as it was."""

    def __init__(self, leaf, attached):
        self.value, self.attached, self.raw = v.cbor(leaf)[0], attached, None
        self.before = v.leaf_hash(leaf)

    kind = property(lambda self: v.BODIES[self.value[9][0]][0].rstrip("*"))
    body = property(lambda self: self.value[9][1][0])

    def leaf(self):
        return v.uncbor(self.value) if self.raw is None else self.raw


class Forger:
    """The log of one directory, taken apart."""

    def __init__(self, folder):
        self.folder, self.segment = folder, next((folder / "log/segment").iterdir())
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
        twin = Entry(v.uncbor(entry.value), list(entry.attached))
        self.entries.insert(self.entries.index(entry) + 1, twin)

    def insert(self, kind, before, fields, time=0, **_):
        place = self.entries.index(self.find(before))
        value = {0: 1, 1: 0, 2: self.entries[place].value[2] + time, 4: bytes(16), 9: [KINDS[kind], [{}]]}
        made = Entry(v.uncbor(value), [])
        made.body.update({int(n): self.literal(x) for n, x in fields.items()})
        self.entries.insert(place, made)

    def set(self, name, field, to=None, of=None, **_):
        entry = self.find(name)
        place = FIELDS[entry.kind].index(field) if field in FIELDS.get(entry.kind, []) else int(field)
        if of: entry.body[place] = self.find(of).body[FIELDS[self.find(of).kind].index(field)]
        elif to is None: del entry.body[place]
        else: entry.body[place] = self.literal(to)

    def literal(self, to):
        if isinstance(to, str) and to.startswith("hex:"): return bytes.fromhex(to[4:])
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
        if bind: entry.body[FIELDS[entry.kind].index(bind)] = v.sha(entry.attached[at][1])

    # --- writing it anew ---
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
        key = key or self.key
        public = key.public_key().public_bytes_raw()
        line_name = name or self.origin
        print_of = v.sha(line_name.encode() + b"\n\1" + public)
        head = self.header[:-36]
        if header: head = header(head, print_of)
        out = self.closed(head)
        digest, first, hashes, leaves, stack, sizes = out[-36:-4], 0, [], [], [], self.sizes()
        for batch, size in enumerate(sizes):
            here = self.entries[first:first + size]
            for entry in here:
                leaf, number = entry.leaf(), len(hashes)
                hash_ = v.leaf_hash(leaf)
                leaves.append(leaf), hashes.append(hash_)
                while number & 1: hash_, number = v.node(stack.pop(), hash_), number >> 1
                stack.append(hash_)
            body = b"".join(len(e.leaf()).to_bytes(2) + e.leaf() for e in here)
            bound = [(k, n, r) for n, e in enumerate(here) for k, r in e.attached]
            body += b"".join(struct.pack(">HII", k, n, len(r)) + r for k, n, r in bound)
            text = f"{self.origin}\n{first + size}\n{v.base64.b64encode(v.root_of(stack)).decode()}\n"
            note = self.notes[batch] if "notes" in keep else self.signed(text, key, line_name, print_of)
            body += note.encode()
            head = struct.pack(">8sIQQII32s", b"PERRONba", 72 + len(body) + 36, batch, first, size, len(bound), digest)
            crc = v.crc32c(head) ^ ("crc" in keep)
            record = self.closed(head + crc.to_bytes(4) + body)
            out, digest, first = out + record, record[-36:-4], first + size
        self.segment.write_bytes(out)
        if "derived" in keep: return
        (self.folder / "log/checkpoint").write_text(note)
        shutil.rmtree(self.folder / "log/tile")
        for path, raw in v.tiles_of(leaves, hashes).items():
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

    def signed(self, text, key, name, print_of):
        line = v.base64.b64encode(print_of[:4] + key.sign(text.encode())).decode()
        return f"{text}\n— {name} {line}\n"


def stranger():
    return Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
