-- Tells that credentials have changed, or are older again because the database was restored: a random value for each
-- lane, which each change of a connector replaces. The sweeper compares it with the one that it left in Redis.

CREATE TABLE credential_revisions (
    lane     smallint PRIMARY KEY,
    revision uuid NOT NULL
);

CREATE FUNCTION renew_credential_revision() RETURNS trigger
    LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO credential_revisions (lane, revision)
    VALUES (NEW.lane, gen_random_uuid())
    ON CONFLICT (lane) DO UPDATE SET revision = excluded.revision;
    RETURN NULL;
END $$;

CREATE TRIGGER connectors_renew_revision AFTER INSERT OR UPDATE ON connectors
    FOR EACH ROW EXECUTE FUNCTION renew_credential_revision();
