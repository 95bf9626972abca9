"""Snowflake's own drivers against the local Snowflake: log in, set up, bind, query every type, as Arrow and as JSON, page, cancel,
read errors.

The connector is run over plain HTTP with a password and with a key pair; `snow` where SNOW names it.
"""

import base64
import datetime
import decimal
import os
import pathlib
import re
import subprocess
import sys
import tempfile

import snowflake.connector
from snowflake.connector import errors

import stack

CHECKED = []


def check(what, value, expected):
    if value != expected:
        raise AssertionError(f"{what}: {value!r} instead of {expected!r}")
    CHECKED.append(what)


def refused(what, codes, work):
    try:
        work()
    except errors.Error as error:
        number = f"{error.errno:06}"
        check(what, number if number in codes else f"{number} {error.msg}", number)
        return
    raise AssertionError(f"{what}: it was taken")


SCRIPTS = pathlib.Path(__file__).resolve().parents[2] / "testdata" / "sql"


def connect(local, **how):
    port = int(local.addresses["snowflakeUrl"].rsplit(":", 1)[1])
    return snowflake.connector.connect(
        host="127.0.0.1", port=port, protocol="http", account="local", database="DEMO", schema="PUBLIC",
        login_timeout=20, network_timeout=30, **how,
    )


def set_up(cursor, key):
    for statement in (
        "USE ROLE ACCOUNTADMIN",
        "CREATE DATABASE IF NOT EXISTS DEMO",
        "USE SCHEMA DEMO.PUBLIC",
        "CREATE OR REPLACE TABLE EVERY (N NUMBER(10,2), W INT AUTOINCREMENT, F FLOAT, B BOOLEAN, S VARCHAR, D DATE, T TIME, "
        "NTZ TIMESTAMP_NTZ, LTZ TIMESTAMP_LTZ, X BINARY, V VARIANT, O OBJECT, A ARRAY) ERROR_LOGGING = TRUE",
        "CREATE ROLE IF NOT EXISTS LOADER_ROLE",
        f"CREATE OR REPLACE USER LOADER TYPE = SERVICE DEFAULT_ROLE = LOADER_ROLE RSA_PUBLIC_KEY = '{key}'",
        "GRANT ROLE LOADER_ROLE TO USER LOADER",
    ):
        cursor.execute(statement)


def set_up_page(connection):
    """The scripts of the set-up page, whole."""
    count = 0
    for script in sorted(SCRIPTS.glob("*.sql")):
        count += len(list(connection.execute_string(script.read_text(), remove_comments=True)))
    check("set-up page", count >= 75, True)
    cursor = connection.cursor()
    cursor.execute("SHOW GRANTS TO ROLE OPENFLOW_KINESIS_CONNECTOR_ROLE_1")
    check("ownership", ("OWNERSHIP", "TABLE", "KINESIS_DB.KINESIS_SCHEMA.CLICKS") in [row[1:4] for row in cursor.fetchall()], True)
    refused("not the owner any more", ("002003",), lambda: cursor.execute("SELECT * FROM KINESIS_DB.KINESIS_SCHEMA.CLICKS"))


def loader(local, pkcs8, administrator):
    """A service user sees what its role was granted, and no more."""
    with connect(local, user="loader", authenticator="SNOWFLAKE_JWT", private_key=pkcs8) as connection:
        cursor = connection.cursor()
        check("default role", cursor.execute("SELECT CURRENT_ROLE()").fetchone(), ("LOADER_ROLE",))
        count = "SELECT COUNT(*) FROM DEMO.PUBLIC.EVERY"
        refused("no grant", ("002003",), lambda: cursor.execute(count))
        for grant in ("USAGE ON DATABASE DEMO", "USAGE ON SCHEMA DEMO.PUBLIC", "SELECT ON TABLE DEMO.PUBLIC.EVERY"):
            administrator.cursor().execute(f"GRANT {grant} TO ROLE LOADER_ROLE")
        check("key pair", cursor.execute(count).fetchone(), (1,))
        refused("no privilege", ("003001",), lambda: cursor.execute("DROP TABLE DEMO.PUBLIC.EVERY"))


