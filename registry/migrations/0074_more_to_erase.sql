-- What offers, contested EUIs and dwellings hold of a dwelling, a device or a person goes with it.

INSERT INTO erasure_step VALUES
(76, 'processing', $$
WITH gone AS (DELETE FROM processing
WHERE asset_id = ANY(($1).asset_ids) OR datastream_id = ANY(($1).datastream_ids) RETURNING 1)
SELECT count(*) FROM gone $$),
(77, 'consent', $$
WITH gone AS (DELETE FROM consent
WHERE asset_id = ANY(($1).asset_ids) OR datastream_id = ANY(($1).datastream_ids) RETURNING 1)
SELECT count(*) FROM gone $$),
(78, 'asset_transfer', $$
WITH gone AS (DELETE FROM asset_transfer
WHERE asset_id = ANY(($1).asset_ids) OR kept_as = ANY(($1).asset_ids) RETURNING 1) SELECT count(*) FROM gone $$),
(79, 'eui_claim', $$
WITH gone AS (DELETE FROM eui_claim WHERE kind = 'device' AND encode(eui, 'hex') = ANY(($1).needles) RETURNING 1)
SELECT count(*) FROM gone $$),
(75, 'personal_read', $$
WITH gone AS (DELETE FROM personal_read WHERE asset_id = ANY(($1).asset_ids) RETURNING 1) SELECT count(*) FROM gone $$);

DO $$
DECLARE
    named text[];
    place int := 130;
BEGIN
    FOREACH named SLICE 1 IN ARRAY ARRAY[
        ['asset_transfer', 'offered_by'], ['eui_claim', 'created_by'], ['processing', 'stated_by'],
        ['consent', 'given_by'], ['consent', 'noted_by'], ['consent', 'ended_by']] LOOP
        INSERT INTO erasure_step VALUES (place, named[1], format(
            'WITH named AS (UPDATE %1$I SET %2$I = ''personne effacée'' WHERE ($1).kind IN (''person'', ''contact'') '
            'AND %2$I = ANY(($1).names) RETURNING 1) SELECT count(*) FROM named', named[1], named[2]));
        place := place + 1;
    END LOOP;
END
$$;
