-- Users of Postgres with the least rights. An administrator runs it in the service's database, before the first
-- `ingestctl migrate` and after each one that applies something: it grants what exists, and may run any number of times.
--
--     psql --dbname ingest --file postgres.sql
--
-- Passwords are not in it: `\password ingest_owner`. An installation that another role has migrated: `REASSIGN OWNED BY`.

DO $$
DECLARE
    wanted record;
BEGIN
    FOR wanted IN SELECT * FROM (VALUES
        -- Migrations, workers, sweepers, `ingestctl`. Workers make and drop partitions, which only a table's owner may.
        ('ingest_owner'),
        -- API processes: they read no item and no log entry, and write configurations alone.
        ('ingest_api'),
        -- `READ_DATABASE_URL`: what operators read; no credential and no signing secret.
        ('ingest_read')
    ) AS roles (name) WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name)
    LOOP
        EXECUTE format('CREATE ROLE %I LOGIN', wanted.name);
    END LOOP;

    REVOKE CREATE ON SCHEMA public FROM PUBLIC;
    GRANT USAGE ON SCHEMA public TO ingest_owner, ingest_api, ingest_read;
    GRANT CREATE ON SCHEMA public TO ingest_owner;

    FOR wanted IN SELECT * FROM (VALUES
        ('ingest_api', 'SELECT', 'lanes'),
        ('ingest_api', 'SELECT', 'connectors'),
        -- A row can be locked by a role that may update a column of it. This one decides nothing.
        ('ingest_api', 'UPDATE (created_at)', 'connectors'),
        ('ingest_api', 'SELECT', 'credentials'),
        ('ingest_api', 'SELECT', 'credential_revisions'),
        ('ingest_api', 'SELECT', 'hooks'),
        ('ingest_api', 'SELECT', 'hook_secrets'),
        ('ingest_api', 'SELECT, INSERT, UPDATE', 'connector_configurations'),
        ('ingest_api', 'SELECT', 'receipts'),
        ('ingest_api', 'SELECT (connector_id, version, meta, received, died_at, reason, detail)', 'dead_letters'),
        ('ingest_read', 'SELECT', 'lanes'),
        ('ingest_read', 'SELECT', 'connectors'),
        ('ingest_read', 'SELECT (connector_id, key_id, created_at)', 'credentials'),
        ('ingest_read', 'SELECT', 'connector_liveness'),
        ('ingest_read', 'SELECT', 'items'),
        ('ingest_read', 'SELECT', 'connector_logs'),
        ('ingest_read', 'SELECT', 'receipts'),
        ('ingest_read', 'SELECT', 'dead_letters'),
        ('ingest_read', 'SELECT', 'traffic_minutes'),
        ('ingest_read', 'SELECT', 'traffic_hours'),
        ('ingest_read', 'SELECT', 'refusals')
    ) AS rights (role, what, name) WHERE to_regclass('public.' || name) IS NOT NULL
    LOOP
        EXECUTE format('GRANT %s ON public.%I TO %I', wanted.what, wanted.name, wanted.role);
    END LOOP;
END $$;