def types(cursor):
    cursor.execute(
        "INSERT INTO EVERY (N, F, B, S, D, T, NTZ, LTZ, X, V, O, A) SELECT 1.50, 2.25, TRUE, 'it''s', '2026-11-24', '13:45:30.5', "
        "'2026-11-24T01:02:03.004', '2026-11-24T01:02:03Z', '00FF', PARSE_JSON('{\"k\":[1]}'), OBJECT_CONSTRUCT('a', 1), "
        "ARRAY_CONSTRUCT(1, 'x')"
    )
    check("rows inserted", cursor.rowcount, 1)
    cursor.execute("SELECT N, W, F, B, S, D, T, NTZ, LTZ, X, V, O, A FROM EVERY")
    utc = datetime.timezone.utc
    row = list(cursor.fetchone())
    row[8] = row[8].astimezone(utc)
    row[9] = bytes(row[9])
    row[10:] = [re.sub(r"\s", "", cell) for cell in row[10:]]
    check(
        "types",
        row,
        [
            decimal.Decimal("1.50"), 1, 2.25, True, "it's", datetime.date(2026, 11, 24), datetime.time(13, 45, 30, 500000),
            datetime.datetime(2026, 11, 24, 1, 2, 3, 4000), datetime.datetime(2026, 11, 24, 1, 2, 3, tzinfo=utc), b"\x00\xff",
            '{"k":[1]}', '{"a":1}', '[1,"x"]',
        ],
    )
    cursor.execute("SELECT NULL, FALSE, COUNT(*) FROM EVERY WHERE B")
    check("null and false", cursor.fetchone(), (None, False, 1))


def typed(cursor):
    """TIMESTAMP_TZ with its offset, DECFLOAT as Decimal, VECTOR as list."""
    cursor.execute("CREATE OR REPLACE TABLE TYPED (AT TIMESTAMP_TZ, D DECFLOAT, V VECTOR(FLOAT, 3), W VECTOR(INT, 2))")
    cursor.execute(
        "INSERT INTO TYPED SELECT '2026-11-24 10:00:00.5 +0530', '1.23e7002', [1.5, -2, 3]::VECTOR(FLOAT, 3), [1, 2]::VECTOR(INT, 2)"
    )
    at, *others = cursor.execute("SELECT AT, D, V, W FROM TYPED").fetchone()
    offset = datetime.timedelta(hours=5, minutes=30)
    check("moment with an offset", at, datetime.datetime(2026, 11, 24, 10, 0, 0, 500000, datetime.timezone(offset)))
    check("offset", at.utcoffset(), offset)
    check("decimal float and vectors", others, [decimal.Decimal("1.23e7002"), [1.5, -2.0, 3.0], [1, 2]])
    cursor.execute("SELECT AT, D, V, W FROM TYPED WHERE FALSE")
    check("no rows", cursor.fetchall(), [])


