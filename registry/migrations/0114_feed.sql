-- The feed: what has changed, in an order that misses nothing. Every transaction that changes measurements, an alert or a
-- command of lighting adds a row; readers go by (xid, number) below the oldest transaction that still writes, so that
-- nothing can come in behind them (docs/decisions/0096).

-- Of measurements which and of when, not what: the value is read where it is (erased there, it is gone here, too).
CREATE TABLE observation.feed (
    xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
    number bigint GENERATED ALWAYS AS IDENTITY,
    at timestamptz NOT NULL DEFAULT now(),
    origin text NOT NULL DEFAULT 'live' CHECK (origin IN ('live', 'manual', 'corrected', 'redecoded', 'meter_change', 'alert', 'command')),
    subject bigint,  -- The alert or command.
    n int NOT NULL DEFAULT 1,
    datastream_ids int[],
    times timestamptz[],
    PRIMARY KEY (xid, number),
    CHECK ((subject IS NULL) = (datastream_ids IS NOT NULL AND times IS NOT NULL))
);
-- Compressing them costs ingest more than the disk that it saves.
ALTER TABLE observation.feed ALTER COLUMN datastream_ids SET STORAGE EXTERNAL, ALTER COLUMN times SET STORAGE EXTERNAL;
-- One row. `epoch` changes when the database is not the one any more whose transactions cursors name. What is up to
-- `forgotten` was deleted. `held`: since when one transaction that
-- writes has kept readers waiting, and whose it is.
CREATE TABLE observation.feed_state (
    epoch text NOT NULL,
    forgotten_xid xid8 NOT NULL DEFAULT '0',
    forgotten_number bigint NOT NULL DEFAULT 0,
    held_xid xid8,
    held_since timestamptz,
    holder text NOT NULL DEFAULT '',
    warned_xid xid8  -- Of which the network's operator was warned.
);
CREATE UNIQUE INDEX one_feed_state ON observation.feed_state ((true));
INSERT INTO observation.feed_state (epoch) VALUES (substr(md5(gen_random_uuid()::text), 1, 8));
GRANT SELECT, INSERT, DELETE ON observation.feed TO territoire_service;
GRANT SELECT, UPDATE ON observation.feed_state TO territoire_service;
GRANT SELECT ON observation.feed, observation.feed_state TO territoire_views;

-- As in 0049, with the feed.
CREATE OR REPLACE FUNCTION observation.keep_correction(
    stream int, instant timestamptz, reading float8, marked smallint, source int
) RETURNS int LANGUAGE plpgsql AS $$
DECLARE
    stored observation.measurement;
    is_manual boolean := marked & 4 <> 0;
    outranks boolean := EXISTS (SELECT FROM lns_source s WHERE s.id = source AND s.authoritative);
BEGIN
    SELECT * INTO stored FROM observation.measurement m WHERE m.datastream_id = stream AND m.time = instant;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    IF stored.value = reading THEN
        RETURN 0;
    END IF;
    INSERT INTO observation.correction (datastream_id, time, value, flags)
    VALUES (stream, instant, stored.value, stored.flags) ON CONFLICT DO NOTHING;
    INSERT INTO observation.correction AS c (datastream_id, time, value, flags, source_id, is_authoritative, received_at)
    VALUES (stream, instant, reading, marked, source, outranks, now())
    ON CONFLICT (datastream_id, time, value) DO UPDATE
    SET flags = excluded.flags, source_id = excluded.source_id, is_authoritative = excluded.is_authoritative,
        received_at = excluded.received_at
    WHERE is_manual OR (excluded.is_authoritative AND NOT c.is_authoritative);
    IF NOT FOUND THEN
        RETURN 0;
    END IF;
    UPDATE observation.measurement m SET value = reading, flags = marked | 64
    WHERE m.datastream_id = stream AND m.time = instant AND (is_manual OR (outranks AND m.flags & 4 = 0));
    IF NOT FOUND THEN
        RETURN 1;
    END IF;
    UPDATE observation.latest l SET value = reading, flags = marked | 64
    WHERE l.datastream_id = stream AND l.time = instant;
    -- An index at the very edge ends the hour before.
    INSERT INTO observation.dirty (hour, datastream_ids)
    SELECT DISTINCT date_trunc('hour', edge, 'UTC'), ARRAY[stream]
    FROM unnest(ARRAY[instant, instant - interval '1 microsecond']) AS edge;
    INSERT INTO observation.feed (origin, datastream_ids, times) VALUES ('corrected', ARRAY[stream], ARRAY[instant]);
    RETURN 2;
