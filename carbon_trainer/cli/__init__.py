"""The command line: its verbs and flags; what a verb does is imported when it runs."""
