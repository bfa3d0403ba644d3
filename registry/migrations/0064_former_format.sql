-- Since when values of RFC 3394, which name no owner, open no more: `keys rotate` sets it when none is left, and
-- nothing takes it back. No service may write here.
ALTER TABLE deployment ADD COLUMN keys_sealed_at timestamptz;

CREATE FUNCTION keep_keys_sealed() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    NEW.keys_sealed_at := OLD.keys_sealed_at;
    RETURN NEW;
END
$$;
CREATE TRIGGER keys_stay_sealed BEFORE UPDATE ON deployment FOR EACH ROW
    WHEN (OLD.keys_sealed_at IS NOT NULL AND NEW.keys_sealed_at IS DISTINCT FROM OLD.keys_sealed_at)
    EXECUTE FUNCTION keep_keys_sealed();