END
$$;
CREATE OR REPLACE FUNCTION enter_manual_reading(stream int, at timestamptz, reading float8, marked smallint) RETURNS int
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM datastream d WHERE d.id = stream AND d.tenant_id = current_tenant()) THEN
        RETURN NULL;
    END IF;
    INSERT INTO observation.measurement (datastream_id, time, value, flags) VALUES (stream, at, reading, marked)
    ON CONFLICT (datastream_id, time) DO NOTHING;
    IF NOT FOUND THEN
        RETURN CASE observation.keep_correction(stream, at, reading, marked, NULL) WHEN 2 THEN 2 ELSE 1 END;
    END IF;
    INSERT INTO observation.latest (datastream_id, time, value, flags) VALUES (stream, at, reading, marked)
    ON CONFLICT (datastream_id) DO UPDATE
    SET time = excluded.time, value = excluded.value, flags = excluded.flags WHERE latest.time < excluded.time;
    -- A counter's value at the very edge ends the hour before.
    INSERT INTO observation.dirty (hour, datastream_ids)
    SELECT DISTINCT date_trunc('hour', edge, 'UTC'), ARRAY[stream]
    FROM unnest(ARRAY[at, at - interval '1 microsecond']) AS edge;
    INSERT INTO observation.feed (origin, datastream_ids, times) VALUES ('manual', ARRAY[stream], ARRAY[at]);
    RETURN 0;
END
$$;

-- What others write is added by triggers: whoever may write it need not know of the feed.
CREATE FUNCTION feed_meter_change() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    INSERT INTO observation.feed (origin, datastream_ids, times)
    VALUES ('meter_change', ARRAY[coalesce(NEW.datastream_id, OLD.datastream_id)], ARRAY[coalesce(NEW.at, OLD.at)]);
    RETURN NULL;
END
$$;
CREATE TRIGGER goes_to_feed AFTER INSERT OR UPDATE OR DELETE ON observation.meter_change
    FOR EACH ROW EXECUTE FUNCTION feed_meter_change();
CREATE FUNCTION feed_subject() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    INSERT INTO observation.feed (origin, subject) VALUES (TG_ARGV[0], NEW.id);
    RETURN NULL;
END
$$;
-- The last value of an alert changes with each reading: that is no news of it.
CREATE TRIGGER goes_to_feed AFTER INSERT ON alert FOR EACH ROW EXECUTE FUNCTION feed_subject('alert');
CREATE TRIGGER change_goes_to_feed AFTER UPDATE ON alert FOR EACH ROW
    WHEN ((OLD.workflow, OLD.severity, OLD.condition, OLD.acknowledged_by, OLD.occurrences)
          IS DISTINCT FROM (NEW.workflow, NEW.severity, NEW.condition, NEW.acknowledged_by, NEW.occurrences))
    EXECUTE FUNCTION feed_subject('alert');
CREATE TRIGGER goes_to_feed AFTER INSERT ON lighting_command
    FOR EACH ROW EXECUTE FUNCTION feed_subject('command');
CREATE TRIGGER change_goes_to_feed AFTER UPDATE ON lighting_command FOR EACH ROW
    WHEN (OLD.state IS DISTINCT FROM NEW.state) EXECUTE FUNCTION feed_subject('command');

-- After a restore: no cursor of before is good any more, and transactions are numbered anew.
CREATE FUNCTION renew_feed() RETURNS void LANGUAGE sql SET search_path = public, pg_temp AS $$
    DELETE FROM observation.feed;
    UPDATE observation.feed_state
    SET epoch = substr(md5(gen_random_uuid()::text), 1, 8), forgotten_xid = '0', forgotten_number = 0, held_xid = NULL,
        held_since = NULL, holder = '', warned_xid = NULL;
