"""How pruned entries are judged: by the signed rule in force and the entry that names them (evidence.md)."""
import re
from evidence import Record, Stub, canonical, compact, keys_of, must, stamp

def stub(s, n, leaf, hash_):  # a pruned leaf: runs of them have a first, an end, and a time by which they were written
    s.rule, s.runs, s.stubs, s.spare = s.rule or Record(number=0), s.runs or [], s.stubs or set(), s.spare or 0
    if not isinstance(leaf, Stub): return False
    if not s.runs or s.runs[-1][2]: s.runs.append([n, n, None])
    s.runs[-1][1], s.spare = n + 1, s.spare + 1
    s.pruned.append(n)
    return not s.stubs.add(hash_)
def timed(s, e):  # an entry that is whole: those before it aren't newer
    if s.runs and not s.runs[-1][2]: s.runs[-1][2] = max(e.time, e.kind == "clock-jump" and getattr(e.body, "from"))
    return e.body
def torn(s, e, c, told=None):  # what a chain lacks was pruned; its counters go on from what an evaluation is told
    lacks = e.chain.number - c.next if e.chain and not told else 0
    if c.next and 0 < lacks <= s.spare and e.chain.previous in s.stubs:
        s.spare, c.torn, c.next, c.last = s.spare - lacks, c.torn + lacks, e.chain.number, e.chain.previous
        s.stubs.remove(c.last)
    if c.torn and isinstance(told, Record) and told.state.volume_bytes is not None:
        off, c.uses = abs(told.state.uses - c.uses), told.state.uses
        most, c.volume, c.torn = c.torn, told.state.volume_bytes, 0
        must(order=off <= most)
def on_administration(s, e, b, c, d):
    if b.action != "retention.set": return
    times = [stamp(e.time + apart) for apart in (0, -300000, 300000)]
    rule = compact(d[6].decode(), "retention", lambda _: keys_of([s.me], "agreement", *times))
    must((rule.participant, rule.space) == (s.me.id, s.register.space) and rule.number > s.rule.number
         and all(re.fullmatch("[a-z][a-z0-9-]{0,31}", name) for name in vars(rule.activities))
         and all(180 <= days <= 36500 for days in vars(rule.activities).values())
         and (rule.default_days is None or 180 <= rule.default_days <= 36500)
         and (rule.default_days or vars(rule.activities)))
    s.rule = Record(**vars(rule), sha=b.document)
def on_pruned(s, e, b, c, d):
    groups, is_done, holds = canonical(d[6], "pruning").groups, True, b.rule == s.rule.sha
    ranges = [(first, end, group) for group in groups for first, end in group.ranges]
    must(sum(end - first for first, end, _ in ranges) == b.leaves and all(first < end for first, end, _ in ranges)
         and (names := [group.activity or "" for group in groups]) == sorted({*names}))
    for first, end, group in ranges:
        run = next((run for run in s.runs if run[0] <= first and end <= run[1]), None)
        days = getattr(s.rule.activities or Record(), group.activity or "") or s.rule.default_days
        holds = holds and days == group.days and (not run or run[2] <= e.time - days * 86400000)
        left = [[run[0], first, run[2]], [end, run[1], run[2]]] if run else []
        s.runs[:] = sorted([r for r in s.runs if r is not run] + [r for r in left if r[0] < r[1]])
        is_done = is_done and run
    must(pruned_without_rule=holds, unfinished=is_done)
