#!/usr/bin/env python3
"""Verifies an organisation's directory, or a copy of it; shares no code with `perron-verify`, and comes to its verdict.

    tools/verify.py DIR [--against NOTE_OR_DIR]... [--authority KEY]

Needs what evidence.py beside it needs, by which it reads. It prints findings of docs/reference/findings.md, each with
the line whose rule doesn't hold. Exit code: 0 nothing is wrong, 1 something is, 2 nothing can be verified.
"""
import argparse, contextlib, functools, pathlib, re, tomllib
from evidence import (
    CHAINED, FOUND, MAPS, Record, STEPS, agreed, b64, batches, canonical, compact, digest, entry_of, found,
    grown, head_of, keys_of, leaf_hash, lines_of, log_keys, must, note_in, note_of, opened, origins,
    register_of, root_of, sha, stamp, tiles_of, unb64)
from erasure import on_erased, parts_of, tells
from keys import consented, cosigned_in_time, signed_in_time
from pruning import on_administration, on_pruned, stub, timed, torn
from succession import on_succession

# The files of a log.
def compare(folder, due, kind, whole, there):  # the bytes that are due as files, and no other file
    for at in {*due, *there}:
        with found(kind, folder / at):
            must(missing_file=at in there, stray_file=at in due or not whole)
            must(at not in due or not there[at].is_symlink() and there[at].read_bytes() == due[at])
def entries_of(log, folder, party, seen, origin):  # each leaf with what is attached; then other files, what others saw
    keys, log.read = log_keys([party], origin), (0, root_of([]))
    perfect, leaves, notes, roots = [], [], {}, {0: root_of([])}
    with found("segment-bytes", folder / "segment"):
        for bound, text, named in batches(folder, origin, keys):
            for leaf, attached in bound:
                party.named = named
                yield leaf, attached
                perfect, _ = grown(perfect, len(leaves), leaf_hash(leaf)), leaves.append(leaf)
                log.read = len(leaves), roots.setdefault(len(leaves), root_of(perfect))
            with found("tree-root", f"{folder}/segment, batch {len(notes)}"):
                note, notes[len(leaves)] = note_of(text, origin, keys), text.encode()
                must((note.size, note.root, note.more) == (len(leaves), root_of(perfect), ""),
                     signature=note.by == named)
        log.whole = True
    for size, root, where, _ in seen:
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
def before_all(register, me):
    return Record(register=register, me=me, time=0, latest=0, seen=Record(version=0), chains={}, steps={}, signed={},
                  agreements={}, documents={}, reads={}, intents=set(), heads={}, vault=0, sealed={}, erasures={})
def said_by(s, entries, origin, closed):  # of a log, and the one whose place it took, as told of and as it was read
    for first, *_ in s.runs or []:
        with found("pruned-without-rule", f"from entry {first} before"): must(False)
    s.generation, s.origin, s.closed, last = int(origin.split("/")[2]), origin, closed, None
    s.runs, s.jumped, (s.values, s.pruned) = [], -5000, s.sealed.setdefault(s.generation, ([], []))
    for n, (leaf, attached) in enumerate(entries):
        with found("document-bytes", f"entry {n}"):
            (before, last), raws = (last, b64(leaf_hash(leaf))), dict(attached)
            if stub(s, n, leaf, last): continue
            e, c, then = entry_of(leaf), Record(next=0, uses=0, volume=0, torn=0, leaves={}), s.time
            b, s.time, s.jumped = timed(s, e), e.time, n if e.kind == "clock-jump" else s.jumped
            must(order=(e.index, e.previous) == (n, before), time_backwards=(e.time < then) == (e.kind == "clock-jump"),
                 chain_gap=e.chain or e.kind not in CHAINED and (e.kind == "log-query" or not b.permitted)
                 and (e.kind != "outcome" or s.reads.get(b.decision) == (None, None)))
            must(succession=(e.kind == "succession") == bool(closed and n == 0))
            with found("key-not-in-force", f"entry {n}"): must(signed_in_time(s, e))
            must(time_backwards=s.jumped != n or (getattr(b, "from"), b.to) == (then, e.time))
            if e.chain:
                c = s.chains.setdefault(e.chain.agreement, c)
                torn(s, e, c)
                due, c.next, c.last, c.leaves[e.chain.number] = (c.next, c.last), e.chain.number + 1, last, last
                must(chain_gap=(e.chain.number, e.chain.previous) == due, order=due[0] or e.kind == "agreement")
            due = {int(line[4]): getattr(b, line[3]) for line in MAPS[e.kind] if line[4] and getattr(b, line[3])}
            due |= parts_of(b, raws) if e.kind == "decision" else {}
            must({*due} - {7} <= {*raws} <= {*due} and len(raws) == len(attached)
                 and all(kind == 4 or digest(raws[kind]) == due[kind] for kind in raws))
            if b.sealed: s.values.append(must(raws[11][0] == 1 and len(raws[11]) > 40) or n)
            d = {kind: said_in(s, e, kind, raws[kind]) for kind in raws}
            must(all(not kind or getattr(b, name) == functools.reduce(getattr, path.split("."), d[int(kind)])
                     for *_, name, _, kind, path in MAPS[e.kind]))
            globals().get("on_" + e.kind.replace("-", "_"), lambda *_: None)(s, e, b, c, d)
    for path, _ in closed[3] if closed else []:  # no succession, or none that explains this head of the log before
        with found("succession", path): must(False)
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
def standing(known):
    told = known.life.told
    lifted = {lift for act in told.values() if act.kind == "confirm" for lift in told[act.proposal].lifts}
    suspended = any(act.kind == "suspend" and name not in lifted for name, act in told.items())
    return ("revoked" if any(act.kind == "revoke" for act in told.values()) else
            "amended" if known.life.now != known.name else "suspended" if suspended else "in-force")
