-- Why a version is suspended is a code of a closed list (core.model.suspensions.SuspensionReason); what else was said of
-- it is beside it. Texts of before are translated, those that are none of ours are the detail.
ALTER TABLE codec_version ADD COLUMN quarantine_detail text;
GRANT UPDATE (quarantine_detail) ON codec_version TO territoire_api;

-- As in 0022, with the detail.
CREATE OR REPLACE FUNCTION keep_codec_version() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    changing text[] := '{quarantined_at,quarantine_reason,quarantine_detail,released_at,released_by}';
BEGIN
    IF to_jsonb(NEW) - changing IS DISTINCT FROM to_jsonb(OLD) - changing THEN
        RAISE EXCEPTION 'codec version % is immutable', OLD.id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'codec_version_immutable';
    END IF;
    RETURN NEW;
END
$$;

-- As in 0022, with the detail.
CREATE OR REPLACE FUNCTION give_codec_version(given int, receiver int) RETURNS int
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    original record;
    theirs int;
    into_codec int;
BEGIN
    SELECT v.*, c.name, c.vendor, c.model INTO original
    FROM codec_version v JOIN codec c ON c.id = v.codec_id WHERE v.id = given;
    IF NOT FOUND OR original.tenant_id IS NULL OR original.tenant_id = receiver THEN
        RETURN given;
    END IF;
    SELECT v.id INTO theirs FROM codec_version v
    WHERE v.tenant_id = receiver AND v.sha256 = original.sha256 AND v.language = original.language
      AND v.form IS NOT DISTINCT FROM original.form ORDER BY v.id LIMIT 1;
    IF theirs IS NULL THEN
        INSERT INTO codec (tenant_id, name, vendor, model)
        VALUES (receiver, original.name, original.vendor, original.model)
        ON CONFLICT (tenant_id, name) DO NOTHING RETURNING id INTO into_codec;
        IF into_codec IS NULL THEN
            SELECT c.id INTO into_codec FROM codec c WHERE c.tenant_id = receiver AND c.name = original.name FOR UPDATE;
        END IF;
        INSERT INTO codec_version (codec_id, version, language, source, sha256, form, examples, author, note,
                                   quarantined_at, quarantine_reason, quarantine_detail)
        SELECT into_codec, coalesce((SELECT max(v.version) FROM codec_version v WHERE v.codec_id = into_codec), 0) + 1,
               original.language, original.source, original.sha256, original.form, original.examples, original.author,
               original.note, original.quarantined_at, original.quarantine_reason, original.quarantine_detail
        RETURNING id INTO theirs;
    END IF;
    RETURN theirs;
END
$$;

UPDATE codec_version SET quarantine_reason = 'overran'
WHERE quarantine_reason IN ('cinq dépassements du temps de calcul en dix minutes',
                            'cinq dépassements du temps de calcul ou de la mémoire en dix minutes');
UPDATE codec_version SET quarantine_reason = 'other', quarantine_detail = quarantine_reason
WHERE quarantine_reason <> 'overran';
