"""Makes random edits of a sound directory from a seed, with all keys there are, and has both verifiers judge each.

    differ.py WORK PERRON_VERIFY SEED CASES

A case on which their verdicts differ is printed with its number; `SEED/NUMBER` instead of a seed makes that one alone.
"""
import contextlib, io, json, pathlib, random, shutil, subprocess, sys

from forger import FIELDS, Entry, Forger, bind_by, encoded, jws, private, stranger
from generations import succeed
import evidence as v
import verify

PARTIES = ("commune", "inter", "authority")
BINDS = {kind: [(line[3], int(line[4])) for line in v.MAPS[kind] if line[4]] for kind in FIELDS}
BINDS["decision"] = [("request", 1), ("attached", 3), ("attached", 9), ("attached", 11)]
TEXTS = ["", "x", "provider", "consumer", "intercommunale", "commune", "autorite", "REQUESTED", "VERIFIED", "é" * 40]
ADDED = ["x", "reason", "roles", "trace", "amends", "now"]
EDITS = ("drop twice swap field field field field time chain around attach detach exchange document document document "
         "notices notices bytes").split()
NUMBERS = [0, 1, 2, 3, 5, 23, 24, 255, 256, 4096, 2**32, 2**53, 2**63 - 1, 2**64 - 1]


def spelled(rng, value):
    """JSON, mostly in its canonical form."""
    if rng.random() < 0.04: return json.dumps(value, ensure_ascii=False).encode()
    if rng.random() < 0.03: return json.dumps(value, ensure_ascii=True, sort_keys=True, separators=(",", ":")).encode()
    return v.jcs(json.loads(json.dumps(value), object_hook=lambda said: v.Record(**said))).encode()


def unlike(rng, value):
    """Another value than this one, mostly of the same type."""
    kind = rng.random()
    if kind < 0.12: return rng.choice([None, True, [], {}, "x", 7, 1.5, -1])
    if isinstance(value, bool): return not value
    if isinstance(value, int): return value + rng.choice([-1, 1]) if kind < 0.5 else rng.choice(NUMBERS)
    if isinstance(value, float): return value * 2
    if isinstance(value, str) and value and kind < 0.6:
        at = rng.randrange(len(value))
        return value[:at] + rng.choice(["", "A", "é", value[at] * 2, value[at].swapcase()]) + value[at + 1:]
    if isinstance(value, str): return rng.choice(TEXTS)
    if isinstance(value, bytes): return rng.randbytes(rng.choice([32, 32, 32, 16, 31, 0]))
    if isinstance(value, list) and value:
        return rng.choice([value[:-1], value + value[:1], value[::-1], value + ["x"]])
    return rng.choice(["x", 1, ["x"], None])


def places(value, path=()):
    """Paths of all that is in a JSON value."""
    yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, part in inner: yield from places(part, (*path, name))


def edited(rng, value):
    """A JSON value with one edit, and what it was."""
    value = json.loads(json.dumps(value))
    *path, last = rng.choice([path for path in places(value) if path] or [("x",)])
    inner = value
    for name in path: inner = inner[name]
    how = rng.choice(["drop", "add", "set", "set", "set"])
    if how == "drop" and isinstance(inner, dict): inner.pop(last, None)
    elif how == "add" and isinstance(inner, dict): inner[rng.choice(ADDED)] = rng.choice([1, "x", None, []])
    else: inner[last] = unlike(rng, inner[last])
    return value, f"{how} {'.'.join(map(str, (*path, last)))}"


def signed(key, typ, payload):
    return jws(key.sign, key.public_key().public_bytes_raw(), typ, payload)


