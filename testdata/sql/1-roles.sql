-- A role and a service user for the connector, as a security administrator makes them.
USE ROLE ACCOUNTADMIN;
CREATE DATABASE IF NOT EXISTS kinesis_db;
CREATE SCHEMA IF NOT EXISTS kinesis_db.kinesis_schema;
USE ROLE securityadmin;
CREATE ROLE openflow_kinesis_connector_role_1;
CREATE USER openflow_kinesis_user TYPE = SERVICE DEFAULT_ROLE = openflow_kinesis_connector_role_1
  COMMENT = 'writes clicks';
GRANT ROLE openflow_kinesis_connector_role_1 TO USER openflow_kinesis_user;
GRANT USAGE ON DATABASE kinesis_db TO ROLE openflow_kinesis_connector_role_1;
USE DATABASE kinesis_db;
GRANT USAGE ON SCHEMA kinesis_schema TO ROLE openflow_kinesis_connector_role_1;
GRANT CREATE TABLE ON SCHEMA kinesis_schema TO ROLE openflow_kinesis_connector_role_1;
GRANT CREATE PIPE ON SCHEMA kinesis_schema TO ROLE openflow_kinesis_connector_role_1;
ALTER USER openflow_kinesis_user SET DEFAULT_ROLE = openflow_kinesis_connector_role_1;
SHOW GRANTS TO ROLE openflow_kinesis_connector_role_1;
SHOW GRANTS TO USER openflow_kinesis_user;
SHOW GRANTS OF ROLE openflow_kinesis_connector_role_1;
SHOW ROLES;
