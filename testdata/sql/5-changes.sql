-- What changes of tables that are there, what there is, and what there was.
USE ROLE ACCOUNTADMIN;
CREATE DATABASE IF NOT EXISTS changes_db;
USE DATABASE changes_db;
CREATE TABLE changes_db.public.readings (id NUMBER, city VARCHAR(10) NOT NULL, degrees NUMBER(4,1)) COMMENT = 'one a minute';
INSERT INTO changes_db.public.readings VALUES (1, 'Oslo', 3.5), (2, 'Bergen', 4.5);
ALTER TABLE changes_db.public.readings ADD COLUMN taken TIMESTAMP_NTZ, IF NOT EXISTS id NUMBER;
ALTER TABLE changes_db.public.readings RENAME COLUMN degrees TO celsius;
ALTER TABLE changes_db.public.readings ALTER COLUMN city SET DATA TYPE VARCHAR(40), COLUMN city DROP NOT NULL;
ALTER TABLE changes_db.public.readings DROP COLUMN taken;
ALTER TABLE changes_db.public.readings CLUSTER BY (city);
ALTER TABLE changes_db.public.readings SET DATA_RETENTION_TIME_IN_DAYS = 2 COMMENT = 'more';
ALTER SCHEMA changes_db.public SET ROW_TIMESTAMP_DEFAULT = TRUE;
SELECT SYSTEM$SET_ROW_TIMESTAMP_ON_ALL_SUPPORTED_TABLES('schema', 'changes_db.public');
SELECT METADATA$ROW_LAST_COMMIT_TIME FROM changes_db.public.readings;
SHOW COLUMNS IN TABLE changes_db.public.readings;
SELECT GET_DDL('TABLE', 'changes_db.public.readings');
SELECT table_name, row_count FROM changes_db.INFORMATION_SCHEMA.TABLES;
SELECT column_name, data_type, schema_evolution_record FROM changes_db.INFORMATION_SCHEMA.COLUMNS ORDER BY ordinal_position;
SELECT COUNT(*) FROM changes_db.public.readings AT(OFFSET => 0);
SELECT * FROM changes_db.public.readings AT(TIMESTAMP => CURRENT_TIMESTAMP());
TRUNCATE TABLE changes_db.public.readings;
CREATE INTERACTIVE TABLE changes_db.public.REALTIME_METRICS (
  metric_name VARCHAR, metric_value NUMBER, source_stream VARCHAR, approximate_arrival NUMBER
) CLUSTER BY (metric_name)
AS (SELECT $1:M_NAME::VARCHAR, $1:M_VALUE::NUMBER,
           $1:kinesisMetadata.stream::VARCHAR, $1:kinesisMetadata.approximateArrival::NUMBER
    FROM TABLE(DATA_SOURCE(TYPE => 'STREAMING')));
SHOW TABLES IN SCHEMA changes_db.public;
DROP DATABASE changes_db;