class Case:
    """One copy of a directory, and what was done to it."""

    def __init__(self, rng, space, folder, party):
        self.rng, self.space, self.folder, self.party, self.done = rng, space, folder, party, []
        shutil.rmtree(folder, ignore_errors=True)
        (folder / party).mkdir(parents=True)
        shutil.copy(space / party / "perron.toml", folder / party)
        for part in ("log", "documents", "trust", "keys"):
            if (space / party / part).is_dir(): shutil.copytree(space / party / part, folder / party / part)

    def key(self, party, use):
        return private(self.space / party / f"keys/{use}.pem")

    def signer(self, who, use):
        """The key of an organisation, mostly."""
        named = {"commune": "commune", "intercommunale": "inter", "autorite": "authority"}
        if who not in named or self.rng.random() < 0.03: return stranger()
        return self.key(named[who], use)

    # --- on entries ---
    def entries(self):
        rng, forger = self.rng, Forger(self.folder / self.party)
        keep = set()
        for _ in range(rng.choice([1, 1, 1, 2, 3])):
            name = rng.choice(EDITS)
            try: self.done.append(f"{name}: {getattr(self, name)(forger)}")
            except (LookupError, StopIteration): self.done.append(f"{name}: nothing")
        if rng.random() < 0.1: keep.add(rng.choice(["index", "previous", "chain", "notes", "crc"]))
        if keep: self.done.append(f"kept {keep}")
        forger.write(keep)

    def succession(self):
        """The next generation, mostly with an edit of what it tells, which the authority confirms all the same."""
        rng, folder, told = self.rng, self.folder / self.party, ["nothing"]
        def alter(said):
            if rng.random() < 0.2: return said
            said, told[0] = edited(rng, said)
            return said
        entries = Forger(folder).entries
        last = rng.choice(entries)
        number = [e for e in entries if e.kind == last.kind].index(last)
        succeed(folder, f"{last.kind}#{number}", self.space, rng.random() < 0.8, alter=alter)
        self.done.append(f"closed after {last.kind}#{number}, {told[0]}")

    def pick(self, forger):
        return self.rng.choice(forger.entries)

    def tell(self, forger, entry):
        return f"{entry.kind} {forger.entries.index(entry)}"

    def drop(self, forger):
        entry = self.pick(forger)
        told = self.tell(forger, entry)
        forger.entries.remove(entry)
        return told

    def twice(self, forger):
        entry = self.pick(forger)
        twin = Entry(entry.leaf(), list(entry.attached))
        forger.entries.insert(forger.entries.index(entry) + self.rng.choice([1, 1, 3]), twin)
        return self.tell(forger, entry)

    def swap(self, forger):
        one, two = sorted(self.rng.sample(range(len(forger.entries)), 2)) if self.rng.random() < 0.3 else \
            (lambda at: (at, at + 1))(self.rng.randrange(len(forger.entries) - 1))
        entries = forger.entries
        entries[one], entries[two] = entries[two], entries[one]
        if self.rng.random() < 0.7:
            first, second = entries[one].value, entries[two].value
            first[2], second[2] = second[2], first[2]
        return f"{one} {two}"

    def field(self, forger):
        entry = self.pick(forger)
        places_ = FIELDS[entry.kind]
        name = self.rng.choice(list(places_))
        place, how = places_[name], self.rng.random()
        like = [e.body[place] for e in forger.entries if e.kind == entry.kind and place in e.body]
        if how < 0.1: entry.body.pop(place, None)
        elif how < 0.14: entry.body[len(places_)] = self.rng.choice([1, "x", b"x"])
        elif how < 0.4 and like: entry.body[place] = self.rng.choice(like)
        else: entry.body[place] = unlike(self.rng, entry.body.get(place, b""))
        if entry.body.get(place, 0) is None or isinstance(entry.body.get(place), float): entry.body[place] = -1
        return f"{self.tell(forger, entry)} {name} = {entry.body.get(place)!r}"

    def time(self, forger):
        entry = self.pick(forger)
        entry.value[2] = max(0, entry.value[2] + self.rng.choice([-10**9, -1000, -1, 1, 1000, 10**6, 10**12]))
        return self.tell(forger, entry)

    def chain(self, forger):
        entry, chains = self.pick(forger), [e.value[5] for e in forger.entries if 5 in e.value]
        how = self.rng.random()
        if how < 0.3: entry.value.pop(5, None)
        elif how < 0.9: entry.value[5] = dict(self.rng.choice(chains))
        elif 5 in entry.value: entry.value[5][0] = self.rng.randbytes(32)
        return f"{self.tell(forger, entry)} {entry.value.get(5, {}).get(0)!r}"

    def around(self, forger):
        entry = self.pick(forger)
        place = self.rng.choice([0, 4, 6, 6, 7, 8, 10])
        values = {0: [2, True], 4: [bytes(16), b"", bytes(17)], 6: [bytes(16), b"x" * 16, b"", b"x" * 5],
                  7: [[], ["x"], "x", [1]], 8: ["x", "", 1], 10: [1]}
        entry.value[place] = self.rng.choice(values[place])
        return f"{self.tell(forger, entry)} {place} = {entry.value[place]!r}"

    def attach(self, forger):
        entry, other = self.pick(forger), self.rng.choice([e for e in forger.entries if e.attached])
        kind, raw = self.rng.choice(other.attached)
        entry.attached.append((self.rng.choice([kind, kind, 7, 11]), raw))
        return f"{self.tell(forger, entry)} {kind}"

    def detach(self, forger):
        entry = self.rng.choice([e for e in forger.entries if e.attached])
        gone = entry.attached.pop(self.rng.randrange(len(entry.attached)))
        return f"{self.tell(forger, entry)} {gone[0]}"

    def exchange(self, forger):
        """What another entry binds by the same field, with the binding."""
        entry = self.rng.choice([e for e in forger.entries if BINDS[e.kind] and e.attached])
        name, kind = self.rng.choice(BINDS[entry.kind])
        other = self.rng.choice([e for e in forger.entries if any(k == kind for k, _ in e.attached)])
        self.bind(entry, name, kind, next(raw for k, raw in other.attached if k == kind))
        return f"{self.tell(forger, entry)} {name} of {self.tell(forger, other)}"

    def bind(self, entry, name, kind, raw):
        at = next((at for at, (k, _) in enumerate(entry.attached) if k == kind), None)
        if at is None: entry.attached.append((kind, raw))
        else: entry.attached[at] = (kind, raw)
        if kind != 4 and self.rng.random() < 0.97: bind_by(entry, name, raw)

    def document(self, forger):
        """An edit of what is attached, signed anew where it was signed, and bound."""
        rng = self.rng
        bound = lambda e: [(name, kind) for name, kind in BINDS[e.kind] if kind in dict(e.attached)]
        entry = rng.choice([e for e in forger.entries if bound(e) and e.kind != "register-seen"])
        name, kind = rng.choice(bound(entry))
        raw = next(raw for k, raw in entry.attached if k == kind)
        if kind in (1, 10):
            payload, told = edited(rng, json.loads(v.unb64(raw.decode().split(".")[1])))
            typ, use, who = ("read-request", "request", "issuer") if kind == 1 else ("notice", "agreement", "from")
            raw = signed(self.signer(payload.get(who), use), typ, spelled(rng, payload)).encode()
        elif kind == 4: raw, told = self.note(raw.decode()).encode(), "note"
        elif kind == 3 and len(raw) > 16:
            value, told = edited(rng, json.loads(raw[16:]))
            raw = raw[:16] + spelled(rng, value)
        elif kind == 2: raw, told = self.envelope(json.loads(raw))
        elif kind in (5, 8, 9):
            value, told = edited(rng, json.loads(raw))
            raw = spelled(rng, value)
        else: raw, told = raw[:-1], "cut"
        self.bind(entry, name, kind, raw)
        return f"{self.tell(forger, entry)} {kind} {told}"

    def envelope(self, value):
        rng, told = self.rng, "signatures"
        if rng.random() < 0.5: value, told = edited(rng, value)
        elif rng.random() < 0.5:
            payload, told = edited(rng, json.loads(v.unb64(value["agreement"]["payload"])))
            raw = spelled(rng, payload)
            both = [signed(self.signer(payload.get(who), "agreement"), "agreement", raw).split(".")
                    for who in ("provider", "consumer")]
            signatures = [{"protected": protected, "signature": signature} for protected, _, signature in both]
            value["agreement"] = {"payload": v.b64(raw), "signatures": signatures}
        else:
            one, two = value["agreement"]["signatures"]
            value["agreement"]["signatures"] = rng.choice([[two, one], [one], [one, two, one], [one, one]])
        return spelled(rng, value), told

    def note(self, text):
        """A note with an edit, signed anew or not."""
        rng, (body, lines) = self.rng, text[:-1].rsplit("\n\n", 1)
        rows, lines = body.split("\n"), lines.split("\n")
        how = rng.choice("size root more line twice spaces plus control nothing origin short".split())
        sizes = [str(int(rows[1]) + 1), "0" + rows[1], "+" + rows[1], "0", "-1", "9" * 25, str(2**62), str(2**62 + 1)]
        if how == "size": rows[1] = rng.choice(sizes)
        if how == "root": rows[2] = v.b64(rng.randbytes(32), v.PLAIN)
        if how == "short": rows[2] = v.b64(rng.randbytes(31), v.PLAIN)
        if how == "more": rows.append(rng.choice(["more", "more ", " ", "é"]))
        if how == "origin": rows[0] += rng.choice(["/2", " ", "x"])
        if how == "control": rows.append("a" + chr(rng.choice([7, 9, 13, 0x7f, 0x85, 0x2028])))
        owner = next((p for p in PARTIES if rows[0].split("/")[1:2] == [self.named(p)]), None)
        if owner and rng.random() < 0.8:
            key, message = self.key(owner, "log"), "\n".join(rows) + "\n"
            mark = v.print_of(rows[0], v.b64(key.public_key().public_bytes_raw()))[:4]
            lines[0] = f"— {rows[0]} {v.b64(mark + key.sign(message.encode()), v.PLAIN)}"
        extra = {"line": "— somebody AAAAAAECAwQ=", "twice": lines[0], "spaces": "—  somebody AAAAAAECAwQ=",
                 "plus": "— some+body AAAAAAECAwQ="}
        if how in extra: lines.append(extra[how])
        return "\n".join(rows) + "\n\n" + "\n".join(lines) + "\n"

    def named(self, party):
        return {"inter": "intercommunale", "authority": "autorite"}.get(party, party)

    def bytes(self, forger):
        """Another spelling of an entry in CBOR."""
        entry = self.pick(forger)
        leaf, rng = bytearray(entry.leaf()), self.rng
        at = rng.randrange(len(leaf))
        how = rng.choice(["flip", "insert", "cut", "longer"])
        if how == "flip": leaf[at] ^= 1 << rng.randrange(8)
        if how == "insert": leaf.insert(at, rng.choice([0, 0xf6, 0xff, 0x18, leaf[at]]))
        if how == "cut": del leaf[at]
        if how == "longer": leaf[3:3] = bytes([0x18])
        entry.raw = bytes(leaf) if how != "longer" else bytes(leaf)
        return f"{self.tell(forger, entry)} {how}"

    def notices(self, forger):
        """Notices of the parties of an agreement, right or nearly."""
        rng = self.rng
        known = [e for e in forger.entries if e.kind == "agreement"]
        agreement = rng.choice(known)
        at, told, standing = len(forger.entries) - rng.choice([1, 1, 1, 4]), [], "in-force"
        side, mine, other = agreement.body[3], self.named(self.party), agreement.body[2]
        for number in range(rng.choice([1, 2, 3, 5])):
            by = rng.choice(["provider", "consumer"])
            name = lambda: rng.choice(told)[0] if told and rng.random() < 0.9 else v.digest(rng.randbytes(4))
            kinds = "suspend resume confirm refuse fact fulfil revoke" if number else "suspend suspend fact fulfil"
            kind = rng.choice(kinds.split())
            parts = {"suspend": {"reason": "r"}, "revoke": {"reason": "r"}, "resume": {"lifts": [name()]},
                     "confirm": {"proposal": name()}, "refuse": {"proposal": name(), "reason": "r"},
                     "fact": {"name": rng.choice(["a", "b"]), "value": rng.choice([True, "x"])},
                     "fulfil": {"duty": rng.choice(["obligation[0]", "obligation[1]"]), "evidence": "e"}}
            who, to = (mine, other) if by == side else (other, mine)
            when = forger.entries[at - 1].value[2]
            notice = {"type": "perron-notice/v1", "space": "eaux-ardennes", "id": f"n{number}", "from": who, "to": to,
                      "agreement": v.b64(agreement.body[0]), "time": v.stamp(when + rng.choice([0, 0, number])),
                      "act": {"kind": kind} | parts[kind]}
            if rng.random() < 0.25: notice, _ = edited(rng, notice)
            payload = spelled(rng, notice)
            raw = signed(self.signer(who, "agreement"), "notice", payload).encode()
            told.append((v.digest(payload), kind))
            after = {"suspend": "suspended", "revoke": "revoked", "confirm": "in-force"}
            if standing != "revoked": standing = after.get(kind, standing)
            if rng.random() < 0.1: standing = rng.choice(["in-force", "suspended", "revoked", "amended"])
            body = {0: v.sha(payload), 1: v.sha(raw), 2: other, 3: side, 4: by, 5: kind, 6: standing}
            value = {0: 1, 1: 0, 2: when, 4: rng.randbytes(16), 5: {0: agreement.body[0], 1: 0}, 9: [12, [body]]}
            forger.entries.insert(at, Entry(encoded(value), [(10, raw)]))
            at += 1
        return ", ".join(kind for _, kind in told)

    # --- on files ---
    def files(self):
        rng, folder = self.rng, self.folder / self.party
        name = rng.choice(["note", "note", "note", "copy", "gone", "more", "register", "register"])
        if name == "register": return self.register(folder / "trust/register.json")
        sorted_ = lambda *patterns: [file for pattern in patterns for file in sorted(folder.glob(pattern))]
        notes = sorted_("trust/kept/*", "trust/cosigned/*", "log/checkpoint")
        files = notes + sorted_("documents/*", "log/tile/*/*/*")
        file = rng.choice(notes if name in ("note", "copy") else files)
        if name == "note": file.write_text(self.note(file.read_text()))
        if name == "copy": file.write_bytes(rng.choice(notes).read_bytes())
        if name == "gone": file.unlink()
        if name == "more":
            other = rng.choice(["x", "x.checkpoint", "000", "vkey+00000000.checkpoint"])
            (file.parent / other).write_bytes(file.read_bytes())
        self.done.append(f"{name}: {file.relative_to(folder)}")

    def register(self, file):
        """The register with an edit, signed anew by the authority."""
        rng, register = self.rng, json.loads(file.read_bytes())
        told, key = "", self.key("authority", "register")
        payloads = [json.loads(v.unb64(text.split(".")[1])) for text in (register["register"], *register["entries"])]
        at = rng.randrange(len(payloads))
        payloads[at], told = edited(rng, payloads[at])
        entries = [signed(key, "participant", spelled(rng, entry)) for entry in payloads[1:]]
        for listed, text in zip(payloads[0].get("entries") or [], entries):
            if rng.random() < 0.97 and isinstance(listed, dict): listed["digest"] = v.digest(text.encode())
        version = signed(key, "register", spelled(rng, payloads[0]))
        file.write_bytes(spelled(rng, {"register": version, "entries": entries}))
        self.done.append(f"register: {at} {told}")


