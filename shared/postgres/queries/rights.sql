-- Rights of the roles that deploy/users/postgres.sql makes, on the tables of this version.

-- name: select_grants
-- Selects the statements that grant each role what its processes use; none for a role that does not exist.
-- tables: those to which kinds of submissions append rows, which operators list.
SELECT format('GRANT %%s ON %%I TO %%I', what, name, role) AS statement
FROM (
    VALUES
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
        ('ingest_read', 'SELECT', 'receipts'),
        ('ingest_read', 'SELECT', 'dead_letters'),
        ('ingest_read', 'SELECT', 'traffic_minutes'),
        ('ingest_read', 'SELECT', 'traffic_hours'),
        ('ingest_read', 'SELECT', 'refusals')
    UNION ALL
    SELECT 'ingest_read', 'SELECT', unnest(%(tables)s::text[])
) AS rights (role, what, name)
WHERE EXISTS (SELECT FROM pg_roles WHERE rolname = role);
