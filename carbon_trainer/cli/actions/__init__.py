"""What the commands do, a module a verb; one is imported when its command runs."""
