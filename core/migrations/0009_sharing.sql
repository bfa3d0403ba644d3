-- Who may see what is another's: a syndicat its communes, a commune itself, an adviser what was granted.
ALTER TABLE tenant ADD COLUMN member_of int REFERENCES tenant;
