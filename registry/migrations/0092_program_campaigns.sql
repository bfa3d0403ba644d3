-- Campaigns give programs to clocks, too. What is sent is no switching command: a target keeps for itself what was sent
-- last, and what the clock has proved by the hash of the program that it reports.
ALTER TABLE lighting_campaign
    DROP CONSTRAINT lighting_campaign_action_check,
    ADD CONSTRAINT lighting_campaign_action_check CHECK (action IN ('on', 'off', 'dim', 'set_program'));
ALTER TABLE lighting_campaign_target
    ADD state text CHECK (state IN ('queued', 'sent', 'acknowledged', 'applied', 'failed', 'expired')),  -- Of programs.
    ADD failure text,
    ADD device_id int REFERENCES device ON DELETE SET NULL,      -- That was sent the program.
    ADD program_hash bytea,                                      -- By which it is to report it.
    ADD attempts smallint NOT NULL DEFAULT 0,
    ADD repeat_due boolean NOT NULL DEFAULT false,               -- It waits for its turn again.
    ADD downlink_id bigint REFERENCES downlink ON DELETE SET NULL;
CREATE INDEX lighting_campaign_target_open ON lighting_campaign_target (campaign_id, asset_id)
    WHERE state IN ('queued', 'sent', 'acknowledged');
CREATE INDEX lighting_campaign_target_of_downlink ON lighting_campaign_target (downlink_id)
    WHERE downlink_id IS NOT NULL;
CREATE INDEX lighting_campaign_target_of_device ON lighting_campaign_target (device_id) WHERE device_id IS NOT NULL;

-- Drafts that wait for somebody are counted: each has its targets. What lights everything in an emergency is none.
INSERT INTO quota_default (kind, most, counted, condition) VALUES
    ('campaign_drafts', 50, 'lighting_campaign', 'state = ''draft'' AND not_after > now()');
INSERT INTO quota (tenant_id, kind, most)
SELECT tenant_id, 'campaign_drafts', ceil(count(*) * 1.25) FROM lighting_campaign
WHERE state = 'draft' AND not_after > now() GROUP BY tenant_id HAVING ceil(count(*) * 1.25) > 50;
CREATE TRIGGER quota_of_new AFTER INSERT ON lighting_campaign FOR EACH ROW
    WHEN (session_user = 'territoire_api' AND NEW.state = 'draft') EXECUTE FUNCTION keep_quota();
CREATE INDEX lighting_campaign_draft ON lighting_campaign (not_after) WHERE state = 'draft';
