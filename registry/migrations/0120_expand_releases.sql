-- From here on a file's name says whether programs of before go on beside it (registry/migration_files.py).

-- Which release every living process is: a contract step waits until none is left that uses what it takes away.
-- `knows`: how many migrations its release has.
CREATE TABLE service_release (
    service text NOT NULL,
    instance text NOT NULL,
    release text NOT NULL,
    knows int NOT NULL,
    seen_at timestamptz NOT NULL,
    PRIMARY KEY (service, instance)
);
GRANT SELECT, INSERT, UPDATE, DELETE ON service_release TO territoire_service, territoire_api;
