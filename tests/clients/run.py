"""Unmodified clients of Flight SQL against the demonstration left running.

pyarrow.flight, ADBC's Flight SQL driver and the Arrow Flight SQL JDBC driver each run what the
agreements permit and what they refuse; a refusal is known by its stable code.
"""

import datetime
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import tomllib
import traceback
import urllib.parse

import adbc_driver_flightsql.dbapi as adbc
import adbc_driver_manager
import pyarrow
import pyarrow.flight as flight
from adbc_driver_flightsql import DatabaseOptions
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

PERRON = os.environ["PERRON"]
ROWS = "https://w3id.org/dpv#ImprovePublicServices"
TOTALS = "https://w3id.org/dpv#PublicBenefit"
MARKETING = "https://w3id.org/dpv#Marketing"
GROUPS = 27
START_S = 120
END_S = 60
JAVA_S = 60


def answer(*arguments):
    out = subprocess.run([PERRON, "--json", *arguments], capture_output=True, text=True, check=True, timeout=30)
    return [json.loads(line) for line in out.stdout.splitlines()]


def server_name(directory):
    """The one name in an organisation's certificate."""
    certificate = x509.load_pem_x509_certificate((directory / "trust" / "certificate.pem").read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return names.get_values_for_type(x509.DNSName)[0]


class Side:
    """An organisation's Flight SQL port, with one user's token and the agreement of a set."""

    def __init__(self, directory, token, dataset, purpose):
        self.directory = directory
        config = tomllib.loads((directory / "perron.toml").read_text())
        self.port = config["listen"]["flight"].rsplit(":", 1)[1]
        self.tls = config["listen"]["flight_tls"].rsplit(":", 1)[1]
        # The name in the connector's certificate, which a tool that dials an address has to be told.
        self.host = server_name(directory)
        self.token = token.read_text().strip()
        self.purpose = purpose
        listed = answer("agreement", "list", "--dir", str(directory))
        listed = listed[0] if len(listed) == 1 and isinstance(listed[0], list) else listed
        # The first of the set: the demonstration makes another that ends at once.
        of_set = [a for a in listed if a["dataset"] == dataset]
        self.agreement = min(of_set, key=lambda a: a["since"])["agreement"]


class Refused(Exception):
    """What a client shows of a refusal: its message, and the status details as they came."""

    def __init__(self, message, details=b""):
        super().__init__(message)
        self.details = details or b""

    def code(self):
        """The stable code: of `google.rpc.ErrorInfo` where the client shows it, and of the message."""
        in_message = re.search(r"\[([a-z_]+)\] ", str(self).replace("[FlightSQL] ", ""))
        in_details = re.search(rb"ErrorInfo.{2,4}\n.([a-z_]+)\x12.perron", self.details, re.DOTALL)
        found = {in_message and in_message[1], in_details and in_details[1].decode()} - {None}
        return "/".join(sorted(found)) or "no code"


# --- pyarrow.flight, which has no Flight SQL of its own: two protobuf messages, by hand ---------

def varint(number):
    out = b""
    while number > 127:
        out, number = out + bytes([number & 127 | 128]), number >> 7
    return out + bytes([number])


def member(number, value):
    return bytes([number << 3 | 2]) + varint(len(value)) + value


def command(kind, message):
    return member(1, b"type.googleapis.com/arrow.flight.protocol.sql." + kind.encode()) + member(2, message)


def headers(side, token, agreement, purpose):
    found = []
    if token:
        found.append((b"authorization", b"Bearer " + token.encode()))
    if agreement:
        found.append((b"perron-agreement", agreement.encode()))
    if purpose:
        found.append((b"perron-purpose", purpose.encode()))
    return found


class PyArrow:
    name = "pyarrow"

    def run(self, side, sql, token, agreement, purpose):
        options = flight.FlightCallOptions(headers=headers(side, token, agreement, purpose), timeout=30)
        with flight.connect(f"grpc://127.0.0.1:{side.port}") as client:
            try:
                descriptor = flight.FlightDescriptor.for_command(command("CommandStatementQuery", member(1, sql.encode())))
                info = client.get_flight_info(descriptor, options)
                return client.do_get(info.endpoints[0].ticket, options).read_all().to_pylist()
            except pyarrow.ArrowException as error:
                raise Refused(str(error)) from error
            except flight.FlightError as error:
                raise Refused(str(error), error.extra_info) from error


class Adbc:
    name = "adbc"

    def run(self, side, sql, token, agreement, purpose):
        prefix = DatabaseOptions.RPC_CALL_HEADER_PREFIX.value
        options = {}
        if token:
            options[DatabaseOptions.AUTHORIZATION_HEADER.value] = f"Bearer {token}"
        if agreement:
            options[prefix + "perron-agreement"] = agreement
        if purpose:
            options[prefix + "perron-purpose"] = purpose
        try:
            with adbc.connect(f"grpc://127.0.0.1:{side.port}", db_kwargs=options) as connection:
                with connection.cursor() as cursor:
                    cursor.execute(sql)
                    return cursor.fetch_arrow_table().to_pylist()
        except adbc_driver_manager.Error as error:
            raise Refused(str(error), b" ".join(v for _, v in error.details or [])) from error


class Jdbc:
    def __init__(self, mode):
        self.mode, self.name = mode, f"jdbc-{mode}"

    def run(self, side, sql, token, agreement, purpose):
        properties = {"useEncryption": "false", "token": token, "perron-agreement": agreement, "perron-purpose": purpose}
        given = "&".join(f"{k}={urllib.parse.quote(v, safe='')}" for k, v in properties.items() if v)
        url = f"jdbc:arrow-flight-sql://127.0.0.1:{side.port}?{given}"
        java = ["java", "--add-opens=java.base/java.nio=ALL-UNNAMED", "-cp", os.environ["PERRON_JAVA_CLASSES"], "Query"]
        out = subprocess.run([*java, self.mode, url, sql], capture_output=True, text=True, timeout=JAVA_S, check=False)
        lines = [line.split("\t") for line in out.stdout.splitlines()]
        if lines and lines[-1][0] == "refused":
            raise Refused(lines[-1][1])
        assert lines and lines[-1] == ["end"], out.stdout + out.stderr
        return [tuple(line[1:]) for line in lines if line[0] == "row"]


# --- what is run ---------------------------------------------------------------------------------

def values(rows):
    return [tuple(row.values()) if isinstance(row, dict) else row for row in rows]


def permitted(client, commune, inter):
    def rows(side, sql):
        return values(client.run(side, sql, side.token, side.agreement, side.purpose))

    def count():
        (found,) = rows(commune, "SELECT count(*) AS n FROM building_water")
        assert int(found[0]) > 1000, found

    def many_rows():
        found = rows(commune, "SELECT * FROM building_water")
        (counted,) = rows(commune, "SELECT count(*) AS n FROM building_water")
        assert len(found) == int(counted[0]), (len(found), counted)

    def no_rows():
        assert rows(commune, "SELECT meter FROM building_water WHERE meter = 'none'") == []

    def totals():
        found = rows(inter, "SELECT sector, households FROM household_water")
        assert len(found) == GROUPS and all(int(n) >= 10 for _, n in found), found

    def types():
        (found,) = rows(commune, "SELECT meter, litres, start_local FROM building_water WHERE litres IS NOT NULL ORDER BY start_local LIMIT 1")
        assert len(found) == 3 and all(v is not None for v in found), found

    return [count, many_rows, no_rows, totals, types]


def refusals(client, commune, inter):
    good = "SELECT count(*) AS n FROM household_water"
    cases = [
        ("one_household", "column_not_granted", {"sql": "SELECT household, litres FROM household_water LIMIT 1"}),
        ("no_such_column", "column_not_granted", {"sql": "SELECT nothing FROM household_water"}),
        ("other_table", "table_not_granted", {"sql": "SELECT 1 FROM building_water"}),
        ("schema_of_the_engine", "table_not_granted", {"sql": "SELECT 1 FROM information_schema.tables"}),
        ("other_purpose", "purpose_not_granted", {"purpose": MARKETING}),
        ("other_agreement", "agreement_not_granted", {"agreement": commune.agreement}),
        ("no_agreement", "malformed", {"agreement": None}),
        ("no_purpose", "malformed", {"purpose": None}),
        ("anonymous", "unauthenticated", {"token": None}),
        ("wrong_token", "unauthenticated", {"token": "x" * 43}),
        ("ddl", "statement_not_allowed", {"sql": "CREATE TABLE t AS SELECT 1"}),
        ("dml", "statement_not_allowed", {"sql": "DELETE FROM household_water"}),
        ("two_statements", "statement_invalid", {"sql": f"{good}; {good}"}),
        ("not_sql", "statement_invalid", {"sql": "SELEKT sector"}),
        ("function", "function_not_allowed", {"sql": "SELECT version() FROM household_water"}),
    ]

    def case(name, code, changed):
        def refused():
            asked = {"sql": good, "token": inter.token, "agreement": inter.agreement, "purpose": inter.purpose} | changed
            try:
                rows = client.run(inter, **asked)
            except Refused as error:
                assert error.code() == code, f"`{error.code()}` instead of `{code}`: {error}"
                return
            raise AssertionError(f"should be refused with `{code}`: {str(rows)[:200]}")
        refused.__name__ = f"refused_{name}"
        return refused

    return [case(*c) for c in cases]


def prepared_twice(commune, _inter):
    """ADBC prepares, then runs twice; a parameter is refused."""
    prefix = DatabaseOptions.RPC_CALL_HEADER_PREFIX.value
    options = {DatabaseOptions.AUTHORIZATION_HEADER.value: f"Bearer {commune.token}", prefix + "perron-agreement": commune.agreement, prefix + "perron-purpose": commune.purpose}
    with adbc.connect(f"grpc://127.0.0.1:{commune.port}", db_kwargs=options) as connection, connection.cursor() as cursor:
        statement = cursor.adbc_statement
        statement.set_sql_query("SELECT count(*) AS n FROM building_water")
        statement.prepare()
        for _ in range(2):
            stream, _ = statement.execute_query()
            found = pyarrow.RecordBatchReader._import_from_c(stream.address).read_all().to_pylist()
            assert found[0]["n"] > 1000, found


def an_auditor_asks_the_log(commune, _inter):
    """ADBC and pyarrow ask the log, as an auditor, and count what `audit list` lists; nobody else does."""
    (made,) = answer("user", "add", "denise", "--role", "auditor", "--token", "--dir", str(commune.directory))
    listed = answer("audit", "list", "--dir", str(commune.directory), "--count", "100000")
    counted = {}
    for entry in listed:
        counted[entry["kind"]] = counted.get(entry["kind"], 0) + 1
    last = listed[-1]["index"]
    by_kind = f"SELECT kind, count(*) AS n FROM log WHERE index <= {last} GROUP BY kind"
    for client in (Adbc(), PyArrow()):
        found = client.run(commune, by_kind, made["token"], "log", None)
        assert {row["kind"]: row["n"] for row in found} == counted, (client.name, found, counted)
        typed = client.run(commune, "SELECT index, time, user, permitted, reasons FROM log ORDER BY index LIMIT 3", made["token"], "log", None)
        assert [row["index"] for row in typed] == [0, 1, 2] and typed[0]["time"].tzinfo is not None, typed
        refused = [
            ("role_missing", {"token": commune.token}),
            ("unauthenticated", {"token": None}),
            ("table_not_granted", {"sql": "SELECT * FROM building_water"}),
            ("table_not_granted", {"sql": "SELECT * FROM information_schema.tables"}),
            ("statement_not_allowed", {"sql": "COPY log TO '/tmp/log.csv'"}),
            ("statement_not_allowed", {"sql": "DELETE FROM log"}),
            ("function_not_allowed", {"sql": "SELECT * FROM read_csv('/etc/passwd')"}),
        ]
        for code, changed in refused:
            asked = {"sql": by_kind, "token": made["token"], "agreement": "log", "purpose": None} | changed
            try:
                client.run(commune, **asked)
            except Refused as error:
                assert error.code() == code, f"`{error.code()}` instead of `{code}`: {error}"
            else:
                raise AssertionError(f"{client.name}: should be refused with `{code}`")
    looks = [e for e in answer("audit", "list", "--dir", str(commune.directory), "--count", "100000") if e["kind"] == "log-query"]
    permitted = [e for e in looks if e["facts"]["permitted"]]
    assert (len(permitted), len(looks)) == (4, 4 + 2 * 6), (len(permitted), len(looks))


def the_tables_of_the_log_are_listed(commune, _inter):
    """What a tool's browser of tables asks: for the log, of an auditor, and of nobody else."""
    (made,) = answer("user", "add", "fanny", "--role", "auditor", "--token", "--dir", str(commune.directory))
    prefix = DatabaseOptions.RPC_CALL_HEADER_PREFIX.value

    def listed(token, agreement):
        options = {DatabaseOptions.AUTHORIZATION_HEADER.value: f"Bearer {token}", prefix + "perron-agreement": agreement}
        with adbc.connect(f"grpc://127.0.0.1:{commune.port}", db_kwargs=options) as connection:
            found = connection.adbc_get_objects(depth="tables").read_all().to_pylist()
            tables = [t["table_name"] for c in found for s in c["catalog_db_schemas"] for t in s["db_schema_tables"]]
            return sorted(tables), connection.adbc_get_table_schema("log").names

    tables, columns = listed(made["token"], "log")
    assert tables == ["log", "reads", "refusals"] and columns[:3] == ["index", "time", "leaf"], (tables, columns)
    for token, agreement in [(commune.token, "log"), (made["token"], commune.agreement)]:
        try:
            listed(token, agreement)
        except adbc_driver_manager.Error:
            continue
        raise AssertionError("its tables were listed")


def an_auditor_asks_the_log_by_jdbc(commune, _inter):
    (made,) = answer("user", "add", "edith", "--role", "auditor", "--token", "--dir", str(commune.directory))
    permits = len(answer("audit", "list", "--dir", str(commune.directory), "--count", "100000", "--kind", "permit"))
    for mode in ("plain", "prepared"):
        ((found,),) = Jdbc(mode).run(commune, "SELECT count(*) AS n FROM log WHERE kind = 'permit'", made["token"], "log", None)
        assert int(found) == permits, (mode, found, permits)


def ticket_serves_once(commune, _inter):
    options = flight.FlightCallOptions(headers=headers(commune, commune.token, commune.agreement, commune.purpose), timeout=30)
    with flight.connect(f"grpc://127.0.0.1:{commune.port}") as client:
        descriptor = flight.FlightDescriptor.for_command(command("CommandStatementQuery", member(1, b"SELECT count(*) AS n FROM building_water")))
        ticket = client.get_flight_info(descriptor, options).endpoints[0].ticket
        client.do_get(ticket, options).read_all()
        try:
            client.do_get(ticket, options).read_all()
        except (pyarrow.ArrowException, flight.FlightError) as error:
            assert Refused(str(error)).code() == "ticket_invalid", error
            return
        raise AssertionError("a ticket served twice")


def own_certificate(days):
    """A certificate that nobody else signed, as an operator enters it, with its key: both PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "carine")])
    now = datetime.datetime.now(datetime.timezone.utc)
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    made = made.serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(days=10))
    made = made.not_valid_after(now + datetime.timedelta(days=days)).sign(key, hashes.SHA256())
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return made.public_bytes(serialization.Encoding.PEM), private


def over_tls(side, shown, token=None):
    """Counts over the TLS port: the caller shows a certificate, a token or nothing."""
    options = flight.FlightCallOptions(headers=headers(side, token, side.agreement, side.purpose), timeout=30)
    identity = {"cert_chain": shown[0], "private_key": shown[1]} if shown else {}
    ca = (side.directory / "trust" / "ca.pem").read_bytes()
    try:
        with flight.connect(f"grpc+tls://127.0.0.1:{side.tls}", tls_root_certs=ca, override_hostname=side.host, **identity) as client:
            statement = member(1, b"SELECT count(*) AS n FROM building_water")
            info = client.get_flight_info(flight.FlightDescriptor.for_command(command("CommandStatementQuery", statement)), options)
            return client.do_get(info.endpoints[0].ticket, options).read_all().to_pylist()[0]["n"]
    except flight.FlightError as error:
        raise Refused(str(error), error.extra_info) from error


def a_certificate_shows_who_asks(commune, _inter):
    """Over TLS a user is known by a certificate that was entered, or by a token; nobody else is."""
    known, unknown, expired = own_certificate(30), own_certificate(30), own_certificate(-1)
    for name, certificate in [("carine", known), ("damien", expired)]:
        file = commune.directory / f"{name}.pem"
        file.write_bytes(certificate[0])
        answer("user", "add", name, "--role", "analyst", "--purpose", commune.purpose, "--agreement", commune.agreement, "--certificate", str(file), "--dir", str(commune.directory))
    assert over_tls(commune, known) > 1000
    assert over_tls(commune, None, commune.token) > 1000
    for shown in [unknown, None]:
        try:
            over_tls(commune, shown)
        except Refused as error:
            assert error.code() == "unauthenticated", error
        else:
            raise AssertionError("a stranger was served")
    try:
        over_tls(commune, expired)
    except (Refused, pyarrow.ArrowException) as error:
        # The handshake itself fails.
        assert "unavailable" in str(error).lower() or "handshake" in str(error).lower(), error
    else:
        raise AssertionError("an expired certificate was taken")


def cases(commune, inter):
    for client in [PyArrow(), Adbc(), Jdbc("plain"), Jdbc("prepared")]:
        wanted = permitted(client, commune, inter) + refusals(client, commune, inter)
        if isinstance(client, Jdbc):
            # Each is a start of Java: those that matter.
            few = {"many_rows", "totals", "types", "refused_one_household", "refused_other_purpose", "refused_anonymous", "refused_ddl"}
            wanted = [w for w in wanted if w.__name__ in few]
        for test in wanted:
            yield f"{client.name}::{test.__name__}", test
    own = [prepared_twice, an_auditor_asks_the_log, an_auditor_asks_the_log_by_jdbc, the_tables_of_the_log_are_listed, ticket_serves_once, a_certificate_shows_who_asks]
    for test in own:
        yield test.__name__, lambda test=test: test(commune, inter)


def wait_for_end(sides):
    """Returns once none of the connectors listens any more, so that their directories can go."""
    deadline = time.monotonic() + END_S
    for port in [port for side in sides for port in (side.port, side.tls)]:
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", int(port))) != 0:
                    break
            assert time.monotonic() < deadline, f"port {port} is still listened on"
            time.sleep(0.05)


def main():
    passed, failed = 0, 0
    with tempfile.TemporaryDirectory(prefix="perron-clients-") as folder:
        directory = pathlib.Path(folder) / "demo"
        # A session of its own: the connectors that stay are ended with it.
        sides = []
        demo = subprocess.Popen([PERRON, "--json", "demo", "--serve", "--dir", str(directory)], stdout=subprocess.PIPE, text=True, start_new_session=True)
        try:
            steps, _ = demo.communicate(timeout=START_S)
            assert demo.returncode == 0, f"the demonstration failed:\n{steps}"
            commune = Side(directory / "commune", directory / "anne.token", "building_water", ROWS)
            inter = Side(directory / "inter", directory / "bruno.token", "household_water", TOTALS)
            sides += [commune, inter]
            for name, test in cases(commune, inter):
                begun = time.monotonic()
                try:
                    test()
                    passed += 1
                    print(f"test {name} ... ok ({time.monotonic() - begun:.2f} s)", flush=True)
                except Exception:
                    failed += 1
                    print(f"test {name} ... FAILED\n{traceback.format_exc(limit=3, chain=False)}", flush=True)
        finally:
            try:
                os.killpg(demo.pid, signal.SIGTERM)
            except ProcessLookupError:
                pass
            wait_for_end(sides)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