$$;
REVOKE EXECUTE ON FUNCTION renew_feed() FROM PUBLIC;

-- Where the feed is: rows below `settled` are all there. `ahead`: the first transaction that nobody has begun.
CREATE FUNCTION feed_position() RETURNS TABLE (epoch text, settled xid8, ahead xid8, forgotten_xid xid8,
                                               forgotten_number bigint)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT s.epoch, pg_snapshot_xmin(pg_current_snapshot()), pg_snapshot_xmax(pg_current_snapshot()),
           s.forgotten_xid, s.forgotten_number
    FROM observation.feed_state s
$$;

-- What the caller may read of what comes after (xid, number, place): `most` at most, of so many batches as have about
-- `budget` values. When it is less, one row more without origin: from where reading goes on.
CREATE FUNCTION read_feed(
    after_xid xid8, after_number bigint, after_place int, most int, budget int, wanted_origins text[],
    wanted_ids int[], wanted_quantity text, wanted_kind text, wanted_tag text, wanted_commune text
) RETURNS TABLE (xid xid8, number bigint, place int, at timestamptz, origin text, subject bigint, datastream_id int,
                 asset_id int, quantity text, "time" timestamptz, value float8, flags smallint)
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = public, pg_temp ROWS 1000 AS $$
#variable_conflict use_column
DECLARE
    settled xid8 := pg_snapshot_xmin(pg_current_snapshot());
    last_xid xid8;
    last_number bigint;
    rows_scanned int;
    first_time timestamptz;
    last_time timestamptz;
    rows_found int;
