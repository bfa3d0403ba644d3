-- Files that a row has named and names no more: each goes out of the folder, and until it has, no erasure is done. Their names
-- stay, some 60 octets each: a copy of the folder that is put back may hold one again, with what was erased since.
CREATE TABLE observation.cold_file_replaced (
    name text PRIMARY KEY,
    removed_at timestamptz  -- NULL: it may still lie in the folder.
);
GRANT SELECT, INSERT, UPDATE, DELETE ON observation.cold_file_replaced TO territoire_service;
