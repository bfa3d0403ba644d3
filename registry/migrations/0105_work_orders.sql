-- Work orders: somebody is to go somewhere and do something, until it is done. Each change is a row of history, and
-- that row waits until alerting has made a webhook message of it.

CREATE TABLE work_order (
    id int PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    tenant_id int NOT NULL REFERENCES tenant,
    state text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'assigned', 'in_progress', 'done', 'cancelled')),
    origin text NOT NULL CHECK (origin IN ('person', 'rule', 'lighting')),
    priority text NOT NULL DEFAULT 'normal' CHECK (priority IN ('low', 'normal', 'high', 'urgent')),
    title text NOT NULL CHECK (length(title) BETWEEN 1 AND 200),
    description text NOT NULL DEFAULT '' CHECK (length(description) <= 4000),
    team_id int REFERENCES team ON DELETE SET NULL,
    assignee text CHECK (length(assignee) BETWEEN 1 AND 200),
    due_at timestamptz,
    campaign_id int REFERENCES lighting_campaign ON DELETE SET NULL,
    external_reference text CHECK (length(external_reference) BETWEEN 1 AND 100),  -- In a partner's system.
    resolution text NOT NULL DEFAULT '' CHECK (length(resolution) <= 4000),  -- What was done, or why nothing is.
    version int NOT NULL DEFAULT 0,   -- How often it has changed.
    reported_at timestamptz,          -- Of the last state that a partner's system has reported.
    created_at timestamptz NOT NULL DEFAULT now(),
    created_by text,                  -- NULL: the platform.
    updated_at timestamptz NOT NULL DEFAULT now(),
    closed_at timestamptz,
    closed_by text,
    UNIQUE (id, tenant_id),
    CHECK ((state IN ('done', 'cancelled')) = (closed_at IS NOT NULL)),
    CHECK (state <> 'done' OR resolution <> '')
);
CREATE INDEX work_order_of_tenant ON work_order (tenant_id, id DESC);
CREATE INDEX work_order_of_team ON work_order (team_id);
CREATE INDEX work_order_of_campaign ON work_order (campaign_id) WHERE campaign_id IS NOT NULL;
CREATE UNIQUE INDEX work_order_reference ON work_order (tenant_id, external_reference)
    WHERE external_reference IS NOT NULL;

-- What it is about: an asset, or an alert.
CREATE TABLE work_order_link (
    id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    tenant_id int NOT NULL REFERENCES tenant,
    work_order_id int NOT NULL,
    asset_id int REFERENCES asset ON DELETE CASCADE,
    alert_id bigint REFERENCES alert ON DELETE CASCADE,
    fired_at timestamptz,             -- Of the alert, when it was linked: fired again, it is another work order.
    FOREIGN KEY (work_order_id, tenant_id) REFERENCES work_order (id, tenant_id) ON DELETE CASCADE,
    CHECK (num_nonnulls(asset_id, alert_id) = 1),
    UNIQUE (work_order_id, asset_id),
    UNIQUE (work_order_id, alert_id)
);
CREATE INDEX work_order_link_of_asset ON work_order_link (asset_id) WHERE asset_id IS NOT NULL;
CREATE INDEX work_order_link_of_alert ON work_order_link (alert_id) WHERE alert_id IS NOT NULL;
CREATE INDEX work_order_link_of_tenant ON work_order_link (tenant_id);

CREATE TABLE work_order_event (
    id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    tenant_id int NOT NULL REFERENCES tenant,
    work_order_id int NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    actor text,                       -- NULL: the platform.
    source_id int REFERENCES event_source ON DELETE SET NULL,  -- The partner's system that reported it.
    action text NOT NULL CHECK (action IN (
        'opened', 'assigned', 'started', 'changed', 'commented', 'done', 'cancelled', 'reopened')),
    version int NOT NULL,
    note text NOT NULL DEFAULT '' CHECK (length(note) <= 4000),
    changes jsonb NOT NULL DEFAULT '{}',
    message_id uuid NOT NULL DEFAULT gen_random_uuid(),
    sent_at timestamptz,              -- When it was handed to the queue of webhooks.
    FOREIGN KEY (work_order_id, tenant_id) REFERENCES work_order (id, tenant_id) ON DELETE CASCADE
);
CREATE INDEX work_order_event_of_order ON work_order_event (work_order_id, id);
CREATE INDEX work_order_event_of_tenant ON work_order_event (tenant_id);
CREATE INDEX work_order_event_of_source ON work_order_event (source_id) WHERE source_id IS NOT NULL;
CREATE INDEX work_order_event_to_send ON work_order_event (id) WHERE sent_at IS NULL;

CREATE TABLE work_order_photo (
    id int PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    tenant_id int NOT NULL REFERENCES tenant,
    work_order_id int NOT NULL,
    remark text NOT NULL DEFAULT '' CHECK (length(remark) <= 200),
    taken_by text NOT NULL,
    taken_at timestamptz NOT NULL DEFAULT now(),
    octets int NOT NULL GENERATED ALWAYS AS (octet_length(content)) STORED,
    content bytea NOT NULL CHECK (octet_length(content) BETWEEN 4 AND 2097152),
    FOREIGN KEY (work_order_id, tenant_id) REFERENCES work_order (id, tenant_id) ON DELETE CASCADE
);
ALTER TABLE work_order_photo ALTER COLUMN content SET STORAGE EXTERNAL;
CREATE INDEX work_order_photo_of_order ON work_order_photo (work_order_id, id DESC);
CREATE INDEX work_order_photo_of_tenant ON work_order_photo (tenant_id);

