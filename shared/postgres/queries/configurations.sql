-- Configurations of connectors.

-- name: select_configuration
-- Returns a connector with its published and its managed configuration; null for one that it does not have.
SELECT connector_id, name, published, managed
FROM connectors
LEFT JOIN connector_configurations USING (connector_id)
WHERE connector_id = %(connector_id)s;

-- name: select_versioned_configuration
-- The same for operators, with the version of the managed one.
SELECT connector_id, name, published, managed, coalesce((
    SELECT max(version) FROM configuration_versions AS versions WHERE versions.connector_id = connectors.connector_id
), 0) AS version
FROM connectors
LEFT JOIN connector_configurations USING (connector_id)
WHERE connector_id = %(connector_id)s;

-- name: publish_configuration
-- Stores the configuration that a connector published; the managed one stays.
INSERT INTO connector_configurations (connector_id, published)
VALUES (%(connector_id)s, %(configuration)s)
ON CONFLICT (connector_id) DO UPDATE SET published = excluded.published;

-- name: manage_configuration
-- Stores the configuration that operators manage; null: the published one counts again.
INSERT INTO connector_configurations (connector_id, managed)
VALUES (%(connector_id)s, %(configuration)s)
ON CONFLICT (connector_id) DO UPDATE SET managed = excluded.managed;

-- name: lock_configuration
-- Lets changes of a connector's configuration wait for each other.
SELECT connector_id FROM connectors WHERE connector_id = %(connector_id)s FOR NO KEY UPDATE;

-- name: insert_configuration_version
-- Adds a version of the managed configuration.
INSERT INTO configuration_versions (connector_id, version, managed, actor)
SELECT %(connector_id)s, coalesce(max(version), 0) + 1, %(configuration)s, %(actor)s
FROM configuration_versions
WHERE connector_id = %(connector_id)s
RETURNING version;

-- name: select_configuration_versions
-- The newest versions of a managed configuration, below a version, without their texts.
SELECT version, set_at, actor, octet_length(managed) AS bytes
FROM configuration_versions
WHERE connector_id = %(connector_id)s AND (%(before)s::integer IS NULL OR version < %(before)s)
ORDER BY version DESC
LIMIT %(limit)s;

-- name: select_configuration_version
-- Returns the text of one version.
SELECT managed FROM configuration_versions WHERE connector_id = %(connector_id)s AND version = %(version)s;
