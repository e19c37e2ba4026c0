-- How each transaction of ours begins. A role, a database, the environment, a pooler's other clients may have set
-- anything for the session; what we rely on is set for the transaction, and ends with it.

-- name: begin
-- Begins a transaction. Read-only is the one default that is respected: operators freeze a server or a database by it.
BEGIN ISOLATION LEVEL READ COMMITTED NOT DEFERRABLE;

-- name: set_session
-- Sets what we rely on, then `more`; a parameter that this server does not know is left out. Returns whether the
-- transaction is read-only: on a standby, or by default.
SELECT count(set_config(name, value, true)) AS settings, current_setting('transaction_read_only')::boolean AS read_only
FROM (VALUES
    -- An entry leaves Redis once its effects are committed, so a commit must be on disk. One that waits for more stays.
    ('synchronous_commit', CASE current_setting('synchronous_commit') WHEN 'remote_apply' THEN 'remote_apply' ELSE 'on' END),
    -- Text, times and numbers as psycopg and our statements read and write them.
    ('client_encoding', 'UTF8'), ('standard_conforming_strings', 'on'), ('DateStyle', 'ISO'), ('TimeZone', 'UTC'),
    ('IntervalStyle', 'postgres'), ('bytea_output', 'hex'), ('extra_float_digits', '1'), ('array_nulls', 'on'),
    ('transform_null_equals', 'off'),
    -- An error must be told as what it is, not end the session.
    ('exit_on_error', 'off'),
    -- Rows that a policy hides are an error, not missing in silence.
    ('row_security', 'off'),
    -- Our statements are short and look rows up by their keys.
    ('enable_nestloop', 'on'), ('enable_indexscan', 'on'), ('enable_partition_pruning', 'on'),
    ('plan_cache_mode', 'auto'), ('jit', 'off'),
    -- Its clock starts when it is set to more than 0 after a 0.
    ('transaction_timeout', '0'), {more}
) AS wanted (name, value)
WHERE current_setting(name, true) IS NOT NULL;

-- name: select_search_path
-- Returns the search_path with which sessions of this role begin, whatever a pooler's other clients have set since.
SELECT reset_val AS search_path FROM pg_settings WHERE name = 'search_path';

-- name: select_age
-- Returns whether this is a standby, and the seconds since the last transaction that it has replayed was committed. They
-- are more than it is behind if nothing was written since.
SELECT pg_is_in_recovery() AS is_standby,
       greatest(0, extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp()))::float8 AS seconds;

-- name: select_server_settings
-- Returns the settings that decide whether the server keeps what it committed.
SELECT current_setting('server_version_num')::int AS version, current_setting('fsync') AS fsync,
       current_setting('full_page_writes') AS full_page_writes;