# A column of each type, what an Arrow table makes of it, and its values but for the last row, which is NULL.
COLUMNS = (
    ("N", "NUMBER(10,2)", "double", ("1.50", "-0.01", "99999999.99")),
    ("W", "INT", "int8", ("1", "-128", "127")),
    ("I", "INT", "int64", ("1", "-9223372036854775808", "9223372036854775807")),
    ("H", "NUMBER(38,0)", "decimal128(38, 0)", ("1", f"'-{'9' * 38}'", f"'{'9' * 38}'")),
    ("P", "NUMBER(38,5)", "decimal128(38, 5)", ("'0.00001'", f"'-{'9' * 33}.99999'", "'123456789012345678.5'")),
    ("F", "FLOAT", "double", ("2.25", "-1e300", "0.1")),
    ("B", "BOOLEAN", "bool", ("TRUE", "FALSE", "TRUE")),
    ("S", "VARCHAR", "string", ("'it''s'", "''", "'\u00fc\u2713'")),
    ("D", "DATE", "date32[day]", ("'2026-11-24'", "'1969-12-31'", "'1582-10-15'")),
    ("T", "TIME", "time64[us]", ("'13:45:30.5'", "'00:00:00'", "'23:59:59.999999'")),
    ("NTZ", "TIMESTAMP_NTZ", "timestamp[ns]",
     ("'2026-11-24T01:02:03.004'", "'1969-12-31T23:59:59.25'", "'1700-01-01T00:00:00.000001'")),
    ("LTZ", "TIMESTAMP_LTZ", "timestamp[ns, tz=UTC]",
     ("'2026-11-24T01:02:03Z'", "'1969-12-31T23:59:59.75Z'", "'2200-01-01T00:00:00.123456Z'")),
    ("TZ", "TIMESTAMP_TZ", "timestamp[ns, tz=UTC]",
     ("'2026-11-24 10:00:00.5 +0530'", "'1969-12-31 16:00:00.25 -0800'", "'2200-01-01 00:00:00 +1400'")),
    ("X", "BINARY", "binary", ("'00FF'", "''", "'7F'")),
    ("V", "VARIANT", "string", ("PARSE_JSON('{\"k\":[1]}')", "'text'", "TRUE")),
    ("O", "OBJECT", "string", ("OBJECT_CONSTRUCT('a', 1)", "PARSE_JSON('{}')", "OBJECT_CONSTRUCT('b', 'c')")),
    ("A", "ARRAY", "string", ("ARRAY_CONSTRUCT(1, 'x')", "PARSE_JSON('[]')", "ARRAY_CONSTRUCT(2)")),
    ("VF", "VECTOR(FLOAT, 3)", "fixed_size_list<element: float>[3]",
     ("[1.5, -2, 3]::VECTOR(FLOAT, 3)", "[0, 0, 0]::VECTOR(FLOAT, 3)", "[1e10, 1, 2]::VECTOR(FLOAT, 3)")),
    ("VI", "VECTOR(INT, 2)", "fixed_size_list<element: int32>[2]",
     ("[1, -2]::VECTOR(INT, 2)", "[0, 0]::VECTOR(INT, 2)", "[2147483647, 1]::VECTOR(INT, 2)")),
    # The table iterator of version 4 does not know this type (`CArrowTableIterator.cpp`), its rows do.
    ("DF", "DECFLOAT", None, ("'1.23e7002'", "'-0.5'", "'1200'")),
)


def agrees(expected, value):
    """Whether a value of a table or a data frame is that of a row."""
    if hasattr(value, "to_pydatetime"):
        value = value.to_pydatetime(warn=False)
    if hasattr(value, "tolist"):
        value = value.tolist()
    if expected is None:
        return value is None or value != value
    # A data frame has no NULL among whole numbers, and the connector makes a double of a number with a scale.
    if isinstance(value, float) and isinstance(expected, int | decimal.Decimal):
        expected = float(expected)
    return value == expected


