-- A downlink's reason is a code of a closed list (core.model.downlinks.DownlinkReason); `detail` is what somebody else
-- said about it: another LNS's words, or a text of before that is no code.
ALTER TABLE downlink ADD COLUMN detail text;

-- Texts that were written before, in the words of then. The others go to the detail.
WITH known (code, pattern) AS (VALUES
    ('NOT_AFTER', '^délai passé avant l''envoi$'),
    ('DEVICE_SILENT', '^le capteur n''a rien dit depuis$'),
    ('DEVICE_NO_ACK', '^le capteur n''a pas accusé réception$'),
    ('LNS_NO_REPORT', '^l''autre LNS n''a pas dit ce qu''il en a fait$'),
    ('SOURCE_REMOVED', '^la source a été retirée$'),
    ('LNS_QUEUED_UNTIL_UPLINK', '^dans la file de .*, qui l''enverra après le prochain message du capteur$'),
    ('LNS_QUEUED', '^dans la file de [^,]*$'),
    ('LNS_DEVICE_UNHEARD', '^en attente d''un premier message du capteur par cette source$'),
    ('LNS_UNREACHABLE', '^(courtier de )?(.*) injoignable( \((.*)\))?$'),
    ('LNS_UNREACHABLE', '^.* ne répond pas en \d+ s$'),
    ('LNS_NOT_LISTENING', '^.* n''écoute pas son courtier$'),
    ('LNS_PUBLISH_REFUSED', '^le courtier de .* refuse de publier : droits du compte à vérifier$'),
    ('PAYLOAD_TOO_LARGE', '^trop long pour le débit actuel du capteur$'),
    ('F_CNT_EXHAUSTED', '^compteur descendant dépassé$'),
    ('LNS_EXPIRED', '^périmé dans la file de ChirpStack$'),
    ('SOURCE_NEEDS_MQTT', '^ChirpStack ne prend les messages que par MQTT : cette source est en HTTP$'),
    ('SOURCE_TAKES_NO_DOWNLINKS', '^cette source ne transmet pas de messages aux capteurs$'),
    ('SOURCE_INCOMPLETE', '^la source n''a pas l''adresse ou la clé de l''API de .*$')
), theirs (code, pattern) AS (VALUES  -- What follows in these is their own.
    ('LNS_ANSWERED', '^(?:ChirpStack|The Things Stack|ThingPark|Live Objects|Wanesy|cette source) répond (\d{3}.*)$'),
    ('LNS_REPORTED', '^(?:The Things Stack|Live Objects|Wanesy) : (.*)$'),
    ('LNS_REPORTED', '^ThingPark ne l''a pas émis : (.*)$')
)
UPDATE downlink l SET
    reason = coalesce((SELECT k.code FROM known k WHERE l.reason ~ k.pattern LIMIT 1),
                      (SELECT t.code FROM theirs t WHERE l.reason ~ t.pattern LIMIT 1), 'other'),
    detail = CASE WHEN EXISTS (SELECT FROM known k WHERE l.reason ~ k.pattern) THEN NULL
                  ELSE coalesce((SELECT substring(l.reason FROM t.pattern) FROM theirs t
                                 WHERE l.reason ~ t.pattern LIMIT 1), l.reason) END
WHERE l.reason IS NOT NULL AND l.reason <> ALL(ARRAY[
    'TOO_LATE', 'TOO_EARLY', 'COLLISION_PACKET', 'COLLISION_BEACON', 'TX_FREQ', 'TX_POWER', 'GPS_UNLOCKED', 'NO_ACK',
    'DUTY_CYCLE_OVERFLOW', 'GATEWAY_UNREACHABLE', 'GATEWAY_NO_ANSWER', 'PAYLOAD_TOO_LARGE', 'SESSION_CLOSED',
    'DATABASE_AWAY', 'INTERNAL_ERROR', 'RESTARTED', 'DEVICE_NO_ACK', 'DEVICE_SILENT', 'NOT_AFTER', 'superseded']);

-- As in 0012, and the detail goes with the reason.
CREATE OR REPLACE FUNCTION downlinks_follow_bearer() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    UPDATE downlink SET lns_source_id = NEW.lns_source_id, lns_item = NULL, not_before = NULL, reason = NULL,
        detail = NULL, slot = CASE WHEN NEW.lns_source_id IS NULL THEN NEW.slot ELSE 16 END, updated_at = now()
    WHERE device_id = NEW.id AND state = 'queued';
    RETURN NULL;
END
$$;

-- As in 0021, with the detail.
CREATE OR REPLACE FUNCTION tell_applications_of_downlink() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    told text := CASE
        WHEN NEW.state = 'sent' THEN 'txack'
        WHEN NEW.state = 'acknowledged' OR (NEW.confirmed AND NEW.state = 'failed' AND NEW.f_cnt_down IS NOT NULL)
            THEN 'ack'
        ELSE 'log'
    END;
BEGIN
    PERFORM queue_application_event(NEW.device_id, told, jsonb_build_object(
        'downlink', NEW.id, 'f_cnt_down', NEW.f_cnt_down, 'gateway_id', encode(NEW.gateway_id, 'hex'),
        'state', NEW.state, 'reason', NEW.reason, 'detail', NEW.detail));
    RETURN NULL;
END
$$;
