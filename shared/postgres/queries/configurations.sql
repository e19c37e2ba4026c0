-- Configurations of connectors.

-- name: select_configuration
-- Returns a connector with its published and its managed configuration; null for one that it does not have.
SELECT connector_id, name, published, managed
FROM connectors
LEFT JOIN connector_configurations USING (connector_id)
WHERE connector_id = %(connector_id)s;

-- name: publish_configuration
-- Stores the configuration that a connector published; the managed one stays.
INSERT INTO connector_configurations (connector_id, published)
VALUES (%(connector_id)s, %(configuration)s)
ON CONFLICT (connector_id) DO UPDATE SET published = excluded.published;

-- name: manage_configuration
-- Stores the configuration that operators manage.
INSERT INTO connector_configurations (connector_id, managed)
VALUES (%(connector_id)s, %(configuration)s)
ON CONFLICT (connector_id) DO UPDATE SET managed = excluded.managed;

-- name: clear_managed_configuration
-- Removes the managed configuration; the published one counts again.
UPDATE connector_configurations SET managed = NULL WHERE connector_id = %(connector_id)s;
