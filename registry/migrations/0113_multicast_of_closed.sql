-- What is on its way to the groups of a tenant that is closed is stopped too, between two gateways, and none begins.

-- As in 0103.
CREATE OR REPLACE FUNCTION close_tenant(wanted int, closing boolean) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    IF NOT is_operator() OR wanted = split_part(current_setting('app.proved'), '|', 1)::int THEN
        RETURN false;
    END IF;
    UPDATE tenant SET closed_at = CASE WHEN closing THEN coalesce(closed_at, now()) END WHERE id = wanted;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    IF closing THEN
        UPDATE downlink l SET state = 'cancelled', reason = 'WITHDRAWN', detail = NULL, updated_at = now()
        FROM device d WHERE d.id = l.device_id AND d.tenant_id = wanted AND l.state = 'queued';
        UPDATE multicast_message SET state = 'cancelled', reason = 'WITHDRAWN', updated_at = now()
        WHERE tenant_id = wanted AND state IN ('queued', 'sending');
    END IF;
    RETURN true;
END
$$;

CREATE FUNCTION cancel_multicast_of_closed() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    IF EXISTS (SELECT FROM tenant t WHERE t.id = NEW.tenant_id AND t.closed_at IS NOT NULL) THEN
        NEW.state := 'cancelled';
        NEW.reason := 'WITHDRAWN';
    END IF;
    RETURN NEW;
END
$$;
ALTER FUNCTION cancel_multicast_of_closed() OWNER TO territoire_service;
CREATE TRIGGER of_closed_tenant BEFORE INSERT ON multicast_message
    FOR EACH ROW WHEN (NEW.state = 'queued') EXECUTE FUNCTION cancel_multicast_of_closed();
