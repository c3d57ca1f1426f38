#!/usr/bin/env python3
"""Makes the demonstration's data out of real meter readings.

    python3 -m venv /tmp/venv && /tmp/venv/bin/pip install -r tools/requirements.txt
    /tmp/venv/bin/python tools/derive_demo_data.py --shared /path/to/shared --out demo/data

Writes household_water_2025-{01,02,03}.csv (derived), building_water_hours_2015.{csv,parquet}
and building_electricity_hours_2016.{csv,parquet}, and prints the figures that the tests
compare with. demo/data/SOURCES.md says what is real and what is invented.

Every draw is a SHA-256 of the seed and of what is drawn, so that no draw depends on the
order of the others nor on Python's own generator: the same input gives the same CSV bytes.
"""

import argparse
import calendar
import csv
import datetime as dt
import gzip
import hashlib
import math
from collections import defaultdict
from pathlib import Path
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.parquet as pq

SEED = "perron-demo-1"
BRUSSELS = ZoneInfo("Europe/Brussels")
HOUR = dt.timedelta(hours=1)

# Real codes of 1 January 2025 (checked against communes_be_2025.csv): Malmedy and its neighbour.
COMMUNE_NIS, COMMUNE_NAME = "63049", "Malmedy"
NEIGHBOUR_NIS, NEIGHBOUR_NAME = "63073", "Stavelot"

# Invented sectors and how many households each has. Three are small on purpose: a floor of 5
# withholds the first two, a floor of 10 the first three.
SECTOR_SIZES = [3, 4, 9, 18, 24, 31, 38, 44, 51, 57, 66, 75]

# Households are drawn from these meters only: b285 and 2923 carry the unlabelled overnight flows.
HOUSEHOLD_METERS = ["6616", "a805", "1a5c", "a926", "a519"]
HOUSEHOLD_MONTHS = [(2025, 1), (2025, 2), (2025, 3)]
# Invented shares of households with 1 to 5 occupants, cumulated.
OCCUPANTS_CUMULATED = [0.35, 0.68, 0.82, 0.94, 1.0]

MINUTES_PRESENT_MIN = 50

# Invented buildings: (nis, building) of each real meter. The right single quotation mark is 0x92
# in Windows-1252 and nothing in Latin-1, so that a reader that guesses wrongly shows it.
WATER_BUILDINGS = {
    "2923": (COMMUNE_NIS, "Hôtel de ville"),
    "b285": (COMMUNE_NIS, "École communale du Centre"),
    "a926": (COMMUNE_NIS, "Hall omnisports"),
    "a519": (COMMUNE_NIS, "Maison de l’Enfance"),
    "6616": (NEIGHBOUR_NIS, "Bibliothèque"),
    "a805": (NEIGHBOUR_NIS, "École fondamentale"),
    "1a5c": (NEIGHBOUR_NIS, "Centre culturel"),
}
ELECTRICITY_BUILDINGS = {
    "3aa4": (COMMUNE_NIS, "Hôtel de ville"),
    "ce8a": (COMMUNE_NIS, "École communale du Centre"),
    "a7d5": (COMMUNE_NIS, "Hall omnisports"),
    "7863": (COMMUNE_NIS, "Maison de l’Enfance"),
    "0668": (NEIGHBOUR_NIS, "Bibliothèque"),
    "e1de": (NEIGHBOUR_NIS, "École fondamentale"),
}
ELECTRICITY_YEAR = 2016
ELECTRICITY_CSV_MONTHS = (1, 2, 3)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shared", type=Path, required=True,
                        help="directory with data/water_minutes_2015-03.csv.gz and the others")
    parser.add_argument("--out", type=Path, required=True, help="where the files go")
    args = parser.parse_args()
    source = args.shared / "data"
    args.out.mkdir(parents=True, exist_ok=True)

    check_communes(source / "communes_be_2025.csv")
    meters, minutes = read_series(source / "water_minutes_2015-03.csv.gz")
    write_households(args.out, meters, minutes)
    write_building_water(args.out, meters, minutes)
    write_building_electricity(args.out, source / "electricity_hours_2016.csv.gz")


# --- households -----------------------------------------------------------------------------


