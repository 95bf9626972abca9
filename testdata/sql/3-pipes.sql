-- Pipes of both shapes.
USE ROLE ACCOUNTADMIN;
USE SCHEMA kinesis_db.kinesis_schema;
CREATE OR REPLACE TABLE orders (
  order_id VARCHAR, customer_name VARCHAR, order_total VARCHAR, ispaid VARCHAR, stream VARCHAR, shard VARCHAR, sequence VARCHAR);
CREATE PIPE orders AS
COPY INTO orders (order_id, customer_name, order_total, ispaid)
FROM (SELECT $1:order_id::STRING, $1:customer_name, $1:order_total::STRING, $1:isPaid::STRING
      FROM TABLE(DATA_SOURCE(TYPE => 'STREAMING')));
CREATE OR REPLACE PIPE orders_with_metadata COMMENT = 'where each row comes from' AS
COPY INTO orders
FROM (SELECT $1:order_id::STRING, $1:customer_name, $1:order_total::STRING, $1:isPaid::STRING,
             $1:kinesisMetadata.stream::STRING, $1:kinesisMetadata.shardId::STRING, $1:kinesisMetadata.sequenceNumber::STRING
      FROM TABLE(DATA_SOURCE(TYPE => 'STREAMING')));
CREATE PIPE IF NOT EXISTS orders_by_name AS
COPY INTO orders FROM TABLE(DATA_SOURCE(TYPE => 'STREAMING')) MATCH_BY_COLUMN_NAME = CASE_SENSITIVE;
GRANT OPERATE ON PIPE orders TO ROLE openflow_kinesis_connector_role_1;
GRANT USAGE ON EXTERNAL VOLUME kinesis_external_volume TO ROLE openflow_kinesis_connector_role_1;
SHOW PIPES;
DESC PIPE orders;
SHOW CHANNELS IN TABLE orders;
SHOW GRANTS ON PIPE orders;
DROP PIPE orders_by_name;
