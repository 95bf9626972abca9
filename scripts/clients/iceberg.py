"""Iceberg tables of `frazil local`, read by PyIceberg and Polars as they lie in the data folder.

The official SDK streams rows in many small commits into a table of version 2 and one of version 3; columns come by evolution,
small files are merged meanwhile, the server is killed once. Both engines must find each row once, each value and each type.
"""

import datetime
import decimal
import json
import os
import sys
import tempfile

os.environ["POLARS_ICEBERG_PLANNER"] = "pyiceberg"

import polars
from pyiceberg.table import StaticTable
from stack import Local, wait_for

BATCHES = 40
ROWS = 40
SINCE = datetime.datetime(2026, 11, 24, 1, 2, 3, 4567)
COLUMNS = """id INT, big BIGINT, name STRING, at TIMESTAMP_NTZ(6), day DATE, price NUMBER(10,2), ok BOOLEAN, raw BINARY,
    tags ARRAY(STRING), place OBJECT(city STRING, lat FLOAT), counts MAP(VARCHAR, INT)"""
TYPES = {
    "ID": "int", "BIG": "long", "NAME": "string", "AT": "timestamp", "DAY": "date", "PRICE": "decimal(10, 2)", "OK": "boolean",
    "RAW": "binary", "TAGS": "list<string>", "PLACE": "struct<", "COUNTS": "map<string, int>", "SCORE": "decimal(38, 2)", "NOTE": "string",
}


def sent(n):
    """A record; the later half has keys that no column has yet."""
    row = {
        "id": n, "big": 2**60 + n, "name": f"row {n} ü", "at": (SINCE + datetime.timedelta(seconds=n)).isoformat(), "day": "2024-10-15",
        "price": f"{n}.25", "ok": n % 2 == 0, "raw": "aGk=", "tags": ["a", None, f"{n}"], "place": {"city": "Oslo", "lat": n / 4},
        "counts": {"x": n, "y": 1},
    }
    if n >= BATCHES * ROWS // 2:
        row |= {"score": 0.25, "note": f"n{n}", "list": [1]}
    return row


def expected(n):
    row = sent(n)
    later = "score" in row
    return {
        "ID": n, "BIG": 2**60 + n, "NAME": row["name"], "AT": SINCE + datetime.timedelta(seconds=n), "DAY": datetime.date(2024, 10, 15),
        "PRICE": decimal.Decimal(row["price"]), "OK": row["ok"], "RAW": b"hi", "TAGS": row["tags"], "PLACE": row["place"],
        "COUNTS": row["counts"], "SCORE": decimal.Decimal("0.25") if later else None, "NOTE": row.get("note"),
    }


def plain(row):
    """A row of an engine: maps as dictionaries."""
    counts = row["COUNTS"]
    if isinstance(counts, list):
        pairs = [(entry["key"], entry["value"]) if isinstance(entry, dict) else entry for entry in counts]
        row = {**row, "COUNTS": dict(pairs)}
    return row


def client_for(local, folder):
    from snowflake.ingest.streaming import StreamingIngestClient

    a = local.addresses
    profile = {
        "url": a["snowflakeTlsUrl"], "account": a["account"], "user": a["user"], "private_key": open(a["privateKeyFile"]).read(),
        "max_buffered_kb_for_rowset_mode": "1000000", "max_rowset_payload_size_mb": "16",
    }
    path = f"{folder}/profile.json"
    with open(path, "w", encoding="utf8") as out:
        json.dump(profile, out)
    return lambda table: StreamingIngestClient("iceberg", "ICE", "PUBLIC", f"{table}-STREAMING", profile_json=path)


def stream(client, first, last):
    """Batches, each waited for, so that each is a commit."""
    channel, status = client.open_channel("ONE")
    token = status.latest_committed_offset_token
    assert token == (f"{first - 1:06}" if first else None), (token, first)
    for batch in range(first, last):
        token = f"{batch:06}"
        for n in range(batch * ROWS, (batch + 1) * ROWS):
            channel.append_row(sent(n), offset_token=token)
        channel.wait_for_commit(lambda committed: committed is not None and committed >= token, timeout_seconds=60)
    channel.close()
    client.close()


