-- The number of another change; nothing here.
SELECT 1;
