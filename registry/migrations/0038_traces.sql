-- The trace of the frame that caused a notice (NULL: the clock did), and the trace that an attempt was sent under.
ALTER TABLE alert_notice ADD COLUMN trace_id bytea CHECK (octet_length(trace_id) = 16);
ALTER TABLE webhook_attempt ADD COLUMN trace_id bytea CHECK (octet_length(trace_id) = 16);
