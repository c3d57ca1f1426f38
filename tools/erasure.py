"""How sealed values, and that their keys were destroyed, are judged (evidence.md, A sealed value)."""
import re
from evidence import digest, must, stamp, unb64

def parts_of(b, raws):  # what a decision binds beside its request: all of it by one digest, or each by its own
    parts = {kind: digest(raws[kind]) for kind in (3, 9, 11) if b.attached and kind in raws}
    one = digest(b"".join(kind.to_bytes(2) + unb64(part) for kind, part in parts.items()))
    must((b.input and b.attached) is None and b.sealed == (11 in parts or None)
         and (not b.attached or b.attached == one and not b.beside))
    return parts
def on_erased(s, e, b, c, d):  # of this log or a closed one, all that these spans have and no more
    flat, log = [number for span in b.entries for number in span], s.generation if b.log is None else b.log
    within = lambda number: any(first <= number <= last for first, last in b.entries)
    values, pruned = s.sealed[log]
    gone = {*filter(within, values)}
    must(order=flat == sorted(flat) and all(one[1] < two[0] for one, two in zip(b.entries, b.entries[1:]))
         and (flat[-1:] < [e.index] if b.log is None else log < s.generation)
         and b.vault > s.vault and (b.values or b.user) and 0 <= b.values - len(gone) <= sum(map(within, pruned))
         and b.until >= e.time - 300000 and re.fullmatch("A17-1-[a-f]", b.ground))
    values[:], s.vault = [number for number in values if number not in gone], b.vault
    pruned[:] = [number for number in pruned if not within(number)]  # each may have had one value
    s.erasures[e.hash] = b
def tells(s, b, n):  # a notice of an erasure of the owner's own: what an entry before it tells
    told = s.erasures.get(n.act.erasure)
    return b.by != b.side or told and n.agreement in told.agreements and (
        told.ground, stamp(told.until)) == (n.act.ground, n.act.until)
