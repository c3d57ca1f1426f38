"""Makes each forgery of museum.toml on a copy of the demonstration's directories; both verifiers must find it."""
import json, pathlib, shutil, subprocess, sys, tomllib

from forger import Forger, change_key, go_on, nobodys_register, stranger
from generations import succeed

HERE = pathlib.Path(__file__).parent
MUSEUM = tomllib.loads((HERE / "museum.toml").read_text())
FORGERS = {"outsider", "operator without the key", "operator with the key", "colluding", "authority"}
PARTS = ("log", "documents", "trust", "keys")


def copy(space, to):
    shutil.rmtree(to, ignore_errors=True)
    for party in ("commune", "inter", "authority"):
        (to / party).mkdir(parents=True)
        shutil.copy(space / party / "perron.toml", to / party)
        for part in PARTS:
            if (space / party / part).is_dir(): shutil.copytree(space / party / part, to / party / part)


def there(folder, pattern):
    found = sorted(folder.glob(pattern))
    assert found, f"no file is {pattern}"
    return found[0]


def on_files(folder, step):
    """A step on bytes; false if it is one on entries."""
    match step:
        case {"flip": path, "at": at}:
            file = there(folder, path)
            raw = bytearray(file.read_bytes())
            raw[at] ^= step.get("bit", 1)
            file.write_bytes(raw)
        case {"append": path, "text": text}: there(folder, path).write_bytes(there(folder, path).read_bytes() + text.encode())
        case {"cut": path, "bytes": size}: there(folder, path).write_bytes(there(folder, path).read_bytes()[:-size])
        case {"delete": path}:
            file = there(folder, path)
            shutil.rmtree(file) if file.is_dir() else file.unlink()
        case {"write": path, "text": text}:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text)
        case {"copy": path, "to": to}: shutil.copy(there(folder.parent, path), folder / to)
        case {"replace": path, "old": old, "new": new}:
            text = there(folder, path).read_text()
            assert old in text, f"{old} is not in {path}"
            there(folder, path).write_text(text.replace(old, new, 1))
        case {"respell": path}:
            # Base64 of 68 bytes ends in one character of padding: two bits of the last one say nothing.
            text = there(folder, path).read_text()
            letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
            there(folder, path).write_text(text[:-3] + letters[letters.index(text[-3]) ^ 1] + text[-2:])
        case {"records": what}:
            file = there(folder, "log/segment/*")
            raw, at, records = file.read_bytes(), 0, []
            while at < len(raw):
                records.append(raw[at:at + int.from_bytes(raw[at + 8:at + 12])])
                at += len(records[-1])
            if what == "swap": records[3], records[4] = records[4], records[3]
            if what == "drop": del records[4]
            if what == "drop last": del records[-1]
            if what == "repeat": records.insert(4, records[4])
            if what == "drop header": del records[0]
            file.write_bytes(b"".join(records))
        case {"register": use}: change_key(folder, use, **{k: x for k, x in step.items() if k != "register"})
        case {"goes_on": by, "time": time}: go_on(folder, by, time)
        case {"link": path, "to": to}:
            file = there(folder, path)
            file.rename(folder / to)
            file.symlink_to(folder / to)
        case {"nobody": point}: nobodys_register(folder, point)
        case {"succeed": until}: succeed(folder, until, **{k: x for k, x in step.items() if k != "succeed"})
        case _: return False
    return True


def header_of(step):
    """What changes a segment's header: its generation, number or key."""
    def change(head, print_of, other):
        head = bytearray(head)
        if step.get("header") == "generation": head[21] += 1
        if step.get("header") == "number": head[29] += 1
        if step.get("header") == "version": head[13] += 1
        if step.get("header") == "key": head[-32:] = print_of
        if step.get("header") == "both keys":
            head[-33:] = bytes([2]) + print_of + other
            head[8:12] = (len(head) + 36).to_bytes(4)
        return bytes(head)
    return change


def make(world, forgery):
    for party, steps in forgery["steps"].items():
        folder, forger, wrote = world / party, None, {}
        for step in steps:
            if on_files(folder, step): continue
            forger = forger or Forger(folder)
            name = next(iter(step))
            if name in ("key", "header", "keep"): wrote |= step
            else: getattr(forger, name)(step[name], **{k: x for k, x in step.items() if k != name})
        if forger or wrote:
            whole = forger or Forger(folder)
            key = {"stranger": stranger, "both": lambda: [whole.key, stranger()]}.get(wrote.get("key"), lambda: None)()
            whole.write(wrote.get("keep", ()), key, header=header_of(wrote) if "header" in wrote else None)
        for step in forgery.get("then", {}).get(party, []): assert on_files(folder, step), step


def judged(program, python, world, forgery):
    """What is wrong with how both verifiers judge it."""
    party = forgery.get("party", "commune")
    arguments = [str(world / party)]
    for other in forgery.get("against", []): arguments += ["--against", str(world / other)]
    if forgery.get("authority"): arguments += ["--authority", (world / "true.key").read_text().strip()]
    due, wrong = forgery.get("finding"), []
    report = json.loads(subprocess.run([program, "--json", *arguments], capture_output=True).stdout)
    kinds = sorted({f["kind"] for f in report["findings"]})
    if due and due not in kinds or not due and set(kinds) - {"behind"}: wrong.append(f"perron-verify finds {kinds}")
    for lang in ("en", "fr") if due else ():
        said = subprocess.run([program, "--lang", lang, *arguments], capture_output=True, text=True)
        if said.returncode != 1 or MUSEUM["sentences"][due][lang] not in said.stdout:
            wrong.append(f"the auditor reads, {lang}, exit code {said.returncode}:\n{said.stdout}")
    second = subprocess.run([python, str(HERE.parents[1] / "tools/verify.py"), *arguments], capture_output=True, text=True)
    found = {line.split(":")[0] for line in second.stdout.splitlines()}
    if second.returncode != (1 if due else 0) or due and forgery.get("second", due) not in found:
        wrong.append(f"verify.py: {second.stdout}{second.stderr}")
    return wrong


def main(work, program, *names):
    work = pathlib.Path(work)
    honest = [{"name": f"nothing is forged: {p}", "party": p, "steps": {}, "against": [o for o in ("commune", "inter") if o != p]}
              for p in ("commune", "inter", "authority")]
    passed = failed = 0
    for forgery in honest + MUSEUM["sound"] + MUSEUM["forgery"]:
        if names and not any(name in forgery["name"] for name in names): continue
        copy(work / "space", work / "world")
        shutil.copy(work / "world/commune/trust/authority.key", work / "world/true.key")
        try:
            assert forgery.get("forger", "outsider") in FORGERS and forgery.get("finding", "order") in MUSEUM["sentences"]
            make(work / "world", forgery)
            wrong = judged(program, sys.executable, work / "world", forgery)
        except Exception as e: wrong = [f"{type(e).__name__}: {e}"]
        passed, failed = passed + (not wrong), failed + bool(wrong)
        print(f"{'FAILED' if wrong else 'ok'}: {forgery['name']}", *wrong, sep="\n  " if wrong else "", flush=True)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


raise SystemExit(main(*sys.argv[1:]))
