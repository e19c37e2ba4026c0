-- Rights of the roles that deploy/users/postgres.sql makes, on the tables of this version.

-- name: grant_rights
-- Grants each role what its processes use; nothing to a role that does not exist.
DO $$
DECLARE
    wanted record;
BEGIN
    FOR wanted IN SELECT * FROM (VALUES
        ('ingest_api', 'SELECT', 'lanes'),
        -- A row can be locked by a role that may update a column of it. This one decides nothing.
        ('ingest_api', 'SELECT, UPDATE (created_at)', 'connectors'),
        ('ingest_api', 'SELECT', 'credentials'),
        ('ingest_api', 'SELECT', 'credential_revisions'),
        ('ingest_api', 'SELECT', 'hooks'),
        ('ingest_api', 'SELECT', 'hook_secrets'),
        ('ingest_api', 'SELECT, INSERT, UPDATE', 'connector_configurations'),
        ('ingest_api', 'SELECT', 'receipts'),
        ('ingest_api', 'SELECT (connector_id, lane, version, meta, received, died_at, reason, detail)', 'dead_letters'),
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
    ) AS rights (role, what, name) WHERE EXISTS (SELECT FROM pg_roles WHERE rolname = role)
    LOOP
        EXECUTE format('GRANT %s ON %I TO %I', wanted.what, wanted.name, wanted.role);
    END LOOP;
END $$;
