-- locks: alert SHARE ROW EXCLUSIVE instant

-- Whom an alert was given to and its text are news of it, too: whoever follows the feed shows both. A new alert gets
-- its text in the transaction that makes it, which is one piece of news and not two.
CREATE OR REPLACE TRIGGER change_goes_to_feed AFTER UPDATE ON alert FOR EACH ROW
    WHEN ((OLD.workflow, OLD.severity, OLD.condition, OLD.acknowledged_by, OLD.occurrences, OLD.assignee,
           coalesce(nullif(OLD.message, ''), NEW.message))
          IS DISTINCT FROM (NEW.workflow, NEW.severity, NEW.condition, NEW.acknowledged_by, NEW.occurrences,
                            NEW.assignee, NEW.message))
    EXECUTE FUNCTION feed_subject('alert');
