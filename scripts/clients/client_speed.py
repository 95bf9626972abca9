"""Our Snowpipe client beside the official Python SDK: rows/s and MB/s into the same local server, in one run, in turns.

Both make NDJSON of the same rows in memory, compress it, send it through as many channels, and end when the last row is
committed. The server has to do the same for both and runs on the same cores, so the clients' own processor time is told, too.
"""

import json
import os
import pathlib
import resource
import subprocess
import sys
import tempfile
import threading
import time

from stack import Local, frazil

CHANNELS = 3
ROWS = int(os.environ.get("ROWS", "120000"))
ROUNDS = 3
# Rows of one append_rows: what the SDK's documents advise is to give it many at once.
TOGETHER = 2000


def row(channel, number):
    """As crates/snowflake/examples/stream_rows.rs makes them."""
    trace = number * 0x9E3779B97F4A7C15 % 2**64
    turned = (trace << 17 | trace >> 47) % 2**64
    return {
        "CHANNEL": channel,
        "N": number,
        "TRACE": f"{trace:016x}{turned:016x}",
        "TEXT": f"measured at station {trace % 977} by instrument {trace % 77}",
        "READING": (trace % 100_000) / 100.0,
    }


def with_the_sdk(account, user, key, url, database, schema, table):
    """Runs in a process of its own; prints what the example prints."""
    from snowflake.ingest.streaming import StreamingIngestClient  # pylint: disable=import-outside-toplevel

    client = StreamingIngestClient(
        client_name="client-speed",
        db_name=database,
        schema_name=schema,
        pipe_name=f"{table}-STREAMING",
        properties={"account": account, "user": user, "url": url, "private_key": pathlib.Path(key).read_text()},
    )
    prepared = [[row(c, n) for n in range(ROWS)] for c in range(CHANNELS)]
    size = sum(len(json.dumps(r, separators=(",", ":"))) + 1 for r in prepared[0]) * CHANNELS
    failures = []

    def run(number):
        try:
            channel, _ = client.open_channel(f"SDK_{number}_{os.getpid()}")
            rows = prepared[number]
            for start in range(0, ROWS, TOGETHER):
                part = rows[start : start + TOGETHER]
                end = f"{start + len(part) - 1:09}"
                while True:
                    try:
                        channel.append_rows(part, start_offset_token=f"{start:09}", end_offset_token=end)
                        break
                    except Exception as failure:  # pylint: disable=broad-except
                        # The SDK never blocks: it refuses rows while too much is under way.
                        if "Saturated" not in str(failure) and "Memory" not in str(failure):
                            raise
                        time.sleep(0.02)
            last = f"{ROWS - 1:09}"
            channel.wait_for_commit(lambda token: token is not None and token >= last, timeout_seconds=300)
            channel.close()
        except Exception as failure:  # pylint: disable=broad-except
            failures.append(failure)

    begun = time.monotonic()
    threads = [threading.Thread(target=run, args=(number,)) for number in range(CHANNELS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.monotonic() - begun
    client.close()
    if failures:
        raise failures[0]
    print(json.dumps({"rows": CHANNELS * ROWS, "bytes": size, "seconds": seconds}))


def measured(command, environment=None):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **(environment or {})})
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode != 0:
        raise RuntimeError(f"{command[0]}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    # The SDK logs to standard output, too.
    told = json.loads([line for line in done.stdout.splitlines() if line.startswith("{")][-1])
    assert told["rows"] == CHANNELS * ROWS, told
    told["processor"] = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return told


def main():
    folder = pathlib.Path(tempfile.mkdtemp(prefix="frazil-client-speed-"))
    local = Local(folder / "data")
    a = local.addresses
    user, key = a["user"], a["privateKeyFile"]
    frazil("sql", "--data", local.data, "CREATE DATABASE IF NOT EXISTS SPEED")
    columns = "(CHANNEL NUMBER, N NUMBER, TRACE VARCHAR, TEXT VARCHAR, READING FLOAT)"
    for table in ("OURS", "SDK"):
        frazil("sql", "--data", local.data, f"CREATE TABLE SPEED.PUBLIC.{table} {columns}")
    all_told = {"ours": [], "sdk": []}
    for turn in range(ROUNDS):
        frazil("sql", "--data", local.data, "TRUNCATE TABLE SPEED.PUBLIC.OURS")
        frazil("sql", "--data", local.data, "DROP TABLE SPEED.PUBLIC.OURS")
        frazil("sql", "--data", local.data, f"CREATE TABLE SPEED.PUBLIC.OURS {columns}")
        ours = [os.environ["STREAM_ROWS"], a["snowflakeUrl"], a["account"], user, key, "SPEED", "PUBLIC", "OURS"]
        all_told["ours"].append(measured([*ours, str(CHANNELS), str(ROWS)]))
        sdk = [sys.executable, __file__, a["account"], user, key, a["snowflakeTlsUrl"], "SPEED", "PUBLIC", "SDK"]
        all_told["sdk"].append(measured(sdk, {"SSL_CERT_FILE": a["certificate"], "SS_LOG_LEVEL": "error"}))
        for name, table, times in (("ours", "OURS", 1), ("sdk", "SDK", turn + 1)):
            count = int(local.sql(f"SELECT COUNT(*) AS C FROM SPEED.PUBLIC.{table}")[0]["C"])
            assert count == times * CHANNELS * ROWS, (name, count)
    best = {}
    for name, told in all_told.items():
        one = min(told, key=lambda t: t["seconds"])
        best[name] = one
        print(
            f"{name}: {one['rows'] / one['seconds']:.0f} rows/s, {one['bytes'] / one['seconds'] / 1e6:.1f} MB/s of NDJSON, "
            f"{one['processor']:.2f} s of processor time for {one['rows']} rows (best of {ROUNDS})"
        )
    wall = best["sdk"]["seconds"] / best["ours"]["seconds"]
    processor = best["sdk"]["processor"] / best["ours"]["processor"]
    print(f"ratio: {wall:.2f} times the SDK's rows/s, {processor:.2f} times its rows per second of processor time")
    local.stop()
    return 0 if wall > 1 else 1


if __name__ == "__main__":
    if len(sys.argv) > 1:
        with_the_sdk(*sys.argv[1:])
    else:
        sys.exit(main())
