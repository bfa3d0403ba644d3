-- Who takes the gain of a gateway's antenna off the power that it is asked for; null: nobody has said, and the power is
-- lawful whoever does. max_eirp (dBm) caps one gateway, in every sub-band.
ALTER TABLE gateway
    ADD COLUMN gain_subtracted_by text CHECK (gain_subtracted_by IN ('gateway', 'network')),
    ADD COLUMN max_eirp smallint CHECK (max_eirp BETWEEN 0 AND 36);