def location(local, table):
    told = local.sql(f"SELECT SYSTEM$GET_ICEBERG_TABLE_INFORMATION('ICE.PUBLIC.{table}')")[0]
    return json.loads(next(iter(told.values())))["metadataLocation"]


def read(local, table, version):
    """Compares what both engines read with what was sent; gives the number of data files."""
    total = BATCHES * ROWS
    found = StaticTable.from_metadata(location(local, table))
    assert found.metadata.format_version == version, found.metadata.format_version
    types = {field.name: str(field.field_type) for field in found.schema().fields}
    assert types.keys() == TYPES.keys(), types
    for name, wanted in TYPES.items():
        assert types[name].startswith(wanted), (name, types[name])
    wanted = [expected(n) for n in range(total)]
    rows = sorted((plain(row) for row in found.scan().to_arrow().to_pylist()), key=lambda row: row["ID"])
    assert len(rows) == total, f"PyIceberg reads {len(rows)} rows of {total}"
    for row, want in zip(rows, wanted):
        assert row == want, (row, want)
    few = found.scan(row_filter="ID >= 100 and ID < 110", selected_fields=("ID", "NOTE")).to_arrow()
    assert sorted(few["ID"].to_pylist()) == list(range(100, 110)), few
    frame = polars.scan_iceberg(found.metadata_location).sort("ID").collect()
    assert frame.height == total, f"Polars reads {frame.height} rows of {total}"
    for row, want in zip(frame.to_dicts(), wanted):
        assert plain(row) == want, (row, want)
    ours = local.sql(f"SELECT COUNT(*) AS C, COUNT(DISTINCT ID) AS D FROM ICE.PUBLIC.{table}")[0]
    assert (int(ours["C"]), int(ours["D"])) == (total, total), ours
    snapshots = len(found.metadata.snapshots)
    assert snapshots > BATCHES, f"only {snapshots} snapshots"
    merges = sum(1 for snapshot in found.metadata.snapshots if snapshot.summary.operation.value == "replace")
    assert merges > 0, "nothing was merged"
    files = len(list(found.scan().plan_files()))
    assert files < BATCHES // 2, f"{files} data files after {BATCHES} commits"
    return files, merges


def main():
    folder = tempfile.mkdtemp(prefix="frazil-iceberg-")
    local = Local(f"{folder}/data")
    os.environ.update(SSL_CERT_FILE=local.addresses["certificate"], SS_LOG_LEVEL="error")
    local.sql("CREATE DATABASE ICE")
    for version in (2, 3):
        local.sql(
            f"CREATE ICEBERG TABLE ICE.PUBLIC.T{version} ({COLUMNS}) EXTERNAL_VOLUME = 'vol' CATALOG = 'SNOWFLAKE' "
            f"BASE_LOCATION = 't/{version}' ICEBERG_VERSION = {version} ENABLE_SCHEMA_EVOLUTION = TRUE ERROR_LOGGING = TRUE"
        )
    client = client_for(local, folder)
    for table in ("T2", "T3"):
        stream(client(table), 0, BATCHES // 2)
    local.kill()
    local = Local(f"{folder}/data", ports=local.ports)
    for table in ("T2", "T3"):
        stream(client(table), BATCHES // 2, BATCHES)
    told = []
    for version in (2, 3):
        # Merges run beside the commits.
        few = lambda: len(list(StaticTable.from_metadata(location(local, f"T{version}")).scan().plan_files())) < BATCHES // 2
        wait_for("small files to be merged", few)
        files, merges = read(local, f"T{version}", version)
        told.append(f"version {version}: {BATCHES * ROWS} rows in {files} data files after {merges} merges")
    local.stop()
    print(f"ok: PyIceberg and Polars read what the SDK streamed, over a kill; {'; '.join(told)}")


if __name__ == "__main__":
    sys.exit(main())
