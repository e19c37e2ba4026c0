-- Users of Postgres with the least rights. An administrator runs it once in the service's database, before the first
-- `ingestctl migrate`, which grants them what this version's tables need (shared/postgres/queries/rights.sql).
--
--     psql --dbname ingest --file postgres.sql
--
-- Passwords are not in it: `\password ingest_owner`. An installation that another role has migrated: `REASSIGN OWNED BY`.

-- Migrations, workers, sweepers, the console, `ingestctl`. It owns the tables: workers make and drop partitions, which
-- only an owner may.
CREATE ROLE ingest_owner LOGIN;
-- API processes: they read no item and no log entry, and write configurations alone.
CREATE ROLE ingest_api LOGIN;
-- `READ_DATABASE_URL`: what operators list; no credential and no signing secret.
CREATE ROLE ingest_read LOGIN;

REVOKE CREATE ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO ingest_owner, ingest_api, ingest_read;
GRANT CREATE ON SCHEMA public TO ingest_owner;