def arrow(connection):
    """Rows, tables and data frames of Arrow against the rows of JSON, over each type."""
    cursor = connection.cursor()
    columns = ", ".join(f"{name} {kind}" for name, kind, _, _ in COLUMNS)
    cursor.execute(f"CREATE OR REPLACE TABLE ARROWS (ROW_NUMBER INT, {columns})")
    for number in range(3):
        values = ", ".join(f"{texts[number]} AS {name}" for name, _, _, texts in COLUMNS)
        cursor.execute(f"INSERT INTO ARROWS SELECT {number}, {values}")
    cursor.execute("INSERT INTO ARROWS (ROW_NUMBER) VALUES (3)")
    names = [name for name, _, _, _ in COLUMNS]
    tabular = [column for column in COLUMNS if column[2]]
    query = "SELECT {} FROM ARROWS WHERE ROW_NUMBER < {} ORDER BY ROW_NUMBER"
    all_rows = query.format(", ".join(names), 4)
    cursor.execute("ALTER SESSION SET PYTHON_CONNECTOR_QUERY_RESULT_FORMAT = 'JSON'")
    expected = cursor.execute(all_rows).fetchall()
    check("format where JSON is asked for", cursor._query_result_format, "json")
    cursor.execute("ALTER SESSION UNSET PYTHON_CONNECTOR_QUERY_RESULT_FORMAT")
    rows = cursor.execute(all_rows).fetchall()
    check("format of a query", cursor._query_result_format, "arrow")
    compared = 0
    for row, of_json in zip(rows, expected, strict=True):
        for name, value, of_json in zip(names, row, of_json, strict=True):
            if value != of_json or (type(value) is not type(of_json) and name != "X"):  # A bytearray, of version 4.
                raise AssertionError(f"{name}: {value!r} instead of {of_json!r}")
            compared += 1
    check("cells of Arrow that are those of JSON", compared, 4 * len(COLUMNS))
    cursor.execute("SHOW TABLES")
    check("format of SHOW", cursor._query_result_format, "json")
    cursor.execute(query.format(", ".join(names), 0))
    check("no rows of Arrow", cursor.fetchall(), [])

    query = query.format(", ".join(name for name, _, _, _ in tabular), "{}")
    table = cursor.execute(query.format(4)).fetch_arrow_all()
    check("types of a table", [str(field.type) for field in table.schema], [kind for _, _, kind, _ in tabular])
    frame = cursor.execute(query.format(4)).fetch_pandas_all()
    check("columns of a data frame", list(frame.columns), [name for name, _, _, _ in tabular])
    batches = list(cursor.execute(query.format(4)).fetch_arrow_batches())
    check("rows of batches", sum(batch.num_rows for batch in batches), 4)
    compared = 0
    for at, (name, _, _, _) in enumerate(tabular):
        of_table, of_frame = table.column(at).to_pylist(), list(frame[name])
        for number, row in enumerate(expected):
            for value in (of_table[number], of_frame[number]):
                if not agrees(row[at], value):
                    raise AssertionError(f"{name}, row {number}: {value!r} instead of {row[at]!r}")
                compared += 1
    check("cells of tables and data frames", compared, 2 * 4 * len(tabular))
    check("no table", cursor.execute(query.format(0)).fetch_arrow_all(), None)
    empty = cursor.execute(query.format(0)).fetch_pandas_all()
    check("empty data frame", (len(empty), len(empty.columns)), (0, len(tabular)))


def bindings(connection):
    cursor = connection.cursor()
    zone = datetime.timezone(datetime.timedelta(hours=-8))
    bound = datetime.datetime(2026, 11, 24, 10, 0, 0, 250000, zone)
    # Version 5 sends the moment in UTC.
    check("bound moment", cursor.execute("SELECT ?", (("TIMESTAMP_TZ", bound),)).fetchone(), (bound,))
    cursor.execute("CREATE OR REPLACE TABLE BOUND (I INT, S VARCHAR, D DATE, B BOOLEAN)")
    rows = [(n, f"row {n}", datetime.date(2026, 1, 1) + datetime.timedelta(n), n % 2 == 0) for n in range(500)]
    cursor.executemany("INSERT INTO BOUND (I, S, D, B) VALUES (?, ?, ?, ?)", rows)
    check("executemany", cursor.rowcount, 500)
    cursor.execute("SELECT I, S, D, B FROM BOUND WHERE I BETWEEN ? AND ? AND S <> ? ORDER BY I", (-5, 2, "it's"))
    check("bound values", cursor.fetchall(), rows[:3])
    cursor.execute("SELECT I FROM BOUND ORDER BY I")
    check("pages", sum(len(page) for page in iter(lambda: cursor.fetchmany(77), [])), 500)


def statements(connection):
    cursor = connection.cursor()
    cursor.execute("SELECT CURRENT_USER(), CURRENT_ROLE(), CURRENT_DATABASE(), CURRENT_SCHEMA()")
    check("session", cursor.fetchone(), ("ADA", "ACCOUNTADMIN", "DEMO", "PUBLIC"))
    refused("missing table", ("002003",), lambda: cursor.execute("SELECT * FROM NOWHERE"))
    refused("syntax", ("001003",), lambda: cursor.execute("SELEC 1"))
    refused("value", ("100038",), lambda: cursor.execute("INSERT INTO EVERY (N) VALUES ('many')"))
    cursor.execute_async("SELECT COUNT(*) FROM BOUND")
    query = cursor.sfqid
    stack.wait_for("the query", lambda: not connection.is_still_running(connection.get_query_status(query)))
    cursor.get_results_from_sfqid(query)
    check("asynchronous", cursor.fetchone(), (500,))
    connection.commit()
    if int(snowflake.connector.__version__.split(".")[0]) >= 5:
        return  # It has no timeout of a statement that cancels it.
    endless = "SELECT COUNT(*) FROM BOUND A, BOUND B, BOUND C WHERE MOD(A.I * B.I + C.I, 7) = 3 AND A.I * B.I * C.I > 1"
    refused("timeout cancels", ("000604",), lambda: cursor.execute(endless, timeout=2))
    check("goes on", cursor.execute("SELECT 1").fetchone(), (1,))


