-- What time it is where a tenant is and which days are holidays there: Alsace and Moselle, overseas. NULL: the time
-- of the deployment, the holidays of Metropolitan France.
ALTER TABLE tenant ADD COLUMN department text
    CHECK (department ~ '^(0[1-9]|1[0-9]|2[1-9AB]|[3-8][0-9]|9[0-5]|97[1-8]|98[678])$');
GRANT UPDATE (department) ON tenant TO territoire_api;
