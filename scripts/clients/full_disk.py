"""A connector whose Snowflake's disk fills up: appends are refused, nothing is lost, and all goes on when there is room.

The local Snowflake keeps its data on a small file system of its own (the first argument). A file takes nearly all of its room; then
events flow. Once appends are refused for lack of room, and while rows stand still, more events come; then the file goes away. In the
end each event is in the table once. Refusals are counted in the server's log, or nothing was tried.
"""

import os
import pathlib
import subprocess
import sys
import tempfile

from stack import FRAZIL, Local, configuration, frazil, free_ports, start, state, wait_for

EVENTS = pathlib.Path(__file__).resolve().parents[2] / "testdata" / "earthquakes.ndjson"
# What is left beside the file.
ROOM = 600_000
REFUSALS = 3


def main():
    small = pathlib.Path(sys.argv[1])
    folder = pathlib.Path(tempfile.mkdtemp(prefix="frazil-full-disk-"))
    kinesis = Local(folder / "kinesis", ["--stream", "s=2"])
    snowflake = Local(small / "snowflake", ["--table", "D.PUBLIC.T"])
    (port,) = free_ports(1)
    console = f"127.0.0.1:{port}"
    sides = {"kinesis": kinesis.addresses["kinesisUrl"], "dynamodb": kinesis.addresses["dynamodbUrl"]}
    config = configuration(folder / "run.yaml", snowflake, "s", "D.PUBLIC.T", console, **sides)
    worker = start([FRAZIL, "run", "-c", str(config)], folder / "run.log")
    lines = sum(1 for line in EVENTS.read_text(encoding="utf8").splitlines() if line.strip())
    receipts = []

    def send(times):
        receipts.append(folder / f"receipts-{len(receipts)}.ndjson")
        options = ["--stream", "s", "--local", kinesis.addresses["kinesisUrl"], "--repeat", times]
        frazil("send", EVENTS, *options, "--receipts", receipts[-1])
        return times * lines

    def rows():
        return int(snowflake.sql("SELECT COUNT(*) AS C FROM D.PUBLIC.T")[0]["C"])

    def refusals():
        return snowflake.log.read_text(encoding="utf8").count("disk is full")

    sent = send(1)
    wait_for("the first rows", lambda: rows() == sent)
    ballast = small / "ballast"
    with open(ballast, "wb") as out:
        disk = os.statvfs(small)
        out.write(bytes(max(0, disk.f_bavail * disk.f_frsize - ROOM)))
    sent += send(20)
    wait_for("appends that are refused", lambda: refusals() >= REFUSALS, seconds=120)
    sent += send(1)
    assert worker.poll() is None, "the worker ended"
    assert state(console), "the worker answers no more"
    ballast.unlink()
    wait_for("all rows", lambda: rows() >= sent, seconds=180, every=0.5)
    worker.terminate()
    ended = worker.wait(timeout=90)
    assert ended == 0, f"the worker ended with {ended}"
    every = folder / "receipts.ndjson"
    every.write_text("".join(path.read_text(encoding="utf8") for path in receipts), encoding="utf8")
    told = subprocess.run([FRAZIL, "verify", str(every), "-c", str(config)], capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stdout + told.stderr
    assert rows() == sent, (rows(), sent)
    refused = refusals()
    kinesis.stop()
    snowflake.stop()
    print(f"ok: {sent} events through a full disk, {refused} requests refused for lack of room, each event there once")


if __name__ == "__main__":
    sys.exit(main())
