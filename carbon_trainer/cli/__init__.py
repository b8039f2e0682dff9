"""The command line, a module a verb; nothing heavy is imported until a verb is called."""
