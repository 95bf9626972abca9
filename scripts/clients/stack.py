"""Starts and asks the programs under test; shared by the scripts beside it. Needs only the standard library."""

import json
import os
import pathlib
import socket
import subprocess
import time
import urllib.error
import urllib.request

FRAZIL = os.environ.get("FRAZIL", "frazil")
# What the AWS clients of these scripts run with: nothing of the user's own.
FAKE_AWS = {
    "AWS_ACCESS_KEY_ID": "AKIDLOCAL",
    "AWS_SECRET_ACCESS_KEY": "local",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": "/dev/null",
    "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
}


def free_ports(count):
    """Ports that were free a moment ago."""
    sockets = [socket.socket() for _ in range(count)]
    for s in sockets:
        s.bind(("127.0.0.1", 0))
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def wait_for(what, check, seconds=60, every=0.05):
    """Polls until check() gives something true, and returns it; a bound, never a fixed sleep."""
    end = time.monotonic() + seconds
    while True:
        value = check()
        if value:
            return value
        if time.monotonic() > end:
            raise TimeoutError(f"waited {seconds} s for {what}")
        time.sleep(every)


def start(arguments, log, environment=None):
    """Starts a program whose output goes to the log file."""
    with open(log, "ab") as output:
        return subprocess.Popen(
            arguments,
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env={**os.environ, **FAKE_AWS, **(environment or {})},
        )


def frazil(*arguments, check=True):
    """Runs a verb to its end and returns its output."""
    done = subprocess.run([FRAZIL, *map(str, arguments)], capture_output=True, text=True, check=False)
    if check and done.returncode != 0:
        raise RuntimeError(f"frazil {' '.join(map(str, arguments))}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


class Local:
    """A `frazil local` over one data folder; may be killed and started again on the same ports."""

    def __init__(self, data, options=(), ports=None):
        self.data = pathlib.Path(data)
        self.data.parent.mkdir(parents=True, exist_ok=True)
        self.log = self.data.with_suffix(".log")
        self.ports = ports or free_ports(4)
        self.process = None
        self.start(options)

    def start(self, options=()):
        kinesis, dynamodb, snowflake, tls = self.ports
        arguments = [FRAZIL, "local", "--data", self.data, "--kinesis-port", kinesis, "--dynamodb-port", dynamodb]
        arguments += ["--snowflake-port", snowflake, "--snowflake-tls-port", tls, *options]
        addresses = self.data / "local.json"
        addresses.unlink(missing_ok=True)
        self.process = start(list(map(str, arguments)), self.log)

        def ready():
            if self.process.poll() is not None:
                raise RuntimeError(f"frazil local ended: {self.log.read_text()[-2000:]}")
            return addresses.exists() and json.loads(addresses.read_text())

        self.addresses = wait_for("frazil local", ready)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        self.process.terminate()
        self.process.wait(timeout=60)

    def processor_seconds(self):
        """Of the server so far, in itself and in the kernel (Linux: proc(5), /proc/pid/stat)."""
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text(encoding="utf8").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def sql(self, statement):
        return json.loads(frazil("sql", "--data", self.data, "--json", statement))


def state(address):
    """The worker's /api/v1/state, or None while it does not answer."""
    try:
        with urllib.request.urlopen(f"http://{address}/api/v1/state", timeout=2) as answer:
            return json.load(answer)
    except (OSError, urllib.error.URLError, ValueError):
        return None


def configuration(path, local, stream, table, console, kinesis=None, dynamodb=None, application="conformance", extra=""):
    """Writes a configuration that uses the local stack."""
    a = local.addresses
    database, schema, name = table.split(".")
    path.write_text(
        f"""connectors:
  - name: {application}
    source:
      stream: {stream}
      region: {a["region"]}
      application_name: {application}
      consumer_type: SHARED_THROUGHPUT
      initial_position: TRIM_HORIZON
      endpoint: {kinesis or a["kinesisUrl"]}
      dynamodb_endpoint: {dynamodb or a["dynamodbUrl"]}
      credentials: {{access_key_id: AKIDLOCAL, secret_access_key: local}}
    destination:
      account: {a["account"]}
      user: {a["user"]}
      private_key_file: {a["privateKeyFile"]}
      url: {a["snowflakeUrl"]}
      database: {database}
      schema: {schema}
      table: {name}
    leases: dynamodb
    dead_letters: {{file: {{path: {path.with_suffix('.letters')}}}}}
{extra}
http: {{listen: {console}}}
"""
    )
    return path
