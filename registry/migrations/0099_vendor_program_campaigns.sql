-- Campaigns of programs for clocks of other makes: a question proves what they hold, and of one that answers none nothing
-- does. `state` and what follows it are of programs alone.
ALTER TABLE lighting_campaign_target
    DROP CONSTRAINT lighting_campaign_target_state_check,
    ADD CONSTRAINT lighting_campaign_target_state_check
        CHECK (state IN ('queued', 'sent', 'acknowledged', 'applied', 'failed', 'expired', 'unproven')),
    ADD question_downlink_id bigint REFERENCES downlink ON DELETE SET NULL;  -- After the last that was sent.
CREATE INDEX lighting_campaign_target_of_question ON lighting_campaign_target (question_downlink_id)
    WHERE question_downlink_id IS NOT NULL;
