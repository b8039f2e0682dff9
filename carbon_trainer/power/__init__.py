"""How to throttle: power limits, clocks, duty cycle; what they cost in speed; always put back."""
