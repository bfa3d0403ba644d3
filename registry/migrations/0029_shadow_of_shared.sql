-- A tenant may try a version on its devices of a profile that is offered to all and go on following it: an override
-- without a version of its own keeps what the profile says, and adds the shadow.
ALTER TABLE device_profile_override
    ALTER COLUMN codec_version_id DROP NOT NULL,
    ADD CONSTRAINT device_profile_override_says_something CHECK (num_nonnulls(codec_version_id, shadow_version_id) > 0);
