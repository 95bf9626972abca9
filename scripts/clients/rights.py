"""Kinesis and DynamoDB of PyPI ministack, which checks signatures and IAM policies, under the policies of docs/iam.

Everything works under them: polling, fan-out, `frazil remove`, a takeover; so nothing else is asked for. Then each action is taken
away in turn: the connector names it, loses nothing, and goes on when it is given back; so nothing in them is idle. And a wrong
secret is told as that.
"""

import json
import pathlib
import sys
import tempfile

import boto3
from stack import FRAZIL, Local, configuration, frazil, free_ports, start, wait_for

RECORDS = 100
POLICIES = pathlib.Path(__file__).resolve().parent.parent.parent / "docs/iam"
# Kinesis knows the stream of an iterator and of a consumer; ministack does not.
WITHOUT_STREAM = {"kinesis:GetRecords", "kinesis:SubscribeToShard"}
FAN_OUT = ["kinesis:RegisterStreamConsumer", "kinesis:DescribeStreamConsumer", "kinesis:SubscribeToShard"]
REMOVE = "kinesis:DeregisterStreamConsumer"
# A takeover's own, shown by a takeover and not one by one.
TAKEOVER = {"dynamodb:DeleteTable", "dynamodb:Scan"}


def policy(file, application, without=None):
    """The file's text for an application, without an action."""
    text = (POLICIES / file).read_text()
    values = {"Region": "us-east-1", "Account": "000000000000", "Stream": "clicks", "Application": application}
    for name, value in values.items():
        text = text.replace("${" + name + "}", value)
    document = json.loads(text)
    for statement in list(document["Statement"]):
        statement["Action"] = [action for action in statement["Action"] if action != without]
        for action in WITHOUT_STREAM.intersection(statement["Action"]):
            statement["Action"].remove(action)
            document["Statement"].append({"Effect": "Allow", "Action": [action], "Resource": "*"})
    document["Statement"] = [statement for statement in document["Statement"] if statement["Action"]]
    return json.dumps(document)


def actions(file):
    return {action for statement in json.loads((POLICIES / file).read_text())["Statement"] for action in statement["Action"]}


