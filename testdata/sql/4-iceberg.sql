-- Iceberg tables: one on a volume, as the connector's set-up page has it, and one that Snowflake keeps itself.
USE ROLE ACCOUNTADMIN;
USE SCHEMA kinesis_db.kinesis_schema;
GRANT USAGE ON EXTERNAL VOLUME kinesis_external_volume TO ROLE openflow_kinesis_connector_role_1;
CREATE OR REPLACE ICEBERG TABLE my_iceberg_table (
  kinesisMetadata OBJECT(stream STRING, shardId STRING, approximateArrival BIGINT,
                         partitionKey STRING, sequenceNumber STRING,
                         subSequenceNumber INTEGER, shardedSequenceNumber STRING),
  id INT, name STRING, body_temperature FLOAT,
  approved_coffee_types ARRAY(STRING), animals_possessed VARIANT,
  date_added DATE, options OBJECT(can_walk BOOLEAN, can_talk BOOLEAN)
)
EXTERNAL_VOLUME = 'my_volume' CATALOG = 'SNOWFLAKE'
BASE_LOCATION = 'my_location/my_iceberg_table' ICEBERG_VERSION = 3;
INSERT INTO my_iceberg_table
SELECT PARSE_JSON('{"stream": "s", "shardId": "shardId-000000000000", "approximateArrival": 1782092074893, "partitionKey": "k",
                    "sequenceNumber": "1", "subSequenceNumber": 0, "shardedSequenceNumber": "100000000000000000000"}'),
       1, 'Steve', 36.6, PARSE_JSON('["latte", "mocha"]'), PARSE_JSON('{"dogs": true, "cats": false}'), '2024-10-15',
       PARSE_JSON('{"can_walk": true, "can_talk": false}');
SELECT kinesisMetadata:shardId::STRING, approved_coffee_types[0]::STRING, animals_possessed:dogs::BOOLEAN, options:can_walk::BOOLEAN
  FROM my_iceberg_table WHERE date_added = '2024-10-15';
SHOW ICEBERG TABLES;
DESC ICEBERG TABLE my_iceberg_table;
ALTER ICEBERG TABLE my_iceberg_table SET ERROR_LOGGING = TRUE;
ALTER ICEBERG TABLE my_iceberg_table ADD COLUMN nickname STRING;
SELECT SYSTEM$GET_ICEBERG_TABLE_INFORMATION('my_iceberg_table');
SELECT GET_DDL('TABLE', 'my_iceberg_table');
TRUNCATE TABLE my_iceberg_table;
CREATE ICEBERG TABLE managed (id INT, paid_at TIMESTAMP_NTZ(6)) EXTERNAL_VOLUME = 'SNOWFLAKE_MANAGED' CATALOG = 'SNOWFLAKE' ICEBERG_VERSION = 3;
DROP ICEBERG TABLE managed;
GRANT OWNERSHIP ON TABLE my_iceberg_table TO ROLE openflow_kinesis_connector_role_1;
