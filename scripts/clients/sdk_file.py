"""The official snowpipe-streaming SDK at its defaults (file mode, elastic channel) against `frazil local`.

Three named channels at once with offsets, re-open, refused rows and new columns; lists of rows; then the elastic channel; then how much three
channels carry. Every row is counted by SQL; the local server must count registrations of files, or nothing was tried.
"""

import os
import pathlib
import re
import sys
import tempfile
import threading
import time

from stack import Local, frazil

NAMED = ("ONE", "TWO", "THREE")
ROWS = 20_000
ELASTIC_ROWS = 10_000
BULK = 4_000
SPEED_SECONDS = 5
MEGABYTE = 1_000_000


def fill(channel, name, numbers, extra=None):
    """Appends rows of about 200 bytes; gives the last offset token."""
    for n in numbers:
        row = {"channel": name, "n": n, "text": f"row {n} of {name} ü " + "x" * 150}
        if extra is not None:
            row[extra] = n % 7
        channel.append_row(row, offset_token=f"{n:08}")
    return f"{numbers[-1]:08}"


def committed(channel, last):
    channel.wait_for_commit(lambda token: token is not None and token >= last, timeout_seconds=120)


def together(work, names=NAMED):
    """One thread a channel; the first failure is raised."""
    failures = []

    def run(name):
        try:
            work(name)
        except Exception as failure:  # pylint: disable=broad-except
            failures.append((name, failure))

    threads = [threading.Thread(target=run, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise RuntimeError(f"channel {failures[0][0]}") from failures[0][1]


def count(local, what, table="SDK.PUBLIC.EVENTS", where=""):
    return int(local.sql(f"SELECT {what} AS X FROM {table} {where}")[0]["X"])


def named(local, client):
    def first(name):
        channel, status = client.open_channel(name)
        assert status.latest_committed_offset_token is None, status
        committed(channel, fill(channel, name, range(ROWS)))
        channel.close()

    together(first)

    def second(name):
        # From the token on; a new column, and in one channel a row that is refused.
        channel, status = client.open_channel(name)
        start = int(status.latest_committed_offset_token) + 1
        assert start == ROWS, status
        last = fill(channel, name, range(start, 2 * ROWS), extra="added")
        if name == "TWO":
            last = f"{2 * ROWS:08}"
            channel.append_row({"channel": name, "n": "no number"}, offset_token=last)
        committed(channel, last)
        errors = channel.get_channel_status().rows_error_count
        assert errors == (1 if name == "TWO" else 0), (name, errors)
        channel.close()

    together(second)
    for name in NAMED:
        where = f"WHERE CHANNEL = '{name}'"
        found = [count(local, what, where=where) for what in ("COUNT(*)", "COUNT(DISTINCT N)", "MAX(N)", "COUNT(ADDED)")]
        assert found == [2 * ROWS, 2 * ROWS, 2 * ROWS - 1, ROWS], (name, found)
    assert count(local, "COUNT(*)") == 6 * ROWS


def in_bulk(local, client):
    """Lists of rows, under one token each, which the SDK turns into files without looking at single rows."""
    channel, _ = client.open_channel("BULK")
    for first in range(0, ROWS, BULK):
        rows = [{"channel": "BULK", "n": n, "text": f"row {n} " + "z" * 300} for n in range(first, first + BULK)]
        channel.append_rows(rows, start_offset_token=f"{first:08}", end_offset_token=f"{first + BULK - 1:08}")
    committed(channel, f"{ROWS - 1:08}")
    channel.close()
    where = "WHERE CHANNEL = 'BULK'"
    found = [count(local, what, where=where) for what in ("COUNT(*)", "COUNT(DISTINCT N)", "MAX(N)")]
    assert found == [ROWS, ROWS, ROWS - 1], found


def elastic(local, client):
    channel = client.get_elastic_channel()
    for n in range(ELASTIC_ROWS):
        channel.append_row({"channel": "ELASTIC", "n": n, "text": "y" * 300}, f"{n:08}")
    client.wait_for_flush(timeout_seconds=60)
    end = time.monotonic() + 60
    where = "WHERE CHANNEL = 'ELASTIC'"
    while (found := count(local, "COUNT(DISTINCT N)", where=where)) < ELASTIC_ROWS:
        assert time.monotonic() < end, f"{found} of {ELASTIC_ROWS} elastic rows"
        time.sleep(0.2)
    assert count(local, "COUNT(*)", where=where) == ELASTIC_ROWS


def speed(local, connect):
    """What three channels carry for some seconds, from the first append to the last commit; and what that costs the server, whose
    share of the machine it is that bounds it: the SDK turns rows into files on the same processors."""
    client = connect("SPEED")
    text = "".join(f"{n * 2654435761 % 4294967296:08x}" for n in range(120))
    rows = {}
    before = local.processor_seconds()
    start = time.monotonic()

    def run(name):
        channel, _ = client.open_channel(name)
        n = 0
        while time.monotonic() - start < SPEED_SECONDS:
            try:
                channel.append_row({"channel": name, "n": n, "text": text[n % 200 :] + str(n)}, offset_token=f"{n:08}")
            except Exception as failure:  # pylint: disable=broad-except
                # The SDK never blocks: it refuses a row while too much is under way.
                if "Saturated" not in str(failure) and "Memory" not in str(failure):
                    raise
                time.sleep(0.05)
                continue
            n += 1
        rows[name] = n
        committed(channel, f"{n - 1:08}")
        channel.close()

    together(run)
    seconds = time.monotonic() - start
    served = local.processor_seconds() - before
    client.close()
    total = sum(rows.values())
    assert count(local, "COUNT(*)", table="SDK.PUBLIC.SPEED") == total > 1000, rows
    size = count(local, "SUM(LENGTH(TEXT) + 40)", table="SDK.PUBLIC.SPEED")
    return (
        f"{size / seconds / len(NAMED) / MEGABYTE:.1f} MB/s in each of three channels ({total} rows in {seconds:.1f} s), "
        f"{1000 * served / (size / MEGABYTE):.1f} ms of the server's processor time for a MB"
    )


def main():
    folder = tempfile.mkdtemp(prefix="frazil-sdk-file-")
    # A rule that changes nothing counts the registrations.
    rules = pathlib.Path(folder, "faults.yaml")
    rules.write_text("rules:\n  - {service: snowflake, operation: register_files, fault: delay, delay: 1ms}\n", encoding="utf8")
    local = Local(
        f"{folder}/data", ["--table", "SDK.PUBLIC.EVENTS", "--table", "SDK.PUBLIC.SPEED", "--faults", rules]
    )
    a = local.addresses
    os.environ.update(SSL_CERT_FILE=a["certificate"], SS_LOG_LEVEL="error")
    from snowflake.ingest.streaming import StreamingIngestClient

    with open(a["privateKeyFile"], encoding="utf8") as key:
        private_key = key.read()
    properties = {"url": a["snowflakeTlsUrl"], "account": a["account"], "user": a["user"], "private_key": private_key}

    def connect(table):
        return StreamingIngestClient("conformance", "SDK", "PUBLIC", f"{table}-STREAMING", properties=properties)

    frazil("sql", "--data", local.data, "ALTER TABLE SDK.PUBLIC.EVENTS ADD COLUMN N NUMBER")
    client = connect("EVENTS")
    named(local, client)
    in_bulk(local, client)
    elastic(local, client)
    client.close()
    carried = speed(local, connect)
    local.stop()
    told = [line for line in local.log.read_text(encoding="utf8").splitlines() if "register_files" in line]
    files = max((int(number) for line in told for number in re.findall(r"\d+", line)), default=0)
    assert files >= 6, f"{files} registrations: file mode was not used"
    left = list((local.data / "stage").iterdir())
    assert not left, left
    print(
        f"ok: {6 * ROWS + 1} rows in three channels, {ROWS} in lists, {ELASTIC_ROWS} in the elastic one, {files} registrations of files by the SDK at its defaults; "
        f"{carried}"
    )


if __name__ == "__main__":
    sys.exit(main())
