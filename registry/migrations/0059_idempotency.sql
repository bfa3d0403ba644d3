-- Requests that name themselves by an Idempotency-Key, for a day: the same request again gets the same answer
-- (decision 56). `is_committed` is written by the transaction of the effect. The answer is sealed: it may hold a secret.
CREATE TABLE idempotency_key (
    tenant_id int NOT NULL REFERENCES tenant,
    principal text NOT NULL CHECK (length(principal) BETWEEN 1 AND 200),
    key_digest bytea NOT NULL CHECK (octet_length(key_digest) = 32),
    request_digest bytea NOT NULL CHECK (octet_length(request_digest) = 32),
    started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    is_committed boolean NOT NULL DEFAULT false,
    status smallint,
    media_type text,
    answer_wrapped bytea,
    kek_id text,
    PRIMARY KEY (principal, key_digest)
);
CREATE INDEX idempotency_key_by_age ON idempotency_key (started_at);
CALL scope_to_tenant('idempotency_key');
GRANT SELECT, INSERT, UPDATE, DELETE ON idempotency_key TO territoire_api;
