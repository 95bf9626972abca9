"""The official snowpipe-streaming SDK against `frazil local`: open, append 10,000 rows, commit, re-open, read the token back.

With PLAIN in the environment over plain HTTP, as the SDK's older versions are pointed at a server without TLS (1.4.0 is the one
that the conformance script tries so).
"""

import importlib.metadata
import json
import os
import sys
import tempfile

from stack import Local, wait_for

ROWS = 10_000


def main():
    folder = tempfile.mkdtemp(prefix="frazil-sdk-")
    local = Local(f"{folder}/data", ["--table", "SDK.PUBLIC.EVENTS"])
    a = local.addresses
    plain = bool(os.environ.get("PLAIN"))
    os.environ.update(SSL_CERT_FILE=a["certificate"], SS_LOG_LEVEL="error")
    from snowflake.ingest.streaming import StreamingIngestClient

    profile = {
        "url": a["snowflakeUrl"] if plain else a["snowflakeTlsUrl"],
        "account": a["account"],
        "user": a["user"],
        "private_key_file": a["privateKeyFile"],
    }
    if not plain:
        # Rows mode: batches of any size go to /rows (file mode needs the stage). Version 1.4.0 knows no other mode.
        profile.update(max_buffered_kb_for_rowset_mode="1000000", max_rowset_payload_size_mb="16")
    profile["private_key"] = open(profile.pop("private_key_file")).read()
    profile_file = f"{folder}/profile.json"
    with open(profile_file, "w", encoding="utf8") as out:
        json.dump(profile, out)

    client = StreamingIngestClient("conformance", "SDK", "PUBLIC", "EVENTS-STREAMING", profile_json=profile_file)
    channel, status = client.open_channel("ONE")
    assert status.latest_committed_offset_token is None, status
    for n in range(ROWS):
        channel.append_row({"n": n, "text": f"row {n} ü", "nested": {"a": [1, None, 2.5]}}, offset_token=f"{n:06}")
    last = f"{ROWS - 1:06}"
    channel.wait_for_commit(lambda token: token is not None and token >= last, timeout_seconds=120)
    channel.close()

    again, status = client.open_channel("ONE")
    assert status.latest_committed_offset_token == last, status.latest_committed_offset_token
    again.close()
    client.close()

    rows = local.sql("SELECT COUNT(*) AS ALL_ROWS, COUNT(DISTINCT N) AS DIFFERENT, MIN(N) AS LOW, MAX(N) AS HIGH FROM SDK.PUBLIC.EVENTS")
    found = [int(rows[0][k]) for k in ("ALL_ROWS", "DIFFERENT", "LOW", "HIGH")]
    assert found == [ROWS, ROWS, 0, ROWS - 1], found
    nested = local.sql("SELECT NESTED:a[2]::FLOAT AS X FROM SDK.PUBLIC.EVENTS LIMIT 1")
    assert float(nested[0]["X"]) == 2.5, nested
    local.stop()
    version = importlib.metadata.version("snowpipe-streaming") + (" over plain HTTP" if plain else "")
    print(f"ok: {ROWS} rows by the official SDK {version}, committed once, token {last} read back after re-open")


if __name__ == "__main__":
    sys.exit(main())
