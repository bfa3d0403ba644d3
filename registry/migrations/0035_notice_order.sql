-- Notices of one alert in the order in which they were written: two of one transaction have the same instant.
ALTER TABLE alert_notice ADD COLUMN number bigint GENERATED ALWAYS AS IDENTITY;