-- Its own tenant's alone, as photos are: a grant opens what is measured.
CALL scope_to_tenant('work_order');
CALL scope_to_tenant('work_order_link');
CALL scope_to_tenant('work_order_event');
CALL scope_to_tenant('work_order_photo');
GRANT SELECT, INSERT, UPDATE ON work_order TO territoire_api;
GRANT SELECT, INSERT, DELETE ON work_order_link TO territoire_api;
GRANT SELECT, INSERT (tenant_id, work_order_id, actor, source_id, action, version, note, changes)
    ON work_order_event TO territoire_api;
GRANT SELECT, DELETE, INSERT (tenant_id, work_order_id, remark, taken_by, content)
    ON work_order_photo TO territoire_api;

INSERT INTO quota_default (kind, most, counted) VALUES ('work_order_photos', 5000, 'work_order_photo');
CREATE TRIGGER quota_of_new AFTER INSERT ON work_order_photo FOR EACH ROW
    WHEN (session_user = 'territoire_api') EXECUTE FUNCTION keep_quota();
CREATE TRIGGER quota_of_taken_over AFTER UPDATE OF tenant_id ON work_order_photo FOR EACH ROW
    WHEN (session_user = 'territoire_api' AND NEW.tenant_id IS DISTINCT FROM OLD.tenant_id)
    EXECUTE FUNCTION keep_quota();

-- A partner's system reports alarms, or the state of work orders, with a secret that is good for nothing else.
ALTER TABLE event_source ADD purpose text NOT NULL DEFAULT 'alarms' CHECK (purpose IN ('alarms', 'work_orders'));
GRANT SELECT (purpose) ON event_source TO territoire_api;

ALTER TABLE alert_rule ADD opens_work_order boolean NOT NULL DEFAULT false;
UPDATE alert_rule SET opens_work_order = true WHERE kind = 'relight_failed';

-- What lighting asked people to look at was an alert alone. It was notified then: no message goes out again.
DO $$
DECLARE
    a record;
    made int;
BEGIN
    FOR a IN
        SELECT o.id, o.tenant_id, o.asset_id, o.team_id, o.assignee, o.severity::text AS severity, o.message,
               o.workflow::text AS workflow, o.opened_at, o.fired_at
        FROM alert o JOIN alert_rule r ON r.id = o.rule_id AND r.kind = 'relight_failed'
        WHERE o.workflow IN ('open', 'acknowledged', 'in_progress') AND o.message <> '' ORDER BY o.id
    LOOP
        INSERT INTO work_order (tenant_id, state, origin, priority, title, description, team_id, assignee, version,
                                created_at, updated_at)
        VALUES (a.tenant_id, CASE WHEN a.workflow = 'in_progress' THEN 'in_progress'
                                  WHEN a.assignee IS NOT NULL THEN 'assigned' ELSE 'open' END,
                'lighting', CASE a.severity WHEN 'critical' THEN 'urgent' WHEN 'major' THEN 'high'
                                            WHEN 'warning' THEN 'normal' ELSE 'low' END,
                left(a.message, 200), a.message, a.team_id, left(nullif(a.assignee, ''), 200), 1, a.opened_at, now())
        RETURNING id INTO made;
        INSERT INTO work_order_link (tenant_id, work_order_id, alert_id, fired_at)
        VALUES (a.tenant_id, made, a.id, a.fired_at);
        INSERT INTO work_order_link (tenant_id, work_order_id, asset_id)
        SELECT a.tenant_id, made, a.asset_id WHERE a.asset_id IS NOT NULL;
        INSERT INTO work_order_event (tenant_id, work_order_id, at, action, version, sent_at)
        VALUES (a.tenant_id, made, a.opened_at, 'opened', 1, now());
    END LOOP;
END
$$;

INSERT INTO erasure_step VALUES
(70, 'work_order', $$
WITH gone AS (DELETE FROM work_order WHERE id IN (SELECT work_order_id FROM work_order_link
WHERE asset_id = ANY(($1).asset_ids) LIMIT $2) RETURNING 1) SELECT count(*) FROM gone $$),
(101, 'work_order', $$
WITH named AS (UPDATE work_order SET created_by = 'personne effacée' WHERE ($1).kind IN ('person', 'contact')
AND created_by = ANY(($1).names) RETURNING 1) SELECT count(*) FROM named $$),
(102, 'work_order', $$
WITH named AS (UPDATE work_order SET closed_by = 'personne effacée' WHERE ($1).kind IN ('person', 'contact')
AND closed_by = ANY(($1).names) RETURNING 1) SELECT count(*) FROM named $$),
(103, 'work_order', $$
WITH named AS (UPDATE work_order SET assignee = 'personne effacée' WHERE ($1).kind IN ('person', 'contact')
AND assignee = ANY(($1).names) RETURNING 1) SELECT count(*) FROM named $$),
(104, 'work_order_event', $$
WITH named AS (UPDATE work_order_event SET actor = 'personne effacée' WHERE ($1).kind IN ('person', 'contact')
AND actor = ANY(($1).names) RETURNING 1) SELECT count(*) FROM named $$),
(105, 'work_order_event', $$
WITH named AS (UPDATE work_order_event SET changes = changes - 'assignee' WHERE ($1).kind IN ('person', 'contact')
AND changes -> 'assignee' ?| ($1).names RETURNING 1) SELECT count(*) FROM named $$),
(106, 'work_order_photo', $$
WITH named AS (UPDATE work_order_photo SET taken_by = 'personne effacée' WHERE ($1).kind IN ('person', 'contact')
AND taken_by = ANY(($1).names) RETURNING 1) SELECT count(*) FROM named $$);
