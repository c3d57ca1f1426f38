"""The next generation of a log, as `perron restore --next-generation` leaves a directory: what it says is true, or not."""
import json, struct

from forger import KINDS, Entry, Forger, encoded, jws, private
import evidence as v
import verify


def spelled(value):
    return v.jcs(json.loads(json.dumps(value), object_hook=lambda said: v.Record(**said))).encode()


def payload(text):
    return json.loads(v.unb64(text.split(".")[1]))


def end_of(folder, party, register, origin):
    """What both the second verifier and whoever goes on count up to the end of a log."""
    v.FOUND.clear()
    read = v.Record()
    entries = verify.entries_of(read, folder / "log", party, [], origin)
    s = verify.said_by(verify.before_all(register, party), entries, origin, None)
    assert not v.FOUND, v.FOUND
    return s, *read.read


def held(world, folder, origin, larger):
    """Heads beyond this size that others keep, the largest of each: by whom, size, note."""
    found, name = {}, f"{origin.replace('/', '_')}.checkpoint"
    files = [(verify.whose(file.parents[2]).participant, file) for file in sorted(world.glob(f"*/trust/kept/{name}"))]
    for by, file in files + [(file.stem, file) for file in sorted((folder / "trust/cosigned").glob("*.checkpoint"))]:
        note = file.read_text()
        size = int(note.split("\n")[1])
        if size > max(larger, found.get(by, {"size": 0})["size"]): found[by] = {"by": by, "size": size, "note": note}
    return [found[by] for by in sorted(found)]


def twin(folder, origin, head):
    """Another head of that size, which the log's owner signed, and somebody else holds."""
    key, text = private(folder / "keys/log.pem"), f"{origin}\n{head['size']}\n{v.b64(bytes(32), v.PLAIN)}\n"
    print_of = lambda key: v.sha(origin.encode() + b"\n\1" + key.public_key().public_bytes_raw())
    return {"by": "tiers", "size": head["size"], "note": Forger.signed(None, text, [key], origin, print_of)}


def receipt_of(world, origin, agreement):
    """The newest receipt that anybody holds of this log's chain of an agreement."""
    receipts = [raw for folder in sorted(path.parent for path in world.glob("*/perron.toml"))
                for e in Forger(folder).entries if e.kind == "received" and v.b64(e.value[5][0]) == agreement
                for kind, raw in e.attached if kind == 8]
    receipts = [json.loads(raw) for raw in receipts]
    return next((r for r in receipts[::-1] if f"\n{origin}\n" in r["outcome_proof"]), None)


def charge(world, me, origin, name, chain, uses):
    """What an agreement is charged: by what its partner's newest receipt shows, or this many uses."""
    due = {"agreement": name, "by": "partner", "uses": chain.uses, "volume": chain.volume}
    if receipt := receipt_of(world, origin, name):
        told = v.opened([me], receipt["outcome"], receipt["outcome_proof"]).body
        due |= {"uses": max(told.uses, chain.uses), "volume": max(told.volume or 0, chain.volume), "receipt": receipt}
    return due | ({} if uses is None else {"uses": uses})


def confirmed(world, folder, me, closes, opens):
    """The register, in which the authority closes one log of a participant and names the next."""
    key, file = private(world / "authority/keys/register.pem"), folder / "trust/register.json"
    register = json.loads(file.read_bytes())
    version, entries = payload(register["register"]), [payload(text) for text in register["entries"]]
    sign = lambda typ, said: jws(key.sign, key.public_key().public_bytes_raw(), typ, spelled(said))
    version |= {"version": version["version"] + 1, "previous": v.digest(register["register"].encode())}
    for entry in entries:
        if entry["participant"]["id"] != me: continue
        entry["version"] = version["version"]
        entry["participant"] |= {"log_origin": opens, "closed_logs": [closes | {"closed": version["issued"]}]}
    entries = [sign("participant", entry) for entry in entries]
    for listed, text in zip(version["entries"], entries): listed["digest"] = v.digest(text.encode())
    file.write_bytes(spelled({"register": sign("register", version), "entries": entries}))


def begun(folder, origin, entries):
    """A log of another generation, of these entries, in the place of the directory's."""
    (folder / "log/segment").mkdir(parents=True)
    (folder / "log/tile").mkdir()
    forger = Forger.__new__(Forger)
    forger.folder, forger.segment, forger.origin = folder, folder / f"log/segment/{0:020}", origin
    forger.key, forger.entries, forger.batches = private(folder / "keys/log.pem"), entries, [1] * len(entries)
    name = v.sha(origin.encode() + b"\n\1" + forger.key.public_key().public_bytes_raw())
    start = struct.pack(">HQQQQ32sB", 1, int(origin.split("/")[2]), 0, 0, 0, bytes(32), len(origin)) + origin.encode()
    start += b"\1" + name
    forger.header = b"PERRONsg" + (12 + len(start) + 36).to_bytes(4) + start + bytes(36)
    forger.write()


def succeed(folder, until, world=None, heads=True, uses=None, note=None, other=None, alter=lambda said: said):
    """The log is closed after an entry, as if a backup had no more, and the next one begins. What its document tells
    may be altered before the authority confirms it; another head than the largest may stand beside it or instead."""
    world, forger = world or folder.parent, Forger(folder)
    origin, first = forger.origin, forger.find("start#0")
    forger.until(until)
    forger.write()
    whose = verify.whose(folder)
    register = v.register_of(folder, (folder / "trust/authority.key").read_text().strip(), whose.space)
    me = next(party for party in register.members if party.id == whose.participant)
    s, size, root = end_of(folder, me, register, origin)
    others = held(world, folder, origin, size) if heads else []
    for head in others if note is not None else (): head["note"] = note
    if other:
        largest = max(others, key=lambda head: head["size"])
        kept = [head for head in others if other == "beside" or head["size"] < largest["size"]]
        others = [*kept, twin(folder, origin, largest)]
    gives = sorted(a.name for a in s.agreements.values() if a.side == "provider" and a.life.now == a.name)
    charged = [charge(world, me, origin, name, s.chains[name], uses) for name in gives]
    said = spelled(alter({"heads": others, "charged": charged, "silent": []}))
    most = max([size, *(head["size"] for head in others)])
    body = {0: origin, 1: size, 2: v.unb64(root), 3: most, 4: most - size, 6: v.sha(said)}
    entry = lambda kind, body: encoded({0: 1, 1: 0, 2: s.time, 4: bytes(16), 9: [KINDS[kind], [body]]})
    opens = "/".join([*origin.split("/")[:2], str(int(origin.split("/")[2]) + 1)])
    entries = [Entry(entry("succession", body), [(6, said)]), Entry(entry("start", first.body | {1: opens}), [])]
    closed = folder / "generations" / origin.split("/")[2]
    closed.mkdir(parents=True)
    (folder / "log").rename(closed / "log")
    if (folder / "trust/cosigned").is_dir(): (folder / "trust/cosigned").rename(closed / "cosigned")
    for file in (folder / "documents").glob("*"):
        if file.name not in s.documents: file.unlink()
    begun(folder, opens, entries)
    genesis = v.b64(v.leaf_hash(entries[0].leaf()))
    closes = {"origin": origin, "size": size, "root": root, "held": most, "genesis": genesis}
    confirmed(world, folder, whose.participant, closes, opens)