def second(arguments):
    """The verdict of tools/verify.py, and what it printed."""
    v.FOUND.clear()
    said, before, sys.argv = io.StringIO(), sys.argv, ["verify.py", *arguments]
    try:
        with contextlib.redirect_stdout(said): code = verify.main()
    finally: sys.argv = before
    return code, said.getvalue()


def main(work, program, seed, cases="1"):
    work, differ = pathlib.Path(work), 0
    seed, _, only = seed.partition("/")
    for number in [int(only)] if only else range(int(cases)):
        rng = random.Random(f"{seed}/{number}")
        party = rng.choice(("commune", "commune", "inter", "inter", "authority"))
        case = Case(rng, work / "space", work / "case", party)
        if rng.random() < 0.85: shutil.rmtree(case.folder / party / "trust/cosigned")
        try:
            if rng.random() < 0.2: case.succession()
            if rng.random() < 0.2: case.files()
            elif not case.done or rng.random() < 0.3: case.entries()
        except (TypeError, AttributeError, KeyError) as e: case.done.append(f"broke off: {e!r}")
        arguments = [str(case.folder / party)]
        for other in PARTIES:
            if other != party and rng.random() < 0.15: arguments += ["--against", str(work / "space" / other)]
        first = subprocess.run([program, "--json", *arguments], capture_output=True, text=True)
        code, said = second(arguments)
        if min(first.returncode, 2) != code:
            differ += 1
            told = [first.stderr] if first.returncode > 1 else \
                [f"{f['kind']} {f['path']}: {f['detail']}" for f in json.loads(first.stdout)["findings"]]
            print(f"FAILED: {seed}/{number} {party}: perron-verify {first.returncode}, verify.py {code}",
                  *case.done, *told, said, sep="\n  ", flush=True)
    print(f"{cases} random edits, seed {seed}: the verdicts differ on {differ}")
    print(f"{int(not differ)} passed, {int(bool(differ))} failed")
    return 1 if differ else 0


raise SystemExit(main(*sys.argv[1:]))