def on_start(s, e, b, c, d): must(order=b.origin == s.origin and not s.reads)
def on_extract(s, e, b, c, d): must(order={s.me.id, b.to} == {p.id for p in s.agreements[e.chain.agreement].parties})
def on_reconciled(s, e, b, c, d):
    kept = [s.heads[p.log_origin] for p in parties(s, b.partner, e.chain.agreement) if p.log_origin in s.heads]
    failed = {(result, False, True) for result in ("invalid", "refused", "unanswered")}
    must(order={s.me.id, b.partner} == {p.id for p in s.agreements[e.chain.agreement].parties}
         and b.number < e.chain.number and c.leaves.get(b.number, b.leaf) == b.leaf
         and (b.extract or b.result != "same")
         and (b.result, not b.reason, not b.differences) in {("same", True, True), ("differs", True, False), *failed},
         fork=all(head.size != b.size or head.root == b.root for head in kept))
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
            "resume": len({*(act.lifts or [])}) == len(act.lifts or [])
            and all(getattr(told.get(lift), "kind", "") == "suspend" for lift in act.lifts or [""]),
            "fact": b.by == "provider" and all(one.name != act.name or one.time < n.time for one in like),
            "erase": act.first is None or tells(s, b, n) and 0 < act.values <= act.last - act.first + 1,
            "fulfil": all((one.of, one.duty) != (n.agreement, act.duty) for one in like)}
    must([getattr(n, "from"), n.to] == ends and n.space == s.register.space and known.side == b.side
         and n.to != ends[0] == known.parties[b.by == "consumer"].id and (act.reason or act.evidence or "-").strip(),
         order=b.notice not in told and fits[b.act])
    told[b.notice], act.by, act.of, act.time = act, b.by, n.agreement, n.time
    must(order=b.standing == standing(s.agreements[known.life.now]))
def on_decision(s, e, b, c, d):
    torn(s, e, c, i := d[3])
    r, uses, volume, known = d[1], c.uses, c.volume, e.chain and s.agreements.get(e.chain.agreement)
    c.uses, c.volume = b.uses, c.volume + (b.reserved or 0)
    must(r.provider == s.me.id,
         order=(not b.reasons and b.snapshot if b.permitted else b.reasons and b.reserved is None)
         and abs(b.uses - uses - b.permitted) <= c.torn
         and (c.torn or b.volume == (None if b.reserved is None else c.volume))
         and (not known or known.side == "provider"))
    if isinstance(i, Record):
        late = i.now > stamp(e.time + 1000) if i.now_ms is None else i.now_ms > e.time + 1000
        asked = lambda r: (r.issuer, r.provider, r.action, r.purpose, r.roles)
        must((i.agreement.id, i.state.uses, asked(i.request)) == (r.agreement, uses, asked(r))
             and i.state.volume_bytes in (None, volume) and (not late or e.index - s.jumped <= 4096))
    else: must(len(i) == 16 and not b.permitted and (not e.chain or b.reasons == ["clock_jump"]))
    if 9 in d:
        intent = opened(parties(s, r.issuer, r.agreement), d[9].intent, d[9].intent_proof)
        must((intent.kind, intent.body.request) == ("intent", b.request))
    if b.permitted:
        must(order=known.parties[1].id == b.consumer and standing(known) == "in-force")
        s.reads[e.hash] = r.agreement, b.reserved