def snow(local):
    port = int(local.addresses["snowflakeUrl"].rsplit(":", 1)[1])
    with tempfile.TemporaryDirectory(prefix="frazil-snow-") as home:
        configuration = pathlib.Path(home) / "config.toml"
        configuration.write_text(
            '[connections.local]\naccount = "local"\nhost = "127.0.0.1"\n'
            f'port = {port}\nprotocol = "http"\nuser = "ADA"\npassword = "rehearsal"\ndatabase = "DEMO"\nschema = "PUBLIC"\n'
            "[cli.logs]\nsave_logs = false\n"
        )
        configuration.chmod(0o600)

        def run(*arguments):
            command = [os.environ["SNOW"], "--config-file", str(configuration), *arguments]
            environment = {**os.environ, "HOME": home, "SNOWFLAKE_HOME": home}
            done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=120)
            if done.returncode != 0:
                raise AssertionError(f"snow {' '.join(arguments)}: exit {done.returncode}\n{done.stdout}{done.stderr}")
            return done.stdout

        import json

        check("snow connection test", json.loads(run("connection", "test", "-c", "local", "--format", "json"))["Status"], "OK")
        query = "CREATE OR REPLACE TABLE S (A INT); INSERT INTO S VALUES (1), (2); SELECT SUM(A) AS TOTAL FROM S"
        answers = json.loads(run("sql", "-c", "local", "-q", query, "--format", "json"))
        check("snow sql", answers[-1], [{"TOTAL": 3}])


def main():
    with tempfile.TemporaryDirectory(prefix="frazil-drivers-") as folder:
        folder = pathlib.Path(folder)
        local = stack.Local(folder / "local")
        try:
            subprocess.run(["openssl", "genrsa", "-out", folder / "k.pem", "2048"], check=True, capture_output=True)
            public = subprocess.run(["openssl", "rsa", "-in", folder / "k.pem", "-pubout"], check=True, capture_output=True, text=True).stdout
            pkcs8 = subprocess.run(
                ["openssl", "pkcs8", "-topk8", "-nocrypt", "-in", folder / "k.pem", "-outform", "DER"], check=True, capture_output=True
            ).stdout
            key = "".join(line for line in public.splitlines() if not line.startswith("-"))
            base64.b64decode(key)
            local.sql("CREATE USER ADA PASSWORD = 'rehearsal' DEFAULT_ROLE = ACCOUNTADMIN")
            refused("role of a stranger", ("390186", "250001"), lambda: connect(local, user="ada", password="rehearsal", role="ACCOUNTADMIN"))
            local.sql("GRANT ROLE ACCOUNTADMIN TO USER ADA")
            # The connector of version 4 has a number of its own for it.
            refused("wrong password", ("390100", "250001"), lambda: connect(local, user="ada", password="wrong"))
            with connect(local, user="ada", password="rehearsal") as connection:
                set_up(connection.cursor(), key)
                types(connection.cursor())
                typed(connection.cursor())
                arrow(connection)
                cursor = connection.cursor()
                cursor.execute("SELECT B FROM EVERY WHERE S = %s AND N > %s", ("it's", -1))
                check("values put in by the client", cursor.fetchone(), (True,))
                with connect(local, user="ada", password="rehearsal", paramstyle="qmark") as binding:
                    bindings(binding)
                statements(connection)
                loader(local, pkcs8, connection)
                set_up_page(connection)
            if os.environ.get("SNOW"):
                snow(local)
            print(f"{len(CHECKED)} things seen with snowflake-connector-python {snowflake.connector.__version__}: {', '.join(CHECKED)}")
        finally:
            local.stop()


if __name__ == "__main__":
    sys.exit(main())
