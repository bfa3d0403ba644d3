-- What another domain wants people to be alerted of: written by the transaction of what happened, and made into an
-- alert, and deleted, by one transaction of alerting's owner of shard 0, whose slot such alerts are in.
CREATE TABLE alert_request (
    id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    tenant_id int NOT NULL REFERENCES tenant,
    kind text NOT NULL CHECK (kind IN ('gateway_address', 'codec')),  -- Of the rule that the alert will have.
    gateway_id int,        -- No reference: a gateway that was removed meanwhile is passed over, and waits for nobody.
    facts jsonb NOT NULL,  -- What the message is made of.
    at timestamptz NOT NULL
);
CALL scope_to_tenant('alert_request');
