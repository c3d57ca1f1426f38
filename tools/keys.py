"""How keys are judged: each in its time, and each change by the consent of the key before (evidence.md)."""
from evidence import compact, found, lines_of, must, stamp

def in_time(party, key, ms, latest):  # was this key in force then, by a clock that went back? They may be 5 min apart
    first = min((one for one in party.keys if one.use == key.use), key=lambda one: getattr(one, "from"))
    begun = key is first and key.authorised_by == "enrolment" or getattr(key, "from") <= stamp(latest + 300000)
    return begun and stamp(ms - 300000) < (key.until or "A")
def signed_in_time(s, e):  # those log keys that its segment names
    party, s.latest = s.me, max(s.latest, e.time)
    keys = {line: key for key in party.keys if key.use == "log" for line in lines_of(s.origin, [key.key])}
    return all(in_time(party, key, e.time, s.latest) for line, key in keys.items() if line in party.named)
def cosigned_in_time(register, note):  # by the members' witness keys, at the times that they tell
    keys = {line: (party, key) for party in register.members for key in party.keys if key.use == "witness"
            for line in lines_of(f"{register.space}/{party.id}/witness", [key.key], b"\4")}
    times = [(line, int.from_bytes(signature[:8]) * 1000) for line, signature in note.lines]
    return all(in_time(*keys[line], ms, ms) for line, ms in times if line in keys)
def consented(register, file, since=lambda key: getattr(key, "from")):  # the key before signed that another comes
    for party, new in [(party, key) for party in register.members for key in party.keys]:
        if new.authorised_by != "previous-key" or not new.consent: continue
        with found("document-signature", file):
            old = max((key for key in party.keys if key.use == new.use and since(key) < since(new)), key=since)
            said = compact(new.consent, "key-consent", lambda _: [old.key])
            must((said.space, said.participant, said.use, said.key) == (register.space, party.id, new.use, new.key)
                 and (old.until or "A") >= since(new))