BEGIN
    SELECT b.xid, b.number, b.row INTO last_xid, last_number, rows_scanned
    FROM (SELECT f.xid, f.number, row_number() OVER w AS row, sum(f.n) OVER w - f.n AS former
          FROM (SELECT f.xid, f.number, f.n FROM observation.feed f
                WHERE (f.xid, f.number) >= (after_xid, after_number) AND f.xid < settled
                ORDER BY f.xid, f.number LIMIT 2000) f
          WINDOW w AS (ORDER BY f.xid, f.number)) b
    WHERE b.former < budget ORDER BY b.row DESC LIMIT 1;
    IF NOT FOUND THEN
        RETURN QUERY SELECT settled, 0::bigint, 0, NULL::timestamptz, NULL::text, NULL::bigint, NULL::int, NULL::int,
                            NULL::text, NULL::timestamptz, NULL::float8, NULL::smallint;
        RETURN;
    END IF;
    -- Within these bounds only chunks are looked at.
    SELECT min(t), max(t) INTO first_time, last_time
    FROM observation.feed f CROSS JOIN LATERAL unnest(f.times) t
    WHERE (f.xid, f.number) >= (after_xid, after_number) AND (f.xid, f.number) <= (last_xid, last_number)
      AND f.origin = ANY(wanted_origins);
    RETURN QUERY EXECUTE $statement$
        WITH batch AS NOT MATERIALIZED (
            SELECT f.* FROM observation.feed f
            WHERE (f.xid, f.number) >= ($1, $2) AND (f.xid, f.number) <= ($5, $6) AND f.origin = ANY($7)
        ), key AS MATERIALIZED (
            SELECT k.* FROM (
                SELECT f.xid, f.number, u.place::int AS place, f.at, f.origin, NULL::bigint AS subject,
                       d.id AS datastream_id, d.asset_id, d.quantity, u.time
                FROM batch f CROSS JOIN LATERAL unnest(f.datastream_ids, f.times) WITH ORDINALITY AS u (id, time, place)
                JOIN datastream d ON d.id = u.id
                LEFT JOIN opened_asset() g ON g.asset_id = d.asset_id
                WHERE (f.xid, f.number, u.place) > ($1, $2, $3)
                  AND (CASE WHEN d.privacy_class < 2 THEN d.tenant_id = ANY((SELECT visible_tenants())::int[])
                            ELSE d.tenant_id = (SELECT current_tenant()) END
                       OR CASE WHEN d.privacy_class < 2 THEN g.data ELSE g.by_name END @> u.time)
                  AND (d.fine_until IS NULL OR d.fine_until > now())
                  AND ($10::int[] IS NULL OR d.id = ANY($10)) AND ($11::text IS NULL OR d.quantity = $11)
                  AND (coalesce($12, $13, $14) IS NULL OR d.asset_id IN (
                      SELECT a.id FROM asset a
                      WHERE ($12::text IS NULL OR a.kind = $12) AND ($13::text IS NULL OR $13 = ANY(a.tags))
                        AND ($14::text IS NULL OR a.commune = $14 OR a.insee = $14)))
                UNION ALL
                SELECT f.xid, f.number, 1, f.at, f.origin, f.subject, NULL, s.asset_id, NULL, NULL
                FROM batch f JOIN alert s ON s.id = f.subject
                WHERE f.origin = 'alert' AND (f.xid, f.number, 1) > ($1, $2, $3)
                  AND ($10 IS NULL OR s.datastream_id = ANY($10))
                  AND (coalesce($12, $13, $14) IS NULL OR s.asset_id IN (
                      SELECT a.id FROM asset a
                      WHERE ($12 IS NULL OR a.kind = $12) AND ($13 IS NULL OR $13 = ANY(a.tags))
                        AND ($14 IS NULL OR a.commune = $14 OR a.insee = $14)))
                UNION ALL
                SELECT f.xid, f.number, 1, f.at, f.origin, f.subject, NULL, s.asset_id, NULL, NULL
                FROM batch f JOIN lighting_command s ON s.id = f.subject
                WHERE f.origin = 'command' AND (f.xid, f.number, 1) > ($1, $2, $3)
                  AND (coalesce($12, $13, $14) IS NULL OR s.asset_id IN (
                      SELECT a.id FROM asset a
                      WHERE ($12 IS NULL OR a.kind = $12) AND ($13 IS NULL OR $13 = ANY(a.tags))
                        AND ($14 IS NULL OR a.commune = $14 OR a.insee = $14)))
            ) k ORDER BY k.xid, k.number, k.place LIMIT $4
        )
        SELECT k.xid, k.number, k.place, k.at, k.origin, k.subject, k.datastream_id, k.asset_id, k.quantity, k.time,
               m.value, m.flags
        FROM key k LEFT JOIN observation.measurement m
          ON m.datastream_id = k.datastream_id AND m.time = k.time AND m.time >= $8 AND m.time <= $9
        ORDER BY k.xid, k.number, k.place
    $statement$ USING after_xid, after_number, after_place, most, last_xid, last_number, wanted_origins, first_time,
                      last_time, wanted_ids, wanted_quantity, wanted_kind, wanted_tag, wanted_commune;
    GET DIAGNOSTICS rows_found = ROW_COUNT;
    IF rows_found < most THEN
        RETURN QUERY SELECT last_xid, last_number + 1, 0, NULL::timestamptz, NULL::text, NULL::bigint, NULL::int,
                            NULL::int, NULL::text, NULL::timestamptz, NULL::float8, NULL::smallint;
    END IF;
END
$$;
GRANT SELECT ON alert, lighting_command TO territoire_views;
GRANT SELECT (id, tenant_id, kind, tags, commune, insee, privacy_class) ON asset TO territoire_views;

DO $$
DECLARE
    door regprocedure;
BEGIN
    FOREACH door IN ARRAY ARRAY['feed_meter_change()', 'feed_subject()']::regprocedure[] LOOP
        EXECUTE format('ALTER FUNCTION %s OWNER TO territoire_service', door);
        EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', door);
    END LOOP;
    GRANT CREATE ON SCHEMA public TO territoire_views;
    FOREACH door IN ARRAY ARRAY['feed_position()', 'read_feed(xid8, bigint, int, int, int, text[], int[], text, text, text,'
                                ' text)']::regprocedure[] LOOP
        EXECUTE format('ALTER FUNCTION %s OWNER TO territoire_views', door);
        EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', door);
        EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO territoire_api', door);
    END LOOP;
    REVOKE CREATE ON SCHEMA public FROM territoire_views;
END
$$;
