-- Several replicas of one service share its shards, and one batch that kills its reader does not stop a shard.

-- Who is alive: a replica says so with every renewal. A share is ceil(SHARDS / replicas alive).
CREATE TABLE service_replica (
    service text NOT NULL,
    instance text NOT NULL,
    seen_at timestamptz NOT NULL,
    PRIMARY KEY (service, instance)
);
GRANT SELECT, INSERT, UPDATE, DELETE ON service_replica TO territoire_service;

-- Crashes are counted by the first message that was un-acknowledged when a shard was taken (DESIGN 3.7). After two
-- on the same message its items are taken one by one, and `in_hand_*` says which one, before it is looked at.
ALTER TABLE shard_lease
    ADD COLUMN released boolean NOT NULL DEFAULT false,
    ADD COLUMN first_sequence bigint,
    ADD COLUMN crashes smallint NOT NULL DEFAULT 0,
    ADD COLUMN in_hand_sequence bigint,
    ADD COLUMN in_hand_item int;
