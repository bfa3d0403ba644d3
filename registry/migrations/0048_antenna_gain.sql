-- An antenna's gain is answered as it was said: 2.3 dBi were 2.29999995 as a real. Its text says what was meant.
ALTER TABLE gateway ALTER COLUMN antenna_gain TYPE double precision USING antenna_gain::text::double precision;
