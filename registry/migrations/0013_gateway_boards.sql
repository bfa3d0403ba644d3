-- How many concentrators a gateway that runs LoRa Basics Station drives: its configuration names each of them.
ALTER TABLE gateway ADD COLUMN boards smallint NOT NULL DEFAULT 1 CHECK (boards IN (1, 2));