def write_households(out, meters, minutes):
    pool = whole_days(meters, minutes)
    households = make_households()
    households_by_sector = defaultdict(int)
    for household in households:
        households_by_sector[household["sector"]] += 1

    monthly = defaultdict(lambda: defaultdict(list))
    for year, month in HOUSEHOLD_MONTHS:
        rows = []
        for household in households:
            for day in range(1, calendar.monthrange(year, month)[1] + 1):
                date = dt.date(year, month, day)
                days = pool[household["home_meter"], is_weekend(date)]
                key = f"{household['index']}/{date.isoformat()}"
                litres = days[int(draw("day", key) * len(days))] * household["factor"]
                litres = round(litres, 1)
                monthly[household["sector"]][month].append(litres)
                rows.append([household["ean"], household["pseudonym"], household["sector"],
                             household["occupants"], date.strftime("%d/%m/%Y"), comma(litres, 1)])
        write_csv(out / f"household_water_{year}-{month:02}.csv",
                  ["compteur", "ménage", "secteur", "occupants", "date", "litres"], rows)

    print("sector households litres_2025-01 litres_2025-02 litres_2025-03")
    for sector in sorted(households_by_sector):
        print(sector, households_by_sector[sector],
              *(f"{math.fsum(monthly[sector][month]):.1f}" for _, month in HOUSEHOLD_MONTHS))
    print("all", len(households), *(
        f"{math.fsum(x for sector in monthly.values() for x in sector[month]):.1f}"
        for _, month in HOUSEHOLD_MONTHS))


def whole_days(meters, minutes):
    """Litres of each local day with all its 1,440 minutes, by (meter, weekend or not)."""
    days = defaultdict(list)
    for start, values in minutes:
        date = start.astimezone(BRUSSELS).date()
        for meter, value in zip(meters, values):
            if meter in HOUSEHOLD_METERS and value is not None:
                days[meter, date].append(value)
    pool = defaultdict(list)
    for (meter, date), values in sorted(days.items()):
        if len(values) == 1440:  # neither a gap nor the 23 hours of 29 March
            pool[meter, is_weekend(date)].append(math.fsum(values))
    return pool


def make_households():
    households = []
    index = 0
    for number, size in enumerate(SECTOR_SIZES, start=1):
        for _ in range(size):
            index += 1
            occupants_draw = draw("occupants", index)
            occupants = 1 + sum(occupants_draw >= bound for bound in OCCUPANTS_CUMULATED)
            households.append({
                "index": index,
                "sector": f"{COMMUNE_NIS}X{number:03}",
                "ean": ean18(index),
                "pseudonym": "m" + digest("pseudonym", index)[:10],
                "occupants": occupants,
                "home_meter": HOUSEHOLD_METERS[int(draw("home", index) * len(HOUSEHOLD_METERS))],
                "factor": (0.2 + 0.25 * occupants) * (0.85 + 0.3 * draw("factor", index)),
            })
    assert len({h["ean"] for h in households}) == len(households)
    assert len({h["pseudonym"] for h in households}) == len(households)
    # By meter number, as a supplier's export would be: the order says nothing about the sector.
    return sorted(households, key=lambda h: h["ean"])


def ean18(index):
    """An invented 18-digit number with the GS1 modulo-10 check digit at its end."""
    body = "541000000" + f"{int(digest('ean', index), 16) % 10**8:08}"
    total = sum(int(digit) * (3 if place % 2 == 0 else 1)
                for place, digit in enumerate(reversed(body)))
    return body + str(-total % 10)


# --- buildings ------------------------------------------------------------------------------


