"""The process that evaluates alert rules and delivers webhooks."""