def on_outcome(s, e, b, c, d):
    agreement, reserved = s.reads.pop(b.decision, ("", None))
    uses, c.uses, left = max(c.uses - (b.status == 4), 0), b.uses, max(c.volume - (reserved or 0), 0) + b.bytes
    c.volume = c.volume if b.status == 5 else left
    must(chain_gap=agreement in ("", e.chain and e.chain.agreement),
         order=agreement != "" and abs(b.uses - uses) <= c.torn and (b.status != 4 or not b.rows)
         and (reserved is None or b.bytes <= reserved)
         and (c.torn or b.volume == (None if reserved is None else c.volume)))
def on_log_query(s, e, b, c, d):
    must(d[3].action == "audit.sql", order=b.permitted == (not b.reasons) and len(b.reasons) == len(b.clauses)
         and b.entries <= e.index)
    if b.permitted: s.reads[e.hash] = None, None
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
def whose(folder): return Record(**tomllib.loads((folder / "perron.toml").read_text()))
def seen_by(register, me, origin, folder, against):  # heads of a log of ours: its size, its root, where it is, by whom
    members, witnesses, seen = {party.id: party for party in register.members}, {}, []
    keys = log_keys([me], origin)
    for who in members:
        witnesses |= lines_of(f"{register.space}/{who}/witness", keys_of([members[who]], "witness"), b"\4")
    notes = [(path, path.read_bytes(), path.stem, []) for path in sorted(folder.glob("cosigned/*.checkpoint"))]
    dated = [(path, path.stem.rpartition("+")[0]) for path in sorted(folder.glob("dated/*.checkpoint"))]
    notes += [(path, path.read_bytes(), who, []) for path, who in dated]
    for path in against:
        file = path / "trust/kept" / (origin.replace("/", "_") + ".checkpoint") if path.is_dir() else path
        who = [whose(path).participant] if path.is_dir() else []
        notes += [(file, file.read_bytes(), None, who)] if file.exists() else []
        if not {*who} & {*members}: continue
        before, kept, them = FOUND[:], [], members[who[0]]
        for leaf, attached in entries_of(Record(), path / "log", them, [], them.log_origin):
            with contextlib.suppress(Exception):
                if (e := entry_of(leaf)).kind == "checkpoint-kept" and e.body.origin == origin:
                    note_of(dict(attached)[4].decode(), origin, keys)
                    kept.append((path / "log", dict(attached)[4], None, who))
        notes += kept if FOUND == before else []
        FOUND[:] = before
    for path, raw, by, who in notes:
        with found("signature", path):
            text, name = raw.decode(errors="replace"), f"{register.space}/{by}/witness"
            if note_in(text).origin != origin: continue
            note = note_of(text, origin, keys, witnesses)
            must(not by or any(line in witnesses and line[0] == name or by[:13] == f"vkey+{line[1].hex()}"
                               for line in note.by),
                 key_not_in_force=cosigned_in_time(register, note))
            who = {*who, *(line[0].split("/")[1] for line in note.by if line in witnesses and path.name != "log")}
            seen.append((note.size, note.root, path, who - {me.id} if by is None else set()))
    return seen
def judge(folder, authority, against):
    register, trust, log, closed = register_of(folder, authority, whose(folder).space), folder / "trust", Record(), None
    me = next((p for p in register.members if p.id == whose(folder).participant), 0) or must(document_bytes=False)
    consented(register, folder / "trust/register.json")
    s = before_all(register, me)
    for told in me.closed_logs or []:  # what others hold of it beyond where it was closed must be what is told of
        at, before = folder / "generations" / told.origin.split("/")[2], Record()
        seen, beyond = seen_by(register, me, told.origin, at, against), {}
        for size, root, path, _ in seen:
            with found("fork", path): must(size <= told.size or beyond.setdefault(size, root) == root)
        with found("missing-file", at / "log"): must((at / "log").is_dir())
        within = [head for head in seen if head[0] <= told.size]
        said_by(s, entries_of(before, at / "log", me, within, told.origin), told.origin, closed)
        closed = told, before.read, beyond, [(at, {""}), *((at, by) for size, _, at, by in seen if size > told.held)]
    seen = seen_by(register, me, me.log_origin, trust, against)
    with found("missing-file", folder / "log"): must((folder / "log").is_dir())
    said_by(s, entries_of(log, folder / "log", me, seen, me.log_origin), me.log_origin, closed)
    there = folder.glob("documents/*")
    for first, *_ in s.runs or []:
        with found("pruned-without-rule", f"from entry {first}"): must(False)
    compare(folder / "documents", s.documents, "document-bytes", log.whole, {file.name: file for file in there})
    for path in sorted(trust.glob("kept/*.checkpoint")):
        with found("document-bytes", path):
            name = (text := path.read_bytes().decode(errors="replace")).split("\n")[0]
            is_member = any(name in origins(party) for party in register.members)
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