def write_building_water(out, meters, minutes):
    present = defaultdict(list)
    hours = set()
    for start, values in minutes:
        hour = start.replace(minute=0)
        hours.add(hour)
        for meter, value in zip(meters, values):
            if value is not None:
                present[meter, hour].append(value)

    records = []
    for meter, (nis, building) in WATER_BUILDINGS.items():
        for hour in sorted(hours):
            values = present[meter, hour]
            litres = round(math.fsum(values), 2) if len(values) >= MINUTES_PRESENT_MIN else None
            records.append((nis, building, meter, hour, litres, len(values)))

    write_csv(out / "building_water_hours_2015.csv",
              ["nis", "building", "meter", "start_local", "litres", "minutes_present"],
              [[nis, building, meter, local(hour), comma(litres, 2), count]
               for nis, building, meter, hour, litres, count in records])
    write_parquet(out / "building_water_hours_2015.parquet", records, [
        ("nis", pa.string()), ("building", pa.string()), ("meter", pa.string()),
        ("start_utc", pa.timestamp("us", tz="UTC")), ("litres", pa.float64()),
        ("minutes_present", pa.int32())])

    print("meter nis hours hours_empty litres")
    for meter, (nis, _) in WATER_BUILDINGS.items():
        values = [r[4] for r in records if r[2] == meter]
        known = [v for v in values if v is not None]
        print(meter, nis, len(values), len(values) - len(known), f"{math.fsum(known):.2f}")


def write_building_electricity(out, path):
    meters, series = read_series(path)
    place = {meter: meters.index(meter) for meter in ELECTRICITY_BUILDINGS}
    records = []
    for meter, (nis, building) in ELECTRICITY_BUILDINGS.items():
        for start, values in series:
            if start.astimezone(BRUSSELS).year == ELECTRICITY_YEAR:
                value = values[place[meter]]
                watts = None if value is None else round(value, 1)
                records.append((nis, building, meter, start, watts))

    write_csv(out / "building_electricity_hours_2016.csv",
              ["nis", "building", "meter", "start_local", "mean_watts"],
              [[nis, building, meter, local(start), comma(watts, 1)]
               for nis, building, meter, start, watts in records
               if start.astimezone(BRUSSELS).month in ELECTRICITY_CSV_MONTHS])
    write_parquet(out / "building_electricity_hours_2016.parquet", records, [
        ("nis", pa.string()), ("building", pa.string()), ("meter", pa.string()),
        ("start_utc", pa.timestamp("us", tz="UTC")), ("mean_watts", pa.float64())])

    print("meter nis hours kilowatt_hours")
    for meter, (nis, _) in ELECTRICITY_BUILDINGS.items():
        known = [r[4] for r in records if r[2] == meter and r[4] is not None]
        print(meter, nis, len(known), f"{math.fsum(known) / 1000:.1f}")


# --- reading, drawing, writing --------------------------------------------------------------


def check_communes(path):
    with path.open(encoding="utf-8", newline="") as file:
        names = {row["nis"]: row["name_fr"] for row in csv.DictReader(file)}
    for nis, name in [(COMMUNE_NIS, COMMUNE_NAME), (NEIGHBOUR_NIS, NEIGHBOUR_NAME)]:
        if names.get(nis) != name:
            raise SystemExit(f"`{nis}` is not `{name}` in {path}")


def read_series(path):
    """The meters' names, and (start in UTC, one value or None a meter) of each row."""
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        reader = csv.reader(file)
        meters = next(reader)[1:]
        rows = [(dt.datetime.fromisoformat(row[0]),
                 [float(cell) if cell else None for cell in row[1:]]) for row in reader]
    return meters, rows


def digest(what, key):
    return hashlib.sha256(f"{SEED}/{what}/{key}".encode()).hexdigest()


def draw(what, key):
    """A number from 0 up to, not including, 1."""
    return int(digest(what, key)[:13], 16) / 16**13


def is_weekend(date):
    return date.weekday() >= 5


def local(start):
    return start.astimezone(BRUSSELS).strftime("%d/%m/%Y %H:%M")


def comma(value, digits):
    return "" if value is None else f"{value:.{digits}f}".replace(".", ",")


def write_csv(path, header, rows):
    """As Belgian suppliers export it: `;`, decimal comma, Windows-1252, CRLF."""
    with path.open("w", encoding="cp1252", newline="") as file:
        writer = csv.writer(file, delimiter=";", lineterminator="\r\n")
        writer.writerow(header)
        writer.writerows(rows)


def write_parquet(path, records, fields):
    columns = [pa.array(column, type=kind)
               for column, (_, kind) in zip(zip(*records), fields)]
    pq.write_table(pa.Table.from_arrays(columns, schema=pa.schema(fields)), path,
                   compression="snappy")


if __name__ == "__main__":
    main()
