-- Destination tables: one that evolves and logs errors, one with a static schema, and who may do what with them.
USE ROLE ACCOUNTADMIN;
USE SCHEMA kinesis_db.kinesis_schema;
CREATE TABLE kinesis_db.kinesis_schema.clicks (
  kinesisMetadata OBJECT
) ENABLE_SCHEMA_EVOLUTION = TRUE ERROR_LOGGING = TRUE;
CREATE OR REPLACE TABLE orders (
  kinesisMetadata OBJECT, order_id NUMBER NOT NULL, customer_name VARCHAR DEFAULT 'nobody', order_total FLOAT, ispaid BOOLEAN,
  line NUMBER AUTOINCREMENT
) CLUSTER BY (order_id);
ALTER TABLE orders SET ENABLE_SCHEMA_EVOLUTION = TRUE;
ALTER TABLE orders SET ENABLE_SCHEMA_EVOLUTION = FALSE;
ALTER TABLE orders SET ERROR_LOGGING = TRUE;
ALTER TABLE orders SET ROW_TIMESTAMP = TRUE;
SHOW TABLES LIKE 'ORDERS';
DESC TABLE orders;
SELECT t.*, METADATA$ROW_LAST_COMMIT_TIME FROM orders t;
SELECT * FROM ERROR_TABLE(orders);
SELECT error_code, error_metadata:error_message::STRING, error_data:"$1"
  FROM ERROR_TABLE(orders) WHERE timestamp > DATEADD(hour, -1, CURRENT_TIMESTAMP());
TRUNCATE TABLE IF EXISTS ERROR_TABLE(orders);
GRANT SELECT ERROR TABLE ON TABLE orders TO ROLE SYSADMIN;
GRANT SELECT, INSERT ON TABLE orders TO ROLE openflow_kinesis_connector_role_1;
GRANT EVOLVE SCHEMA ON TABLE orders TO ROLE openflow_kinesis_connector_role_1;
SHOW GRANTS ON TABLE orders;
GRANT OWNERSHIP ON TABLE kinesis_db.kinesis_schema.clicks TO ROLE openflow_kinesis_connector_role_1;
INSERT INTO orders (order_id, customer_name) VALUES (1, 'Steve'), (2, NULL);
CREATE TABLE paid AS SELECT order_id, customer_name FROM orders;
