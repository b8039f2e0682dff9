"""When to run and at which power. Pure: the clock, the forecast and the progress come in."""
