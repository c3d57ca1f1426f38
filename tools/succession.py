"""How the first entry of a log is judged that took the place of one which lost entries (evidence.md, Generations)."""
from evidence import Record, canonical, log_keys, must, note_of, opened

def on_succession(s, e, b, c, d):
    (told, read, beyond, larger), doc, keys = s.closed, canonical(d[6], "succession"), log_keys([s.me], b.origin)
    larger[:] = [head for head in larger if not head[1] or not head[1] <= {"", *doc.silent}]  # they may hold more
    gives = {a.name for a in s.agreements.values() if a.side == "provider" and a.life.now == a.name}
    notes = [h if h.note is None else note_of(h.note, b.origin, keys) for h in doc.heads]
    names = [x.agreement for x in doc.charged]
    sizes = [h.size for h in doc.heads]
    roots = [(note.size, note.root) for note in notes if note.root]
    must([note.size for note in notes] == sizes, fork=all(beyond.setdefault(*one) == one[1] for one in roots),
         succession=e.hash == told.genesis
         and (b.origin, b.size, b.root, b.held) == (told.origin, told.size, told.root, told.held)
         and (b.size, b.root) == read and (b.lost, b.held) == (b.held - b.size, max([b.size, *sizes]))
         and all((note.size, note.root) != read for note in notes)
         and gives <= {*names} and len({*names}) == len(names))
    for x in doc.charged:
        chain, r = s.chains.setdefault(x.agreement, Record(next=0, uses=0, volume=0, torn=0)), x.receipt
        due = [max(chain.uses, 2**52), max(chain.volume, 2**52)] if x.by == "lost" else [chain.uses, chain.volume]
        if r:
            both = [(r.decision, r.decision_proof), *([(r.outcome, r.outcome_proof)] if r.outcome else [])]
            both = [opened([s.me], *one) for one in both]
            must(succession=x.by == "partner" and [one.kind for one in both] == ["decision", "outcome"][:len(both)]
                 and all(one.chain.agreement == x.agreement for one in both))
            told = [one.body.volume for one in both if one.body.volume is not None]
            due = [max(due[0], both[-1].body.uses), max(due[1], *told[-1:], 0)]
        must(succession=chain.torn or [x.uses, x.volume] == due)
        chain.uses, chain.volume = x.uses, x.volume
