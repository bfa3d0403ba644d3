-- In which form an endpoint is told. An e-mail address is an endpoint as well: it has attempts, dead letters, a test.
ALTER TABLE webhook_endpoint
    ADD COLUMN form text NOT NULL DEFAULT 'standard'
        CHECK (form IN ('standard', 'cloudevents', 'chat', 'teams', 'email')),
    ADD CHECK ((form = 'email') = starts_with(url, 'mailto:'));
CREATE UNIQUE INDEX webhook_endpoint_of_address ON webhook_endpoint (tenant_id, lower(url)) WHERE form = 'email';
GRANT SELECT (form) ON webhook_endpoint TO territoire_api;

-- A contact is told by an endpoint, whatever its form; nothing has written an address here yet.
ALTER TABLE contact DROP COLUMN email, ALTER COLUMN webhook_endpoint_id SET NOT NULL;

-- A notice may wait for its team's digest; and who is told next when nobody acknowledges is a notice, too.
ALTER TABLE alert_notice
    ADD COLUMN held_until timestamptz,                      -- NULL: told at once.
    ADD COLUMN digested_at timestamptz,                     -- When it went out in the digest.
    ADD COLUMN rung smallint NOT NULL DEFAULT 0,
    ADD COLUMN opening_id uuid,                             -- Of an escalation: the notice that nobody acknowledged.
    DROP CONSTRAINT alert_notice_event_check,
    ADD CONSTRAINT alert_notice_event_check CHECK (event IN (
        'alert.opened', 'alert.reopened', 'alert.raised', 'alert.resolved', 'alert.flapping', 'alert.digest',
        'alert.escalated'));
CREATE INDEX alert_notice_held ON alert_notice (held_until) WHERE held_until IS NOT NULL AND digested_at IS NULL;
-- Alerts that go up the ladder.
CREATE INDEX alert_unanswered ON alert (team_id) WHERE workflow = 'open' AND told AND muted_by IS NULL;

ALTER TABLE alert_event DROP CONSTRAINT alert_event_action_check, ADD CONSTRAINT alert_event_action_check CHECK (
    action IN ('opened', 'reopened', 'raised', 'resolved', 'muted', 'flapping', 'settled', 'acknowledged', 'assigned',
               'commented', 'closed', 'escalated'));
