-- An end that a person declares is notified, too: the API says that it is pending, and the engine sends it.
GRANT UPDATE (end_pending) ON alert TO territoire_api;
