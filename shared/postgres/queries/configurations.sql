-- The configurations of connectors.

-- name: select_configuration
-- A connector with what was published and what is managed; both null where there is neither.
SELECT connector_id, name, published, managed
FROM connectors
LEFT JOIN connector_configurations USING (connector_id)
WHERE connector_id = %(connector_id)s;

-- name: publish_configuration
-- Stores what a connector published, never touching what operators manage.
INSERT INTO connector_configurations (connector_id, published)
VALUES (%(connector_id)s, %(configuration)s)
ON CONFLICT (connector_id) DO UPDATE SET published = excluded.published;

-- name: manage_configuration
-- Stores what operators manage.
INSERT INTO connector_configurations (connector_id, managed)
VALUES (%(connector_id)s, %(configuration)s)
ON CONFLICT (connector_id) DO UPDATE SET managed = excluded.managed;

-- name: clear_managed_configuration
-- Gives a connector its own published configuration back.
UPDATE connector_configurations SET managed = NULL WHERE connector_id = %(connector_id)s;
