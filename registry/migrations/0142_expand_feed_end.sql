-- A server that is killed forgets numbers of transactions of which nothing was on the disk, and gives them again. So
-- `settled` is behind the last row, whose commit was, and no more behind what had only begun: below it all is there.
CREATE OR REPLACE FUNCTION feed_position() RETURNS TABLE (epoch text, settled xid8, ahead xid8, forgotten_xid xid8,
                                                          forgotten_number bigint)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT s.epoch, (coalesce((SELECT f.xid FROM observation.feed f WHERE f.xid < pg_snapshot_xmin(pg_current_snapshot())
                               ORDER BY f.xid DESC, f.number DESC LIMIT 1), s.forgotten_xid)::text::bigint + 1)::text::xid8,
           pg_snapshot_xmax(pg_current_snapshot()), s.forgotten_xid, s.forgotten_number
    FROM observation.feed_state s
$$;