class Account:
    """ministack with a user who may do what a policy says."""

    def __init__(self, folder):
        (self.port,) = free_ports(1)
        ministack = pathlib.Path(sys.executable).with_name("ministack")
        environment = {"BIND_HOST": "127.0.0.1", "GATEWAY_PORT": str(self.port), "AUTH": "true"}
        # Its owner's own key, which may do everything.
        environment |= {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
        self.server = start([str(ministack)], folder / "ministack.log", environment)
        self.url = f"http://127.0.0.1:{self.port}"
        self.iam, self.kinesis, self.dynamodb = (self.owner(service) for service in ("iam", "kinesis", "dynamodb"))

        def answers():
            try:
                return self.iam.list_users() is not None
            except Exception:  # not up yet
                return False

        wait_for("ministack", answers)
        self.iam.create_user(UserName="frazil")
        self.key = self.iam.create_access_key(UserName="frazil")["AccessKey"]
        self.kinesis.create_stream(StreamName="clicks", ShardCount=1)
        describe = lambda: self.kinesis.describe_stream(StreamName="clicks")["StreamDescription"]["StreamStatus"]
        wait_for("the stream", lambda: describe() == "ACTIVE")
        for n in range(RECORDS):
            self.kinesis.put_record(StreamName="clicks", Data=json.dumps({"n": n}).encode(), PartitionKey="k")

    def owner(self, service):
        return boto3.client(
            service, endpoint_url=self.url, region_name="us-east-1", aws_access_key_id="test", aws_secret_access_key="test"
        )

    def give(self, document):
        self.iam.put_user_policy(UserName="frazil", PolicyName="p", PolicyDocument=document)


class Trial:
    """One application with a table of its own."""

    def __init__(self, folder, local, account, name, secret=None, fan_out=False):
        self.local, self.table, self.application = local, f"RIGHTS.PUBLIC.{name}", f"rights-{name}"
        local.sql(f"CREATE TABLE {self.table} (N INT)")
        self.config = configuration(
            folder / f"{name}.yaml", local, "clicks", self.table, f"127.0.0.1:{free_ports(1)[0]}",
            kinesis=account.url, dynamodb=account.url, application=self.application,
        )
        keys = f"access_key_id: {account.key['AccessKeyId']}, secret_access_key: {secret or account.key['SecretAccessKey']}"
        text = self.config.read_text().replace("access_key_id: AKIDLOCAL, secret_access_key: local", keys)
        self.config.write_text(text.replace("SHARED_THROUGHPUT", "ENHANCED_FAN_OUT") if fan_out else text)
        self.log = folder / f"{name}.log"
        self.worker = None

    def run(self):
        """Starts the connector, again where it was refused for good."""
        if self.worker is None or self.worker.poll() is not None:
            self.worker = start([FRAZIL, "run", "-c", str(self.config)], self.log)

    def says(self, what):
        wait_for(f"{what} in {self.log}", lambda: what in self.log.read_text(), seconds=90)

    def rows(self):
        return int(self.local.sql(f"SELECT COUNT(*) AS C FROM {self.table}")[0]["C"])

    def finishes(self):
        """All rows come; where the connector had ended for good, its operator starts it again."""

        def there():
            self.run()
            return self.rows() == RECORDS

        wait_for(f"the rows of {self.application}", there, seconds=90, every=0.3)
        self.worker.terminate()
        code = self.worker.wait(timeout=90)
        assert code == 0 and self.rows() == RECORDS, (code, self.rows(), self.log.read_text()[-2000:])


def takeover(folder, local, account):
    """A table of the client library, checkpointed at its beginning, becomes ours under the same name."""
    trial = Trial(folder, local, account, "TAKEOVER")
    account.dynamodb.create_table(
        TableName=trial.application,
        KeySchema=[{"AttributeName": "leaseKey", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "leaseKey", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    row = {"leaseKey": {"S": "shardId-000000000000"}, "checkpoint": {"S": "TRIM_HORIZON"}, "leaseCounter": {"N": "7"}}
    account.dynamodb.put_item(TableName=trial.application, Item=row)
    account.give(policy("policy-with-takeover.json", trial.application))
    frazil("migrate", "-c", trial.config)
    trial.run()
    trial.finishes()


def main():
    folder = pathlib.Path(tempfile.mkdtemp(prefix="frazil-rights-"))
    account, local = Account(folder), Local(folder / "data")
    local.sql("CREATE DATABASE RIGHTS")

    wrong = Trial(folder, local, account, "WRONG", secret="not-the-secret-canary")
    account.give(policy("policy.json", wrong.application))
    wrong.run()
    wrong.says("Signature")
    assert wrong.rows() == 0 and "canary" not in wrong.log.read_text()
    wrong.worker.terminate()
    wrong.worker.wait(timeout=90)

    refused = set()
    polling = sorted(actions("policy.json") - set(FAN_OUT) - {REMOVE})
    for number, missing in enumerate([*polling, *FAN_OUT]):
        trial = Trial(folder, local, account, f"T{number}", fan_out=missing in FAN_OUT)
        account.give(policy("policy.json", trial.application, without=missing))
        trial.run()
        trial.says(missing)
        account.give(policy("policy.json", trial.application))
        trial.finishes()
        refused.add(missing)
        if missing == FAN_OUT[-1]:
            account.give(policy("policy.json", trial.application, without=REMOVE))
            try:
                frazil("remove", "-c", trial.config)
            except RuntimeError as error:
                assert "DeregisterStreamConsumer" in str(error), error
                refused.add(REMOVE)
            account.give(policy("policy.json", trial.application))
            frazil("remove", "-c", trial.config)
    assert refused == actions("policy.json"), actions("policy.json") - refused
    assert actions("policy-with-takeover.json") == refused | TAKEOVER
    takeover(folder, local, account)
    local.stop()
    account.server.kill()
    account.server.wait()
    print(f"ok: a wrong secret and {len(refused)} missing rights were named; {RECORDS} rows each, once, when they were given; a takeover")


if __name__ == "__main__":
    sys.exit(main())
